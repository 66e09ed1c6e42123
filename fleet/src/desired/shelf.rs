//! What outlives the process of what is known of renders: entries as bytes, by a key that names all that decided them.
//! Pure; where the bytes lie is the caller's affair.
//!
//! Only what was rendered twice with the same outcome is put here, never a failure, and never a Secret: those are
//! rendered anew.
use std::fmt;

use countersign_ledger::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::cache::Key;
use crate::render::{Query, RenderedObject, Seen, Trace};

/// Raised when an entry's layout or its meaning changes: those before are then not found.
const LAYOUT: &str = "countersign renders 1";

/// Keeps entries. It may forget any at any time; one that it gives must be one that it was given under that key.
pub trait Shelf: Send + Sync + fmt::Debug {
    /// An entry. May block.
    fn get(&self, key: &Digest) -> Option<Vec<u8>>;

    /// Keeps entries, each in place of the one before it under its key. May block.
    fn put(&self, entries: Vec<(Digest, Vec<u8>)>);
}

/// Names what a plain file parses to.
pub(super) fn file_key(renderer: &str, (path, oid): &(String, String)) -> Digest {
    Digest::of(format!("{LAYOUT}\nfile\n{renderer}\n{oid}\n{path}").as_bytes())
}

/// Names what a request renders to.
pub(super) fn traced_key(key: &Key) -> Digest {
    Digest::of(format!("{LAYOUT}\ntraced\n{}", key.0).as_bytes())
}

#[derive(Serialize, Deserialize)]
struct StoredObject {
    file: String,
    line: u32,
    json: Json,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    seen: Vec<(Query, String, Seen)>,
    links: Vec<String>,
    warnings: Vec<String>,
    objects: Vec<StoredObject>,
}

/// A render as it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shelved {
    pub(super) trace: Trace,
    pub(super) warnings: Vec<String>,
    pub(super) objects: Vec<RenderedObject>,
}

/// The bytes of an entry; `None` if it must not be kept.
pub(super) fn encode(shelved: &Shelved) -> Option<Vec<u8>> {
    if shelved
        .objects
        .iter()
        .any(|object| holds_secret(&object.json, 0))
    {
        return None;
    }
    let stored = Stored {
        seen: shelved
            .trace
            .iter()
            .map(|(query, path, seen)| (query, path.to_owned(), seen.clone()))
            .collect(),
        links: shelved.trace.links().map(str::to_owned).collect(),
        warnings: shelved.warnings.clone(),
        objects: shelved
            .objects
            .iter()
            .map(|object| StoredObject {
                file: object.file.clone(),
                line: object.line,
                json: object.json.clone(),
            })
            .collect(),
    };
    serde_json::to_vec(&stored).ok()
}

/// Reads [`encode`] back; anything else is `None`.
pub(super) fn decode(bytes: &[u8]) -> Option<Shelved> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    let mut trace = Trace::default();
    for (query, path, seen) in stored.seen {
        trace.record(query, &path, seen);
    }
    stored.links.iter().for_each(|link| trace.record_link(link));
    let objects = stored
        .objects
        .into_iter()
        .map(|object| RenderedObject {
            json: object.json,
            file: object.file,
            line: object.line,
        })
        .collect();
    Some(Shelved {
        trace,
        warnings: stored.warnings,
        objects,
    })
}

/// Whether an object is a Secret, or a list that may hold one.
fn holds_secret(json: &Json, depth: usize) -> bool {
    /// Lists in lists that are looked into; whatever lies deeper counts as secret.
    const DEPTH_MAX: usize = 4;
    let is_secret = json["kind"] == "Secret" && json["apiVersion"] == "v1";
    let items = json["items"].as_array();
    is_secret
        || items.is_some_and(|items| {
            depth >= DEPTH_MAX || items.iter().any(|item| holds_secret(item, depth + 1))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(json: Json) -> RenderedObject {
        RenderedObject {
            json,
            file: "templates/a.yaml".into(),
            line: 3,
        }
    }

    #[test]
    fn a_render_comes_back_as_it_was() {
        let mut trace = Trace::default();
        trace.record(Query::Read, "a.yaml", Seen::File("1f".into()));
        trace.record(Query::Stat, "b.yaml", Seen::Absent);
        trace.record_link("link");
        let shelved = Shelved {
            trace,
            warnings: vec!["old".into()],
            objects: vec![object(
                json!({"kind": "ConfigMap", "n": u64::MAX, "m": i64::MIN, "f": 0.1, "d": 1e-7, "t": "\u{2028}"}),
            )],
        };
        assert_eq!(decode(&encode(&shelved).unwrap()), Some(shelved));
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(b""), None);
    }

    #[test]
    fn a_secret_is_never_kept() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "canary"}});
        let list =
            json!({"apiVersion": "v1", "kind": "List", "items": [{"kind": "ConfigMap"}, secret]});
        for json in [secret.clone(), list] {
            let shelved = Shelved {
                trace: Trace::default(),
                warnings: Vec::new(),
                objects: vec![object(json!({"kind": "ConfigMap"})), object(json)],
            };
            assert_eq!(encode(&shelved), None);
        }
    }

    #[test]
    fn keys_differ_by_all_that_decides() {
        let file = |renderer: &str, path: &str, oid: &str| {
            file_key(renderer, &(path.to_owned(), oid.to_owned()))
        };
        let one = file("1", "a", "ff");
        for other in [
            file("2", "a", "ff"),
            file("1", "b", "ff"),
            file("1", "a", "fe"),
        ] {
            assert_ne!(one, other);
        }
        let key = Key(Digest::of(b"x"));
        assert_ne!(traced_key(&key), traced_key(&Key(Digest::of(b"y"))));
    }
}
