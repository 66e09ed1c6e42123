//! Objects of one cluster.

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
