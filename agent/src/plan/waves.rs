//! What comes first: CRDs and namespaces of all apps, then each app's declared waves in order.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;

use super::{App, Desired};

/// One step of an app: what is written, and what must be healthy before the next step starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// As declared.
    pub number: i32,
    /// To write now.
    pub apply: Vec<Arc<ObjectId>>,
    /// The whole wave, what needs no write included, what a guard rail keeps out not.
    pub all: Vec<Arc<ObjectId>>,
}

/// Whether other objects can't exist without it.
#[must_use]
pub fn is_first(id: &ObjectId) -> bool {
    is_crd(id) || (id.group.is_empty() && id.kind == "Namespace")
}

/// A CustomResourceDefinition.
#[must_use]
pub fn is_crd(id: &ObjectId) -> bool {
    id.group == "apiextensions.k8s.io" && id.kind == "CustomResourceDefinition"
}

/// Each app's waves, numbers ascending; a wave without a write stays in the list, since it must be healthy all the same.
pub(super) fn waves(
    desired: &Desired,
    writes: &dyn Fn(&Arc<ObjectId>) -> bool,
    allowed: &dyn Fn(&ObjectId) -> bool,
) -> BTreeMap<Arc<str>, Vec<Wave>> {
    let mut apps: BTreeMap<Arc<str>, BTreeMap<i32, Wave>> = BTreeMap::new();
    for (id, want) in &desired.objects {
        let wave = apps
            .entry(Arc::clone(&want.app))
            .or_default()
            .entry(want.wave)
            .or_insert_with(|| Wave {
                number: want.wave,
                apply: Vec::new(),
                all: Vec::new(),
            });
        if !allowed(id) {
            continue; // it holds nobody up
        }
        wave.all.push(Arc::clone(id));
        if !is_first(id) && writes(id) {
            wave.apply.push(Arc::clone(id));
        }
    }
    apps.into_iter()
        .map(|(name, waves)| (name, waves.into_values().collect()))
        .collect()
}

/// The apps that `app` waits for: those of its list that stand on this cluster and don't wait for it in turn.
pub(super) fn after(app: &App, apps: &BTreeMap<Arc<str>, App>) -> Vec<Arc<str>> {
    app.depends_on
        .iter()
        .filter(|name| apps.contains_key(*name) && !reaches(name, &app.name, apps))
        .cloned()
        .collect()
}

/// Whether `from` waits for `to`, directly or not: two apps that wait for each other would wait for ever.
fn reaches(from: &Arc<str>, to: &Arc<str>, apps: &BTreeMap<Arc<str>, App>) -> bool {
    let (mut todo, mut seen) = (vec![from], BTreeSet::new());
    while let Some(name) = todo.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            todo.extend(apps.get(name).into_iter().flat_map(|app| &app.depends_on));
        }
    }
    false
}
