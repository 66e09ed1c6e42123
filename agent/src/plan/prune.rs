//! What goes: exactly what a tombstone names and our own inventory knows by UID. Nothing else is ever planned for
//! deletion, and `delete` looks again before it acts.
//!
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;

use super::rails::{Breach, Rails};
use super::{Desired, Live, Plan, waves};

/// Each app's deletions in order: workloads, then what guards them, namespaces, CRDs last. A state that deletes more
/// than it may deletes nothing: which of them it should have been nobody knows.
pub(super) fn prune(
    desired: &Desired,
    live: &dyn Fn(&ObjectId) -> Live,
    rails: &Rails,
    plan: &mut Plan,
) -> BTreeMap<Arc<str>, Vec<Arc<ObjectId>>> {
    let mut out: BTreeMap<Arc<str>, Vec<Arc<ObjectId>>> = BTreeMap::new();
    for (id, app) in desired.tombstones.iter() {
        if desired.objects.contains_key(id) {
            continue; // wanted again: a statement with both never deletes
        }
        if let Err(breach) = rails.check(id) {
            plan.kept.push((Arc::clone(id), breach));
        } else if live(id).uid.is_some() {
            out.entry(Arc::clone(app)).or_default().push(Arc::clone(id));
        } else {
            plan.unknown.push(Arc::clone(id));
        }
    }
    let count = out.values().map(Vec::len).sum();
    if count > rails.deletes_max {
        let max = rails.deletes_max;
        for id in std::mem::take(&mut out).into_values().flatten() {
            plan.kept.push((id, Breach::Deletes { count, max }));
        }
    }
    for ids in out.values_mut() {
        ids.sort_by_key(|id| (rank(id), Arc::clone(id)));
    }
    out
}

/// Earlier goes first: a namespace or policy outlives what it guards.
fn rank(id: &ObjectId) -> u8 {
    match (id.group.as_str(), id.kind.as_str()) {
        _ if waves::is_crd(id) => 4,
        ("", "Namespace") => 3,
        ("networking.k8s.io", "NetworkPolicy")
        | ("rbac.authorization.k8s.io", _)
        | ("", "ServiceAccount" | "ResourceQuota" | "LimitRange") => 2,
        ("apps" | "batch", _) | ("", "Pod") => 0,
        _ => 1,
    }
}
