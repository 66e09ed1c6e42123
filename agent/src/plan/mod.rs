//! What a cluster shall run, what we applied, what is there: what is to be done?
//!
//! Pure: [`plan`] takes values and returns a [`Plan`] that can be printed, compared and refused; `sync` carries it
//! out. [`replan`] gives the same plan and looks only at what may not stand. Read this file, then `waves` (what comes
//! first), `prune` (what goes), `consent` (what is left alone), `rails` (what this agent does not let itself be told) and
//! `by_id` (how states that differ little share the rest).

pub mod by_id;
pub mod consent;
pub mod prune;
pub mod rails;
pub mod waves;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::secret::Commitment;

use by_id::ById;
use rails::{Breach, Rails};
use waves::Wave;

/// One object that a cluster shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The app that wants it.
    pub app: Arc<str>,
    /// Its place in the app's order.
    pub wave: i32,
    /// Digest of its blob; of a Secret the ciphertext's.
    pub blob: Digest,
    /// Length of the blob.
    pub bytes: u64,
    /// A Secret's commitment; none for everything else.
    pub commitment: Option<Commitment>,
}

/// What the agent must know of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Unique in the fleet.
    pub name: Arc<str>,
    /// The commit that its lines come from.
    pub commit: String,
    /// Apps that must be healthy before its first wave starts.
    pub depends_on: Vec<Arc<str>>,
    /// What others add beside ours is removed.
    pub exclusive: bool,
}

/// What one cluster shall run, as verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// Generation of the statement.
    pub generation: u64,
    /// By name.
    pub apps: BTreeMap<Arc<str>, App>,
    /// By identity.
    pub objects: ById<Want>,
    /// What is to be deleted, and the app that had it.
    pub tombstones: ById<Arc<str>>,
    /// What is kept, neither applied nor healed.
    pub orphans: ById<Arc<str>>,
}

/// What is known of one live object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Blob as last applied by us, where that write still stands.
    pub applied: Option<Digest>,
    /// UID of what we applied; the inventory.
    pub uid: Option<Box<str>>,
    /// Argo CD tracks it.
    pub argo: bool,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Generation that it leads to.
    pub generation: u64,
    /// CRDs and namespaces to write before anything else.
    pub first: Vec<Arc<ObjectId>>,
    /// Each app's part; apps run beside each other.
    pub apps: Vec<AppPlan>,
    /// Objects that are left alone, with the reason.
    pub refused: Vec<(Arc<ObjectId>, consent::Refused)>,
    /// Tombstones that only a look can settle: not in the inventory.
    pub unknown: Vec<Arc<ObjectId>>,
    /// Tombstones that are not carried out: a guard rail stands in the way.
    pub kept: Vec<(Arc<ObjectId>, Breach)>,
}

/// One app's part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Apps that must be healthy first; only those that this cluster has.
    pub after: Vec<Arc<str>>,
    /// Those with something to write, in order. Each waits until all waves below it are healthy.
    pub waves: Vec<Wave>,
    /// To delete once the waves are written, in order.
    pub prune: Vec<Arc<ObjectId>>,
}

impl Plan {
    /// Nothing to write and nothing to delete.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes() == 0
            && self.unknown.is_empty()
            && self.apps.iter().all(|app| app.prune.is_empty())
    }

    /// Objects to write.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.first.len()
            + self
                .apps
                .iter()
                .flat_map(|app| &app.waves)
                .map(|wave| wave.apply.len())
                .sum::<usize>()
    }
}

/// What is to be done to get from `live` to `desired`, within `rails`.
#[must_use]
pub fn plan(desired: &Desired, live: &dyn Fn(&ObjectId) -> Live, rails: &Rails) -> Plan {
    plan_of(desired, &mut desired.objects.iter(), live, rails)
}

/// [`plan`], at the price of `open`: all objects that may not stand as desired must be in it, whatever else is.
#[must_use]
pub fn replan(
    desired: &Desired,
    open: &BTreeSet<Arc<ObjectId>>,
    live: &dyn Fn(&ObjectId) -> Live,
    rails: &Rails,
) -> Plan {
    let mut open = open.iter().filter_map(|id| desired.objects.entry(id));
    plan_of(desired, &mut open, live, rails)
}

/// `objects` are sorted.
fn plan_of<'a>(
    desired: &'a Desired,
    objects: &mut dyn Iterator<Item = (&'a Arc<ObjectId>, &'a Want)>,
    live: &dyn Fn(&ObjectId) -> Live,
    rails: &Rails,
) -> Plan {
    let mut out = Plan {
        generation: desired.generation,
        ..Plan::default()
    };
    let mut writes = Vec::new();
    for (id, want) in objects {
        let now = live(id);
        match consent::consent(id, &now, rails) {
            Err(refused) => out.refused.push((Arc::clone(id), refused)),
            Ok(()) if now.applied == Some(want.blob) => {}
            Ok(()) if waves::is_first(id) => out.first.push(Arc::clone(id)),
            Ok(()) => writes.push((id, want)),
        }
    }
    let mut by_app = waves::waves(writes);
    let mut pruned = prune::prune(desired, live, rails, &mut out);
    for app in desired.apps.values() {
        out.apps.push(AppPlan {
            name: Arc::clone(&app.name),
            after: waves::after(app, &desired.apps),
            waves: by_app.remove(&app.name).unwrap_or_default(),
            prune: pruned.remove(&app.name).unwrap_or_default(),
        });
    }
    // A tombstone may outlive its app's last line: the app then stands in no list, its objects go all the same.
    for (name, prune) in pruned {
        out.apps.push(AppPlan {
            name,
            after: Vec::new(),
            waves: Vec::new(),
            prune,
        });
    }
    out
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for id in &self.first {
            writeln!(f, "first {id}")?;
        }
        for app in &self.apps {
            for wave in &app.waves {
                for id in &wave.apply {
                    writeln!(f, "{} wave {}: {id}", app.name, wave.number)?;
                }
            }
            for id in &app.prune {
                writeln!(f, "{} prune {id}", app.name)?;
            }
        }
        for (id, refused) in &self.refused {
            writeln!(f, "leave {id}: {}", refused.code())?;
        }
        for id in &self.unknown {
            writeln!(f, "look {id}")?;
        }
        for (id, breach) in &self.kept {
            writeln!(f, "keep {id}: {breach}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
