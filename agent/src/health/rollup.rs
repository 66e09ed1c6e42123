//! Objects to app, apps to cluster: the worst status wins, and the deepest cause is named.
//!
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Health, Status};
use crate::world::{Object, Sync, World};

/// How one app is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppState {
    /// `Synced`, `Syncing`, `OutOfSync` or `Failed`.
    pub sync: &'static str,
    /// The worst of its objects.
    pub health: Status,
    /// The deepest cause: what failed to be written, else the worst object's own words.
    pub message: String,
    /// Objects that it wants.
    pub objects: u32,
    /// Objects that could not be written.
    pub failed: u32,
}

impl Default for AppState {
    fn default() -> Self {
        Self {
            sync: "Synced",
            health: Status::Healthy,
            message: String::new(),
            objects: 0,
            failed: 0,
        }
    }
}

/// Each app's state. `waits` says what an app is held up by, where it is.
#[must_use]
pub fn apps(world: &World, waits: &BTreeMap<Arc<str>, String>) -> BTreeMap<Arc<str>, AppState> {
    let desired = world.desired();
    let mut out: BTreeMap<Arc<str>, AppState> = desired
        .apps
        .keys()
        .map(|name| (Arc::clone(name), AppState::default()))
        .collect();
    let mut causes: BTreeMap<Arc<str>, (u8, String)> = BTreeMap::new();
    let mut unwritten = Object::default();
    unwritten.health = Health::because(Status::Missing, "not written yet");
    for (id, want) in desired.objects.iter() {
        let object = world.get(id).unwrap_or(&unwritten);
        let (sync, health) = (&object.sync, &object.health);
        // Nearly always there already: the name is shared only where it is not.
        let app = match out.get_mut(&want.app) {
            Some(app) => app,
            None => out.entry(Arc::clone(&want.app)).or_default(),
        };
        app.objects += 1;
        app.health = app.health.max(health.status);
        app.sync = worse(app.sync, sync.word());
        let cause = match sync {
            Sync::Failed(problem) => {
                app.failed += 1;
                Some((9, format!("{id}: {problem}")))
            }
            Sync::ArgoTracked => Some((8, format!("{id}: ARGO_TRACKED: Argo CD tracks it"))),
            Sync::Contested => {
                let rival = object.rival.as_deref().unwrap_or("somebody");
                Some((7, format!("{id}: CONTESTED: {rival} keeps changing it")))
            }
            // What is not written because its app waits says nothing; what it waits for does.
            Sync::Pending if waits.contains_key(&want.app) => None,
            Sync::Pending | Sync::Synced | Sync::Drifted => (health.status > Status::Suspended)
                .then(|| {
                    let why = health.message.as_deref().unwrap_or(health.status.word());
                    (health.status as u8, format!("{id}: {why}"))
                }),
        };
        if let Some(cause) = cause {
            match causes.entry(Arc::clone(&want.app)) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(cause);
                }
                std::collections::btree_map::Entry::Occupied(mut entry)
                    if entry.get().0 < cause.0 =>
                {
                    entry.insert(cause);
                }
                std::collections::btree_map::Entry::Occupied(_) => {}
            }
        }
    }
    for (name, app) in &mut out {
        app.message = match (causes.remove(name), waits.get(name)) {
            (Some((_, cause)), _) => cause,
            (None, Some(wait)) => wait.clone(),
            (None, None) => String::new(),
        };
    }
    out
}

/// The cluster: the worst app, its name before its cause.
#[must_use]
pub fn cluster(apps: &BTreeMap<Arc<str>, AppState>) -> (Status, String) {
    apps.iter()
        .max_by_key(|(_, app)| (app.health, app.failed > 0))
        .map_or((Status::Healthy, String::new()), |(name, app)| {
            let cause = if app.message.is_empty() {
                String::new()
            } else {
                format!("{name}: {}", app.message)
            };
            (app.health, cause)
        })
}

fn worse(a: &'static str, b: &'static str) -> &'static str {
    const ORDER: [&str; 4] = ["Synced", "Syncing", "OutOfSync", "Failed"];
    let rank = |word| ORDER.iter().position(|other| *other == word).unwrap_or(0);
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{App, Desired, Want};
    use countersign_ledger::digest::Digest;
    use countersign_ledger::identity::ObjectId;

    fn world(objects: &[(&str, &str, Status)]) -> World {
        let (mut world, mut desired) = (World::default(), Desired::default());
        for (app, name, _) in objects {
            let app: Arc<str> = (*app).into();
            desired.apps.insert(
                Arc::clone(&app),
                App {
                    name: Arc::clone(&app),
                    commit: String::new(),
                    depends_on: vec![],
                    exclusive: false,
                },
            );
            desired.objects.insert(
                id(name),
                Want {
                    app,
                    wave: 0,
                    blob: Digest::of(b""),
                    bytes: 0,
                    commitment: None,
                },
            );
        }
        world.adopt(Arc::new(desired));
        for (_, name, status) in objects {
            world.judged(&id(name), Health::because(*status, "because"), 1);
        }
        world
    }

    fn id(name: &str) -> Arc<ObjectId> {
        Arc::new(ObjectId {
            group: String::new(),
            kind: "Pod".into(),
            namespace: "n".into(),
            name: name.into(),
        })
    }

    #[test]
    fn the_worst_object_names_the_app_and_the_worst_app_the_cluster() {
        let world = world(&[
            ("cart", "a", Status::Healthy),
            ("cart", "b", Status::Progressing),
            ("cart", "c", Status::Degraded),
            ("shop", "d", Status::Healthy),
        ]);
        let apps = apps(&world, &BTreeMap::new());
        assert_eq!(apps["cart"].health, Status::Degraded);
        assert_eq!(apps["cart"].message, format!("{}: because", id("c")));
        assert_eq!(
            (apps["shop"].health, apps["shop"].message.as_str()),
            (Status::Healthy, "")
        );
        assert_eq!(
            cluster(&apps),
            (Status::Degraded, format!("cart: {}: because", id("c")))
        );
    }

    #[test]
    fn an_app_that_waits_names_what_it_waits_for_and_not_what_is_missing_for_it() {
        let world = world(&[("cart", "a", Status::Missing)]);
        let waits = [("cart".into(), "waits for app db".to_owned())].into();
        assert_eq!(apps(&world, &waits)["cart"].message, "waits for app db");
    }

    #[test]
    fn an_app_without_a_cause_of_its_own_names_what_it_waits_for() {
        let world = world(&[("cart", "a", Status::Healthy)]);
        let waits = [("cart".into(), "waits for app db".to_owned())].into();
        assert_eq!(apps(&world, &waits)["cart"].message, "waits for app db");
    }
}
