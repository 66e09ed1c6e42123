//! How much a state may delete without a person's word, and what exactly a person's word is for. Pure.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::identity::ObjectId;
use crate::json;

/// Objects of one app that one state may delete without a person's word.
pub const OBJECTS_MAX: u32 = 50;
/// Percent of an app's objects that one state may delete without a person's word.
pub const PERCENT_MAX: u32 = 20;
/// Apps of up to this many objects have no limit in percent.
pub const PERCENT_FROM: usize = 20;
/// Kinds whose deletion takes more along than themselves, by group.
const PROTECTED: [(&str, &str); 4] = [
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "PersistentVolumeClaim"),
    ("", "PersistentVolume"),
];

/// Whether an object of this kind is never deleted without a person's word.
#[must_use]
pub fn is_protected(id: &ObjectId) -> bool {
    PROTECTED.contains(&(id.group.as_str(), id.kind.as_str()))
}

/// Names exactly what would be deleted of an app on a cluster, whatever else a commit changes: SHA-256 of the canonical
/// JSON `{"app","cluster","format","ids":[{"group","kind","name","namespace"}…]}`, identities sorted.
pub fn deletion_digest<'a>(
    cluster: &str,
    app: &str,
    ids: impl IntoIterator<Item = &'a ObjectId>,
) -> Digest {
    let ids: BTreeSet<&ObjectId> = ids.into_iter().collect();
    let mut bytes = Vec::new();
    let text = |out: &mut Vec<u8>, text: &str| json::write_string(text, out);
    bytes.extend_from_slice(b"{\"app\":");
    text(&mut bytes, app);
    bytes.extend_from_slice(b",\"cluster\":");
    text(&mut bytes, cluster);
    bytes.extend_from_slice(b",\"format\":\"https://countersign.dev/deletion/v1\",\"ids\":[");
    for (index, id) in ids.into_iter().enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        id.write(&mut bytes);
    }
    bytes.extend_from_slice(b"]}");
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: "default".into(),
            name: name.into(),
        }
    }

    #[test]
    fn the_name_of_a_deletion_is_that_of_its_canonical_json() {
        let (a, b) = (id("ConfigMap", "a"), id("ConfigMap", "b"));
        let value = serde_json::json!({
            "app": "cart", "cluster": "one", "format": "https://countersign.dev/deletion/v1",
            "ids": [
                {"group": "", "kind": "ConfigMap", "name": "a", "namespace": "default"},
                {"group": "", "kind": "ConfigMap", "name": "b", "namespace": "default"},
            ],
        });
        let named = Digest::of(&json::canonical(&value).unwrap());
        assert_eq!(deletion_digest("one", "cart", [&a, &b]), named);
        assert_eq!(deletion_digest("one", "cart", [&b, &a, &b]), named);
        for other in [
            deletion_digest("two", "cart", [&a, &b]),
            deletion_digest("one", "blog", [&a, &b]),
            deletion_digest("one", "cart", [&a]),
        ] {
            assert_ne!(other, named);
        }
    }

    #[test]
    fn a_kind_is_protected_by_its_group_and_name() {
        assert!(is_protected(&id("Namespace", "x")));
        assert!(!is_protected(&id("ConfigMap", "x")));
        let mut other = id("Namespace", "x");
        other.group = "example.com".into();
        assert!(!is_protected(&other));
    }
}
