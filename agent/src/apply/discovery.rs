//! Which kinds the API server knows, and where: read in two requests (aggregated discovery), again when a kind is
//! missing or a CRD was applied.
//!
//! A group whose API service is down comes back marked stale; its kinds then wait, the others do not.

use std::collections::HashMap;
use std::fmt::Write as _;

use countersign_ledger::identity::ObjectId;
use serde::Deserialize;

use super::client::{ApiServer, Unanswered};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// A group and a kind, without version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// Empty for the core group.
    pub group: String,
    /// As in `kind:`.
    pub kind: String,
}

impl GroupKind {
    /// Of an object.
    #[must_use]
    pub fn of(id: &ObjectId) -> Self {
        Self {
            group: id.group.clone(),
            kind: id.kind.clone(),
        }
    }
}

impl std::fmt::Display for GroupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}.{}", self.kind, self.group)
        }
    }
}

/// Where objects of one kind live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `deployments`.
    pub plural: String,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// The version that the API server prefers; watches use it.
    pub preferred: String,
    /// Its API service did not answer; what stands here is from before.
    pub stale: bool,
}

/// All kinds, as last read.
#[derive(Debug, Default)]
pub struct Kinds(HashMap<GroupKind, Place>);

/// A path could not be made for an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The API server does not know the kind.
    #[error("kind {0} is not known to the API server")]
    Unknown(GroupKind),
    /// The name or namespace is not one path segment.
    #[error("name or namespace can't stand in a path")]
    Segment,
    /// A namespaced kind without namespace, or the reverse.
    #[error("{0} {1} a namespace")]
    Scope(GroupKind, &'static str),
}

impl Kinds {
    /// Reads both halves.
    ///
    /// # Errors
    /// [`Unanswered`] when either could not be read.
    pub async fn read(api: &ApiServer) -> Result<Self, Unanswered> {
        let (core, groups) =
            tokio::join!(api.get("/api", AGGREGATED), api.get("/apis", AGGREGATED));
        let mut kinds = Self::default();
        for answer in [core?, groups?] {
            if !answer.status.is_success() {
                return Err(Unanswered::Broken(format!(
                    "discovery answered {}",
                    answer.status
                )));
            }
            kinds
                .add(&answer.body)
                .map_err(|error| Unanswered::Broken(format!("discovery: {error}")))?;
        }
        Ok(kinds)
    }

    /// Adds one half; of several versions of a kind the first, which the API server prefers, counts.
    fn add(&mut self, body: &[u8]) -> Result<(), serde_json::Error> {
        let list: GroupList = serde_json::from_slice(body)?;
        for group in list.items {
            let name = group.metadata.name.unwrap_or_default();
            for version in group.versions {
                let stale = version.freshness.as_deref() == Some("Stale");
                for resource in version.resources {
                    let Some(kind) = resource
                        .response_kind
                        .and_then(|kind| kind.kind)
                        .filter(|kind| !kind.is_empty())
                    else {
                        continue;
                    };
                    self.0
                        .entry(GroupKind {
                            group: name.clone(),
                            kind,
                        })
                        .or_insert_with(|| Place {
                            plural: resource.resource,
                            namespaced: resource.scope == "Namespaced",
                            preferred: version.version.clone(),
                            stale,
                        });
                }
            }
        }
        Ok(())
    }

    /// Whether all of `kinds` are known, and none of them by the word of an API service that did not answer.
    #[must_use]
    pub fn know<'a>(&self, kinds: impl IntoIterator<Item = &'a GroupKind>) -> bool {
        let known = |kind| self.place(kind).is_some_and(|place| !place.stale);
        !self.0.is_empty() && kinds.into_iter().all(known)
    }

    /// Where a kind lives, if the API server knows it.
    #[must_use]
    pub fn place(&self, kind: &GroupKind) -> Option<&Place> {
        self.0.get(kind)
    }

    /// The path of one object, in `version` or else in the preferred one.
    ///
    /// # Errors
    /// [`PathError`]: the kind is unknown, or the identity can't stand in a path.
    pub fn path(&self, id: &ObjectId, version: Option<&str>) -> Result<String, PathError> {
        let kind = GroupKind::of(id);
        let Some(place) = self.place(&kind) else {
            return Err(PathError::Unknown(kind));
        };
        let mut path = root(&id.group, version.unwrap_or(&place.preferred));
        match (place.namespaced, id.namespace.is_empty()) {
            (true, false) => {
                path.push_str("/namespaces/");
                segment(&id.namespace, &mut path)?;
            }
            (false, true) => {}
            (true, true) => return Err(PathError::Scope(kind, "needs")),
            (false, false) => return Err(PathError::Scope(kind, "can't have")),
        }
        path.push('/');
        path.push_str(&place.plural);
        path.push('/');
        segment(&id.name, &mut path)?;
        Ok(path)
    }

    /// The path of all objects of a kind, whatever their namespace.
    #[must_use]
    pub fn collection(&self, kind: &GroupKind) -> Option<String> {
        let place = self.place(kind)?;
        Some(format!(
            "{}/{}",
            root(&kind.group, &place.preferred),
            place.plural
        ))
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

/// One path segment: `.`, `..`, `/` and `%` are no name of Kubernetes; what else is not plain is escaped.
fn segment(name: &str, path: &mut String) -> Result<(), PathError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
        return Err(PathError::Segment);
    }
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: GroupMeta,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
struct GroupMeta {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    freshness: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct ResponseKind {
    kind: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn some_kinds() -> Kinds {
        let mut kinds = Kinds::default();
        kinds
            .add(br#"{"items":[{"metadata":{"name":"apps"},"versions":[
                {"version":"v1","freshness":"Current","resources":[{"resource":"deployments","responseKind":{"group":"","kind":"Deployment","version":""},"scope":"Namespaced"}]},
                {"version":"v1beta1","resources":[{"resource":"olddeployments","responseKind":{"kind":"Deployment"},"scope":"Namespaced"}]}]},
                {"metadata":{"name":"rbac.authorization.k8s.io"},"versions":[{"version":"v1","resources":[{"resource":"clusterroles","responseKind":{"kind":"ClusterRole"},"scope":"Cluster"}]}]}]}"#)
            .unwrap();
        kinds.add(br#"{"items":[{"metadata":{},"versions":[{"version":"v1","resources":[{"resource":"configmaps","responseKind":{"kind":"ConfigMap"},"scope":"Namespaced"}]}]}]}"#).unwrap();
        kinds
    }

    fn id(group: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_path_names_one_object_and_nothing_else() {
        let kinds = some_kinds();
        assert_eq!(
            kinds.path(&id("", "ConfigMap", "a", "b"), None).unwrap(),
            "/api/v1/namespaces/a/configmaps/b"
        );
        assert_eq!(
            kinds
                .path(&id("apps", "Deployment", "a", "b"), Some("v1beta1"))
                .unwrap(),
            "/apis/apps/v1beta1/namespaces/a/deployments/b"
        );
        assert_eq!(
            kinds
                .path(
                    &id("rbac.authorization.k8s.io", "ClusterRole", "", "system:x y"),
                    None
                )
                .unwrap(),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:x%20y"
        );
        for name in ["../../x", "..", ".", "", "a/b", "a%2fb"] {
            assert_eq!(
                kinds.path(&id("", "ConfigMap", "a", name), None),
                Err(PathError::Segment),
                "{name}"
            );
        }
        assert!(matches!(
            kinds.path(&id("", "ConfigMap", "", "b"), None),
            Err(PathError::Scope(..))
        ));
        assert!(matches!(
            kinds.path(&id("x", "Y", "", "b"), None),
            Err(PathError::Unknown(_))
        ));
    }
}
