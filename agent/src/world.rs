//! All that the agent knows of its cluster: what is desired, what it applied (the inventory), what it saw, how it is.
//!
//! Pure: events and answers come in with the time, effects go out; `engine` carries them out. One small struct an
//! object, never the object itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;

use crate::apply::outcome::Problem;
use crate::health::Health;
use crate::plan::{Desired, Live};
use crate::watch::drift::{self, Expected, Verdict, What};
use crate::watch::fight::{Fight, Turn};
use crate::watch::ownership::{self, Seen};

/// How an object stands to what is desired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sync {
    /// Not written yet.
    #[default]
    Pending,
    /// As desired.
    Synced,
    /// Changed by somebody, not yet healed.
    Drifted,
    /// Somebody keeps changing it; it is healed once a minute.
    Contested,
    /// Could not be written.
    Failed(Box<Problem>),
    /// Left alone: Argo CD tracks it.
    ArgoTracked,
}

impl Sync {
    /// The word on the wire.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "Syncing",
            Self::Synced => "Synced",
            Self::Drifted | Self::Contested | Self::ArgoTracked => "OutOfSync",
            Self::Failed(_) => "Failed",
        }
    }
}

/// What we applied and still hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The blob; none when it is not known to stand any more and must be written again.
    pub applied: Option<Digest>,
    /// What our last write left.
    pub expected: Expected,
}

/// One object.
#[derive(Debug, Default)]
pub struct Object {
    /// The inventory's entry.
    pub held: Option<Held>,
    /// How it stands.
    pub sync: Sync,
    /// How it is.
    pub health: Health,
    /// resourceVersion that `health` was read at or after.
    pub judged: u64,
    /// Argo CD tracks it.
    pub argo: bool,
    /// Hash of what others own beside us, as last looked at.
    pub others: u64,
    /// A write of ours is under way.
    writing: bool,
    /// It stands in the queue of the healer.
    queued: bool,
    /// The newest event that came during our write.
    stash: Option<Box<Event>>,
    fight: Option<Box<Fight>>,
    /// Who fights, while it is contested.
    pub rival: Option<Box<str>>,
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is there, so.
    There(Seen),
    /// It is gone, or no longer bears our label.
    Gone(Seen),
    /// A complete list does not hold it; the list's resourceVersion.
    Absent(u64),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Write it again at once.
    Heal(What),
    /// Write it again, not before then: a fight.
    HealAt(What, Instant),
    /// Compare it in full once the second has passed.
    LookCloser,
    /// Something was added beside ours.
    LookAtOthers,
}

/// All objects and what is desired of them.
#[derive(Debug, Default)]
pub struct World {
    desired: Arc<Desired>,
    objects: HashMap<Arc<ObjectId>, Object>,
    dirty: HashSet<Arc<ObjectId>>,
}

impl World {
    /// What is desired.
    #[must_use]
    pub fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// Takes a newly verified state. Objects that are neither desired nor held are forgotten and returned.
    pub fn adopt(&mut self, desired: Arc<Desired>) -> Vec<Arc<ObjectId>> {
        for (id, want) in &desired.objects {
            let object = self.objects.entry(Arc::clone(id)).or_default();
            let stands = object
                .held
                .as_ref()
                .is_some_and(|held| held.applied == Some(want.blob));
            if !stands && object.sync == Sync::Synced {
                object.sync = Sync::Pending;
            }
            let was = self.desired.objects.get(id);
            if was.is_none_or(|was| was != want) {
                match object.sync {
                    Sync::Failed(_) => object.sync = Sync::Pending, // new bytes, a new try
                    // A person has looked: whoever fights on is found out again.
                    Sync::Contested if was.is_some_and(|was| was.blob != want.blob) => {
                        object.sync = Sync::Pending;
                        object.fight = None;
                    }
                    _ => {}
                }
                self.dirty.insert(Arc::clone(id));
            }
        }
        let mut forgotten = Vec::new();
        for id in self.desired.objects.keys() {
            if !desired.objects.contains_key(id) {
                forgotten.push(Arc::clone(id));
            }
        }
        self.objects
            .retain(|id, object| object.held.is_some() || desired.objects.contains_key(id));
        self.desired = desired;
        forgotten
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

    /// A watch says something. `unix` is seconds since 1970.
    pub fn event(&mut self, id: &ObjectId, event: Event, unix: i64, now: Instant) -> Effect {
        let wanted = self.desired.objects.contains_key(id);
        let Some((key, object)) = self
            .objects
            .get_key_value(id)
            .map(|(key, _)| Arc::clone(key))
            .and_then(|key| self.objects.get_mut(id).map(|object| (key, object)))
        else {
            return Effect::Nothing; // a stranger with our label: a label is a hint, never the proof
        };
        if let Event::There(seen) | Event::Gone(seen) = &event
            && seen.argo != object.argo
        {
            object.argo = seen.argo;
            object.sync = if seen.argo {
                Sync::ArgoTracked
            } else {
                Sync::Pending
            };
            self.dirty.insert(Arc::clone(&key));
        }
        if !wanted || object.argo {
            return Effect::Nothing;
        }
        if object.writing {
            object.stash = Some(Box::new(event));
            return Effect::Nothing;
        }
        let Some(held) = &object.held else {
            return Effect::Nothing; // not written yet: the plan will
        };
        let what = match &event {
            Event::Gone(seen)
                if seen.revision > held.expected.revision || seen.uid != held.expected.uid =>
            {
                What::Deleted
            }
            Event::Absent(revision) if *revision > held.expected.revision => What::Deleted,
            Event::Gone(_) | Event::Absent(_) => return Effect::Nothing,
            Event::There(seen) => {
                match drift::judge(&id.group, &id.kind, &held.expected, seen, unix) {
                    Verdict::Drift(what) => what,
                    Verdict::LookCloser => return Effect::LookCloser,
                    // Older than our write: what it says of others is over.
                    Verdict::Nothing if seen.revision < held.expected.revision => {
                        return Effect::Nothing;
                    }
                    Verdict::Nothing => {
                        let look = seen.others != object.others && seen.others != 0;
                        object.others = seen.others;
                        return if look {
                            Effect::LookAtOthers
                        } else {
                            Effect::Nothing
                        };
                    }
                }
            }
        };
        self.drifted(&key, what, now)
    }

    /// Something of ours changed: heal now, or later in a fight.
    pub fn drifted(&mut self, id: &Arc<ObjectId>, what: What, now: Instant) -> Effect {
        let Some(object) = self.objects.get_mut(id) else {
            return Effect::Nothing;
        };
        if object.queued {
            return Effect::Nothing;
        }
        object.queued = true;
        self.dirty.insert(Arc::clone(id));
        match object.fight.get_or_insert_default().drifted(now) {
            Turn::Heal => {
                object.sync = Sync::Drifted;
                Effect::Heal(what)
            }
            Turn::Yield(at) => {
                object.sync = Sync::Contested;
                Effect::HealAt(what, at)
            }
        }
    }

    /// A write starts; false when one is under way already.
    pub fn begin_write(&mut self, id: &ObjectId) -> bool {
        match self.objects.get_mut(id) {
            Some(object) if !object.writing => {
                object.writing = true;
                object.queued = false;
                true
            }
            _ => false,
        }
    }

    /// A write of `blob` was answered. What came meanwhile is judged now.
    pub fn end_write(
        &mut self,
        id: &Arc<ObjectId>,
        blob: Digest,
        result: Result<Seen, Problem>,
        unix: i64,
        now: Instant,
    ) -> Effect {
        let Some(object) = self.objects.get_mut(id) else {
            return Effect::Nothing;
        };
        object.writing = false;
        let stash = object.stash.take();
        self.dirty.insert(Arc::clone(id));
        match result {
            Ok(seen) => {
                let contested = object
                    .fight
                    .as_ref()
                    .is_some_and(|fight| fight.contested(now));
                if let Some(fight) = &mut object.fight {
                    if fight.over(now) {
                        object.fight = None
                    } else {
                        fight.healed(now)
                    }
                }
                if let Some(expected) = Expected::after(&seen) {
                    object.held = Some(Held {
                        applied: Some(blob),
                        expected,
                    });
                    object.sync = if contested {
                        Sync::Contested
                    } else {
                        Sync::Synced
                    };
                } else {
                    object.sync = Sync::Pending;
                }
                match stash {
                    Some(event) => self.event(id, *event, unix, now),
                    None => Effect::Nothing,
                }
            }
            Err(problem) => {
                object.sync = Sync::Failed(Box::new(problem));
                Effect::Nothing
            }
        }
    }

    /// A write was given up before it was sent.
    pub fn abandon_write(&mut self, id: &ObjectId) {
        if let Some(object) = self.objects.get_mut(id) {
            object.writing = false;
        }
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
        for (id, object) in &mut self.objects {
            if object.fight.as_ref().is_some_and(|fight| fight.over(now)) {
                object.fight = None;
                object.rival = None;
                if object.sync == Sync::Contested && !object.queued {
                    object.sync = Sync::Synced;
                    self.dirty.insert(Arc::clone(id));
                    any = true;
                }
            }
        }
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

    /// Whether a write of this object is under way.
    #[must_use]
    pub fn is_writing(&self, id: &ObjectId) -> bool {
        self.objects.get(id).is_some_and(|object| object.writing)
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
    }

    /// It was deleted by us, and NotFound was seen: the inventory shrinks.
    pub fn gone(&mut self, id: &ObjectId) {
        if self.desired.objects.contains_key(id) {
            if let Some(object) = self.objects.get_mut(id) {
                object.held = None;
                object.sync = Sync::Pending;
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

    /// Whether anything waits to be reported.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
}

#[cfg(test)]
mod tests;
