//! One object as the agent keeps it: a small struct, never the object itself.

use std::time::Instant;

use countersign_ledger::digest::Digest;

use crate::apply::outcome::Problem;
use crate::health::Health;
use crate::watch::drift::{Expected, What};
use crate::watch::fight::Fight;
use crate::watch::ownership::Seen;

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
    pub(super) writing: bool,
    /// It stands in the queue of the healer.
    pub(super) queued: bool,
    /// The newest event that came during our write.
    pub(super) stash: Option<Box<Event>>,
    pub(super) fight: Option<Box<Fight>>,
    /// Who fights, while it is contested.
    pub rival: Option<Box<str>>,
}

impl Object {
    /// Our last write was of this blob, and still stands as far as is known.
    pub(super) fn holds(&self, blob: &Digest) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.applied.as_ref() == Some(blob))
    }
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
