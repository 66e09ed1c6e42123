//! The kinds to watch, counted along with the objects as states follow each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::apply::discovery::GroupKind;
use crate::plan::Desired;
use crate::plan::rails::Rails;

/// Kinds of what is desired and may be touched.
#[derive(Debug, Default)]
pub(super) struct KindsInUse {
    counted: Arc<Desired>,
    objects: BTreeMap<GroupKind, usize>,
}

impl KindsInUse {
    /// The kinds of `desired`, at the price of what it changes. `rails` are the same each time.
    pub(super) fn of(&mut self, desired: &Arc<Desired>, rails: &Rails) -> BTreeSet<GroupKind> {
        let before = std::mem::replace(&mut self.counted, Arc::clone(desired));
        for (id, was, now) in desired.objects.changes(&before.objects) {
            if was.is_some() == now.is_some() || rails.check(id).is_err() {
                continue;
            }
            let count = self.objects.entry(GroupKind::of(id)).or_default();
            if now.is_some() {
                *count += 1;
            } else {
                *count = count.saturating_sub(1);
            }
        }
        self.objects.retain(|_, count| *count > 0);
        self.objects.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use countersign_ledger::digest::Digest;
    use countersign_ledger::identity::ObjectId;

    use super::*;
    use crate::plan::Want;

    fn desired(objects: &[(&str, &str)]) -> Arc<Desired> {
        let mut out = Desired::default();
        for (kind, name) in objects {
            let id = ObjectId {
                group: String::new(),
                kind: (*kind).into(),
                namespace: "n".into(),
                name: (*name).into(),
            };
            let want = Want {
                app: "a".into(),
                wave: 0,
                blob: Digest::of(b""),
                bytes: 1,
                commitment: None,
            };
            out.objects.insert(Arc::new(id), want);
        }
        Arc::new(out)
    }

    #[test]
    fn a_kind_is_in_use_from_its_first_object_that_may_be_touched_to_its_last() {
        let rails = Rails::default();
        let mut kinds = KindsInUse::default();
        for (objects, want) in [
            (vec![("ConfigMap", "a"), ("Event", "e")], vec!["ConfigMap"]),
            (
                vec![("ConfigMap", "a"), ("ConfigMap", "b"), ("Service", "s")],
                vec!["ConfigMap", "Service"],
            ),
            (vec![("ConfigMap", "b")], vec!["ConfigMap"]),
            (vec![], vec![]),
        ] {
            let used = kinds.of(&desired(&objects), &rails);
            let names: Vec<&str> = used.iter().map(|kind| kind.kind.as_str()).collect();
            assert_eq!(names, want);
        }
    }
}
