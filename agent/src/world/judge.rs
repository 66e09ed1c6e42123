//! What an event or an answer means for an object: nothing, heal, look closer.

use std::sync::Arc;
use std::time::Instant;

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;

use super::{Effect, Event, Held, Sync, World};
use crate::apply::outcome::Problem;
use crate::watch::drift::{self, Expected, Verdict, What};
use crate::watch::fight::Turn;
use crate::watch::ownership::Seen;

impl World {
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
            self.open.insert(Arc::clone(&key));
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
        self.open.insert(Arc::clone(id));
        self.fights.insert(Arc::clone(id));
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
        self.open.insert(Arc::clone(id));
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
}
