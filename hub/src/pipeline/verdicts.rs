//! What policies said of objects: the same set says the same of the same object, so nothing is judged twice.
//!
//! A verdict is a function of the policy set and of the object alone: what would need more is *undecidable*. In memory
//! and bounded; what is lost is judged again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_fleet::admit::{PolicySet, Verdict};
use countersign_fleet::object::Object;
use countersign_ledger::Digest;

/// Objects that are remembered in each of two halves: about 100 bytes each. The older half goes when the younger is full.
const OBJECTS_KEPT: usize = 200_000;

/// Names a set and an object as they are judged.
type Key = Digest;

/// What is known.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Key, Arc<[Verdict]>>,
    old: HashMap<Key, Arc<[Verdict]>>,
}

/// Objects that are being judged.
pub struct Judging<'a> {
    objects: &'a [&'a Object],
    keys: Vec<Key>,
    known: Vec<Option<Arc<[Verdict]>>>,
}

impl<'a> Judging<'a> {
    /// Those that must be judged, in their order.
    pub fn unknown(&self) -> impl Iterator<Item = &'a Object> {
        self.objects
            .iter()
            .zip(&self.known)
            .filter(|(_, known)| known.is_none())
            .map(|(object, _)| *object)
    }
}

impl Verdicts {
    /// What is known of these objects.
    pub fn ask<'a>(&self, set: &PolicySet, objects: &'a [&'a Object]) -> Judging<'a> {
        let set = set.digest();
        let keys: Vec<Key> = objects.iter().map(|object| key(&set, object)).collect();
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.iter().map(|key| halves.get(key)).collect();
        Judging {
            objects,
            keys,
            known,
        }
    }

    /// All verdicts, from what is known and from what was said of [`Judging::unknown`]; `None` if that speaks of an object
    /// that was not asked for.
    pub fn learn(&self, judging: Judging<'_>, said: Vec<Verdict>) -> Option<Vec<Verdict>> {
        let Judging { keys, known, .. } = judging;
        let unknown: Vec<usize> = known
            .iter()
            .enumerate()
            .filter(|(_, known)| known.is_none())
            .map(|(index, _)| index)
            .collect();
        let mut new: HashMap<usize, Vec<Verdict>> =
            unknown.iter().map(|index| (*index, Vec::new())).collect();
        for verdict in said {
            let index = *unknown.get(verdict.object)?;
            new.get_mut(&index)?.push(Verdict {
                object: 0,
                ..verdict
            });
        }
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for (index, (key, known)) in keys.into_iter().zip(known).enumerate() {
            let verdicts = match known {
                Some(known) => known,
                None => {
                    let verdicts: Arc<[Verdict]> = new.remove(&index)?.into();
                    halves.put(key, Arc::clone(&verdicts));
                    verdicts
                }
            };
            all.extend(verdicts.iter().map(|verdict| Verdict {
                object: index,
                ..verdict.clone()
            }));
        }
        Some(all)
    }
}

impl Halves {
    fn get(&mut self, key: &Key) -> Option<Arc<[Verdict]>> {
        if let Some(known) = self.young.get(key) {
            return Some(Arc::clone(known));
        }
        let known = self.old.remove(key)?;
        self.put(*key, Arc::clone(&known));
        Some(known)
    }

    fn put(&mut self, key: Key, verdicts: Arc<[Verdict]>) {
        if self.young.len() >= OBJECTS_KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, verdicts);
    }
}

fn key(set: &[u8; 32], object: &Object) -> Key {
    let mut text = Vec::with_capacity(96 + object.resource.len());
    text.extend_from_slice(set);
    text.extend_from_slice(object.sha256.as_bytes());
    text.push(u8::from(object.namespaced));
    text.extend_from_slice(object.resource.as_bytes());
    Digest::of(&text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use countersign_fleet::admit::Decision;
    use countersign_ledger::identity::ObjectId;

    use super::*;

    fn object(name: &str) -> Object {
        let bytes = Bytes::from(format!("{{\"name\":\"{name}\"}}"));
        Object {
            id: ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "default".into(),
                name: name.into(),
            },
            api_version: "v1".into(),
            sha256: Digest::of(&bytes),
            bytes,
            wave: 0,
            secret: false,
            namespaced: true,
            resource: "configmaps".into(),
            file: "a.yaml".into(),
            line: 1,
        }
    }

    fn set(version: &str) -> PolicySet {
        PolicySet {
            files: Vec::new(),
            kubernetes_version: version.into(),
        }
    }

    fn denied(object: usize) -> Verdict {
        Verdict {
            object,
            policy: "p".into(),
            binding: "b".into(),
            decision: Decision::Denied,
            message: "no".into(),
        }
    }

    #[test]
    fn only_what_is_new_to_a_set_is_judged_and_every_verdict_is_given() {
        let verdicts = Verdicts::default();
        let (a, b, c) = (object("a"), object("b"), object("c"));
        let first = [&a, &b];
        let judging = verdicts.ask(&set("v1.35.4"), &first);
        assert_eq!(judging.unknown().count(), 2);
        assert_eq!(
            verdicts.learn(judging, vec![denied(1)]),
            Some(vec![denied(1)])
        );

        let second = [&c, &b, &a];
        let judging = verdicts.ask(&set("v1.35.4"), &second);
        let unknown: Vec<&str> = judging
            .unknown()
            .map(|object| object.id.name.as_str())
            .collect();
        assert_eq!(unknown, ["c"]);
        let all = verdicts.learn(judging, vec![denied(0)]).unwrap();
        assert_eq!(
            all,
            [denied(0), denied(1)],
            "the new one's and the known one's"
        );

        let judging = verdicts.ask(&set("v1.36.0"), &second);
        assert_eq!(judging.unknown().count(), 3, "another set knows nothing");
    }

    #[test]
    fn a_verdict_about_no_object_is_no_verdict() {
        let verdicts = Verdicts::default();
        let a = object("a");
        let objects = [&a];
        let judging = verdicts.ask(&set("v1"), &objects);
        assert_eq!(verdicts.learn(judging, vec![denied(1)]), None);
    }

    #[test]
    fn what_is_asked_for_again_outlives_what_is_not() {
        let mut halves = Halves::default();
        let kept = Digest::of(b"kept");
        halves.put(kept, Arc::new([]));
        for number in 0..OBJECTS_KEPT * 2 {
            if number % 1000 == 0 {
                assert!(halves.get(&kept).is_some(), "{number}");
            }
            halves.put(Digest::of(&number.to_be_bytes()), Arc::new([]));
        }
        assert!(halves.young.len() + halves.old.len() <= OBJECTS_KEPT * 2);
    }
}
