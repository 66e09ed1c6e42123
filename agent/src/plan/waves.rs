//! What comes first: CRDs and namespaces of all apps, then each app's declared waves in order.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;

use super::rails::Rails;
use super::{App, Desired, Want};

/// One step of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// As declared.
    pub number: i32,
    /// To write now.
    pub apply: Vec<Arc<ObjectId>>,
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

/// Each app's waves of `writes`, numbers ascending.
pub(super) fn waves(writes: Vec<(&Arc<ObjectId>, &Want)>) -> BTreeMap<Arc<str>, Vec<Wave>> {
    let mut apps: BTreeMap<Arc<str>, BTreeMap<i32, Wave>> = BTreeMap::new();
    for (id, want) in writes {
        let waves = match apps.get_mut(&want.app) {
            Some(waves) => waves,
            None => apps.entry(Arc::clone(&want.app)).or_default(),
        };
        let wave = waves.entry(want.wave).or_insert_with(|| Wave {
            number: want.wave,
            apply: Vec::new(),
        });
        wave.apply.push(Arc::clone(id));
    }
    apps.into_iter()
        .map(|(name, waves)| (name, waves.into_values().collect()))
        .collect()
}

/// All that must be healthy of an app, by wave, what needs no write included. What a guard rail keeps out is not: it
/// holds nobody up.
#[must_use]
pub fn all(desired: &Desired, app: &str, rails: &Rails) -> BTreeMap<i32, Vec<Arc<ObjectId>>> {
    let mut waves: BTreeMap<i32, Vec<Arc<ObjectId>>> = BTreeMap::new();
    for (id, want) in desired.objects.iter() {
        if *want.app == *app && rails.check(id).is_ok() {
            waves.entry(want.wave).or_default().push(Arc::clone(id));
        }
    }
    waves
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
