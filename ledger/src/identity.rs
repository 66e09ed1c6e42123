//! What an object is called: group, kind, namespace and name, never the version.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::limits::IDENTITY_PART_BYTES_MAX;

/// The identity of an object in one cluster. Ordered bytewise, field by field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectId {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for an object of the whole cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Why an identity is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{field} of an identity must have {min} to {IDENTITY_PART_BYTES_MAX} bytes and no control character or \"/\""
)]
pub struct BadIdentity {
    /// The field that is wrong.
    pub field: &'static str,
    /// The least bytes that the field may have.
    pub min: usize,
}

impl ObjectId {
    /// Checks the length and characters of each part.
    pub fn check(&self) -> Result<(), BadIdentity> {
        let parts = [
            ("group", &self.group, 0),
            ("kind", &self.kind, 1),
            ("namespace", &self.namespace, 0),
            ("name", &self.name, 1),
        ];
        for (field, text, min) in parts {
            let length = text.len();
            if length < min
                || length > IDENTITY_PART_BYTES_MAX
                || text.chars().any(|c| c.is_control() || c == '/')
            {
                return Err(BadIdentity { field, min });
            }
        }
        Ok(())
    }

    /// The identity as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({"group": self.group, "kind": self.kind, "name": self.name, "namespace": self.namespace})
    }

    /// Writes the identity's canonical JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        let parts = [
            ("{\"group\":", &self.group),
            (",\"kind\":", &self.kind),
            (",\"name\":", &self.name),
            (",\"namespace\":", &self.namespace),
        ];
        for (before, text) in parts {
            out.extend_from_slice(before.as_bytes());
            crate::json::write_string(text, out);
        }
        out.push(b'}');
    }

    /// SHA-256 of the identity's canonical JSON: it decides in which section of a manifest the object stands.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(256);
        self.write(&mut bytes);
        Digest::of(&bytes)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(
            f,
            "{}{dot}{}/{}/{}",
            self.kind, self.group, self.namespace, self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(group: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn an_identity_is_shown_with_its_group_and_namespace() {
        assert_eq!(
            id("apps", "Deployment", "shop", "cart").to_string(),
            "Deployment.apps/shop/cart"
        );
        assert_eq!(
            id("", "Namespace", "", "shop").to_string(),
            "Namespace//shop"
        );
    }

    #[test]
    fn identities_are_ordered_by_group_kind_namespace_name() {
        let sorted = [
            id("", "Secret", "a", "a"),
            id("apps", "Deployment", "", "z"),
            id("apps", "Deployment", "b", "a"),
        ];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn the_digest_is_that_of_the_canonical_json() {
        let id = id("apps", "Deployment", "sh\"op", "cärt");
        assert_eq!(
            id.digest(),
            Digest::of(&crate::json::canonical(&id.to_value()).unwrap())
        );
    }

    #[test]
    fn empty_names_and_control_characters_are_refused() {
        assert_eq!(id("", "", "", "a").check().unwrap_err().field, "kind");
        assert_eq!(id("", "Secret", "", "").check().unwrap_err().field, "name");
        assert_eq!(
            id("", "Secret", "a\n", "a").check().unwrap_err().field,
            "namespace"
        );
        assert!(id("", "Secret", "a", "system:x").check().is_ok());
    }
}
