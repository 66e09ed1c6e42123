//! All that the agent knows of its cluster: what is desired, what it applied (the inventory), what it saw, how it is.
//!
//! Pure: events and answers come in with the time (`judge`), effects go out; `engine` carries them out. `object` is what
//! is kept of one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use countersign_ledger::identity::ObjectId;

use crate::apply::outcome::Problem;
use crate::health::Health;
use crate::plan::rails::Rails;
use crate::plan::{Desired, Live, consent};
use crate::watch::ownership;

mod judge;
mod object;

pub use object::{Effect, Event, Held, Object, Sync};

/// All objects and what is desired of them.
#[derive(Debug, Default)]
pub struct World {
    desired: Arc<Desired>,
    objects: HashMap<Arc<ObjectId>, Object>,
    dirty: HashSet<Arc<ObjectId>>,
    /// Desired objects that may not stand as desired: at least all that don't.
    open: HashSet<Arc<ObjectId>>,
    /// Objects whose last drifts are remembered.
    fights: HashSet<Arc<ObjectId>>,
}

impl World {
    /// What is desired.
    #[must_use]
    pub fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// Takes a newly verified state, at the price of what it changes. Objects that are neither desired nor held are
    /// forgotten; those that are no longer desired are returned.
    pub fn adopt(&mut self, desired: Arc<Desired>) -> Vec<Arc<ObjectId>> {
        let before = std::mem::replace(&mut self.desired, Arc::clone(&desired));
        let mut forgotten = Vec::new();
        for (id, was, now) in desired.objects.changes(&before.objects) {
            let Some(want) = now else {
                forgotten.push(Arc::clone(id));
                if self.get(id).is_some_and(|object| object.held.is_none()) {
                    self.objects.remove(id);
                }
                continue;
            };
            // Under the state's own key, so that the identity is kept once.
            let mut object = match self.objects.remove_entry(id) {
                Some((_, object)) => object,
                None => Object::default(),
            };
            match object.sync {
                Sync::Failed(_) => object.sync = Sync::Pending, // new bytes, a new try
                // A person has looked: whoever fights on is found out again.
                Sync::Contested if was.is_some_and(|was| was.blob != want.blob) => {
                    object.sync = Sync::Pending;
                    object.fight = None;
                }
                _ => {}
            }
            self.objects.insert(Arc::clone(id), object);
            self.dirty.insert(Arc::clone(id));
            self.open.insert(Arc::clone(id));
        }
        for id in &self.open {
            let (Some(want), Some(object)) = (desired.objects.get(id), self.objects.get_mut(id))
            else {
                continue;
            };
            if object.sync == Sync::Synced && !object.holds(&want.blob) {
                object.sync = Sync::Pending;
            }
        }
        forgotten
    }

    /// Desired objects that may not stand as desired, sorted: what a plan must look at.
    pub fn open(&mut self, rails: &Rails) -> BTreeSet<Arc<ObjectId>> {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|id| {
            self.desired.objects.get(id).is_some_and(|want| {
                let live = self.live(id);
                live.applied != Some(want.blob) || consent::consent(id, &live, rails).is_err()
            })
        });
        self.open = open;
        self.open.iter().cloned().collect()
    }

    /// Puts back what the inventory on disk says.
    pub fn restore(&mut self, id: Arc<ObjectId>, held: Held) {
        let object = self.objects.entry(id).or_default();
        object.sync = Sync::Synced;
        object.held = Some(held);
    }

    /// What `plan` needs to know of an object.
    #[must_use]
    pub fn live(&self, id: &ObjectId) -> Live {
        self.objects
            .get(id)
            .map_or_else(Live::default, |object| Live {
                applied: match object.sync {
                    Sync::Synced | Sync::Contested => {
                        object.held.as_ref().and_then(|held| held.applied)
                    }
                    Sync::Pending | Sync::Drifted | Sync::Failed(_) | Sync::ArgoTracked => None,
                },
                uid: object.held.as_ref().map(|held| held.expected.uid.clone()),
                argo: object.argo,
            })
    }

    /// One object.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<&Object> {
        self.objects.get(id)
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<ObjectId>, &Object)> {
        self.objects.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// None at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The identity as kept, to share it.
    #[must_use]
    pub fn key(&self, id: &ObjectId) -> Option<Arc<ObjectId>> {
        self.objects
            .get_key_value(id)
            .map(|(key, _)| Arc::clone(key))
    }

    /// Objects of one kind that are desired and held: what a complete list must show.
    pub fn held_of<'a>(
        &'a self,
        group: &'a str,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<ObjectId>, &'a Held)> {
        self.objects
            .iter()
            .filter(move |(id, _)| id.group == group && id.kind == kind)
            .filter_map(|(id, object)| object.held.as_ref().map(|held| (id, held)))
    }

    /// Whether a heal of it still waits: a write since then has made it needless.
    #[must_use]
    pub fn waits_for_heal(&self, id: &ObjectId) -> bool {
        self.objects.get(id).is_some_and(|object| object.queued)
    }

    /// Who fights over an object.
    pub fn contested_by(&mut self, id: &Arc<ObjectId>, rival: &str) {
        if let Some(object) = self.objects.get_mut(id)
            && object.rival.as_deref() != Some(rival)
        {
            object.rival = Some(rival.into());
            self.dirty.insert(Arc::clone(id));
        }
    }

    /// Fights that are over: their objects stand as desired. Returns whether there were any.
    pub fn settle(&mut self, now: Instant) -> bool {
        let mut any = false;
        let (objects, dirty) = (&mut self.objects, &mut self.dirty);
        self.fights.retain(|id| {
            let Some(object) = objects.get_mut(id) else {
                return false;
            };
            let Some(fight) = &object.fight else {
                return false;
            };
            if !fight.over(now) {
                return true;
            }
            object.fight = None;
            object.rival = None;
            if object.sync == Sync::Contested && !object.queued {
                object.sync = Sync::Synced;
                dirty.insert(Arc::clone(id));
                any = true;
            }
            false
        });
        any
    }

    /// Whether what others own beside us, in these bytes of an object, was not looked at yet; it counts as looked at now.
    pub fn others_changed(&mut self, id: &ObjectId, bytes: &[u8]) -> bool {
        let Some(seen) = ownership::meta(bytes).map(|meta| meta.seen()) else {
            return false;
        };
        let Some(object) = self.objects.get_mut(id) else {
            return false;
        };
        let changed = seen.others != object.others && seen.others != 0;
        object.others = seen.others;
        changed
    }

    /// Health was read.
    pub fn judged(&mut self, id: &ObjectId, health: Health, revision: u64) {
        let Some((key, object)) = self
            .objects
            .get_key_value(id)
            .map(|(key, _)| Arc::clone(key))
            .and_then(|key| self.objects.get_mut(id).map(|o| (key, o)))
        else {
            return;
        };
        object.judged = object.judged.max(revision);
        if object.health != health {
            object.health = health;
            self.dirty.insert(key);
        }
    }

    /// Argo CD tracks it, as a look before the first write showed.
    pub fn argo_tracked(&mut self, id: &Arc<ObjectId>) {
        let object = self.objects.entry(Arc::clone(id)).or_default();
        object.argo = true;
        object.sync = Sync::ArgoTracked;
        self.dirty.insert(Arc::clone(id));
        self.open.insert(Arc::clone(id));
    }

    /// It is not written: a guard rail keeps it out.
    pub fn kept_out(&mut self, id: &Arc<ObjectId>, problem: Problem) {
        let object = self.objects.entry(Arc::clone(id)).or_default();
        let failed = Sync::Failed(Box::new(problem));
        if object.sync != failed {
            object.sync = failed;
            self.dirty.insert(Arc::clone(id));
            self.open.insert(Arc::clone(id));
        }
    }

    /// It was deleted by us, and NotFound was seen: the inventory shrinks.
    pub fn gone(&mut self, id: &ObjectId) {
        if let Some((id, _)) = self.desired.objects.entry(id) {
            if let Some(object) = self.objects.get_mut(id) {
                object.held = None;
                object.sync = Sync::Pending;
                self.open.insert(Arc::clone(id));
            }
        } else {
            self.objects.remove(id);
        }
    }

    /// Nothing that was expected can be trusted any more (the revision went back): everything is written again, and
    /// the inventory keeps its UIDs.
    pub fn distrust(&mut self) {
        for (id, object) in &mut self.objects {
            if let Some(held) = &mut object.held {
                held.applied = None;
                held.expected.revision = 0;
            }
            object.judged = 0;
            self.open.insert(Arc::clone(id));
            if !object.argo {
                object.sync = Sync::Pending;
                self.dirty.insert(Arc::clone(id));
            }
        }
    }

    /// What changed since the last report.
    pub fn take_dirty(&mut self) -> HashSet<Arc<ObjectId>> {
        std::mem::take(&mut self.dirty)
    }

    /// A report did not arrive: its objects are told again.
    pub fn dirty_again(&mut self, ids: HashSet<Arc<ObjectId>>) {
        self.dirty.extend(ids);
    }
}

#[cfg(test)]
mod tests;
