//! Objects of one cluster.

use countersign_ledger::identity::ObjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HealthState, SyncState};

/// `GET /api/v1/clusters/{cluster}/objects`: in the order of their names, from after `?after=` on, at most `?limit=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objects {
    /// The cluster.
    pub cluster: String,
    /// This page.
    pub objects: Vec<Object>,
    /// Ask for the next page with `?after=` this; absent on the last page.
    pub next: Option<String>,
    /// Number of objects that match, on all pages.
    pub total: u32,
}

/// An object, as its agent reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Which one.
    pub id: ObjectName,
    /// The app that it belongs to.
    pub app: String,
    /// As reported.
    pub sync: SyncState,
    /// As reported.
    pub health: HealthState,
    /// The deepest cause; empty if nothing is wrong.
    pub message: String,
}

/// Names an object; the version plays no part.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Empty for an object of the whole cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    /// `Kind.group/namespace/name`, leaving out what is empty.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.namespace.is_empty() {
            write!(f, "/{}", self.namespace)?;
        }
        write!(f, "/{}", self.name)
    }
}

impl From<ObjectId> for ObjectName {
    fn from(id: ObjectId) -> Self {
        Self {
            group: id.group,
            kind: id.kind,
            namespace: id.namespace,
            name: id.name,
        }
    }
}

impl From<ObjectName> for ObjectId {
    fn from(name: ObjectName) -> Self {
        Self {
            group: name.group,
            kind: name.kind,
            namespace: name.namespace,
            name: name.name,
        }
    }
}

/// Why a text names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be Kind.group/namespace/name, group and namespace left out where there are none; is {0:?}"
)]
pub struct NotAnObjectName(String);

impl std::str::FromStr for ObjectName {
    type Err = NotAnObjectName;

    /// Reads what [`Display`](std::fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotAnObjectName(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, name] => (*kind, "", *name),
            [kind, namespace, name] => (*kind, *namespace, *name),
            _ => return Err(refused()),
        };
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        if kind.is_empty() || name.is_empty() {
            return Err(refused());
        }
        Ok(Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "ConfigMap/shop/a",
            "Deployment.apps/shop/cart",
            "Namespace/shop",
            "ClusterRole.rbac.authorization.k8s.io/system:node",
        ] {
            assert_eq!(text.parse::<ObjectName>().unwrap().to_string(), text);
        }
        for bad in ["", "ConfigMap", "/a", "a/b/c/d", "ConfigMap/"] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
    }
}
