//! What each app of a cluster rendered to in the tree that was looked at last, and which paths decided it.
//!
//! With it, a commit costs what it changes: an app whose paths it does not meet is not even looked up. Nothing in it can
//! be wrong, only missing: it counts for one fleet and one tree, and everything else is looked up anew.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_ledger::digest::Digest;

use super::AppSet;
use super::cache::Change;
use crate::model::Fleet;

/// The apps of one cluster in one tree.
#[derive(Debug)]
pub(super) struct Standing {
    tree: String,
    fleet: Arc<Fleet>,
    renderer: String,
    /// By app: a chart may stand here twice, for the kinds that are built in and for those of the fleet.
    apps: BTreeMap<String, Vec<One>>,
    /// Whether an app failed for a reason that may pass; such a tree must be looked at again.
    whole: bool,
}

#[derive(Debug)]
struct One {
    kinds: Digest,
    set: AppSet,
}

impl Standing {
    /// Whether it says anything of a tree that differs from its own by `change`.
    pub(super) fn counts(&self, fleet: &Arc<Fleet>, renderer: &str, change: &Change) -> bool {
        // A tree without a name may be any.
        !self.tree.is_empty()
            && self.tree == change.from
            && Arc::ptr_eq(&self.fleet, fleet)
            && self.renderer == renderer
    }

    /// What an app still renders to.
    pub(super) fn app(&self, name: &str, kinds: Digest, change: &Change) -> Option<AppSet> {
        let one = self
            .apps
            .get(name)?
            .iter()
            .find(|one| !one.set.chart || one.kinds == kinds)?;
        (!one.met_by(change)).then(|| AppSet {
            fresh: false,
            ..one.set.clone()
        })
    }

    /// Whether nothing of it can have changed; then it stands for the new tree.
    pub(super) fn outlives(&mut self, change: &Change) -> bool {
        let outlives = self.whole && !self.apps.values().flatten().any(|one| one.met_by(change));
        if outlives {
            change.to.clone_into(&mut self.tree);
        }
        outlives
    }
}

impl One {
    fn met_by(&self, change: &Change) -> bool {
        change
            .paths
            .iter()
            .any(|path| self.set.reads.iter().any(|reads| reads.met_by(path)))
    }
}

/// One that is being put together while apps are rendered side by side.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Standing>);

impl Recorder {
    pub(super) fn new(tree: &str, fleet: &Arc<Fleet>, renderer: String) -> Self {
        Self(Mutex::new(Standing {
            tree: tree.to_owned(),
            fleet: Arc::clone(fleet),
            renderer,
            apps: BTreeMap::new(),
            whole: true,
        }))
    }

    pub(super) fn note(&self, name: &str, kinds: Digest, set: &AppSet) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if set.passing {
            standing.whole = false;
            return;
        }
        let set = set.clone();
        let apps = standing.apps.entry(name.to_owned()).or_default();
        apps.push(One { kinds, set });
    }

    pub(super) fn end(self) -> Standing {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
