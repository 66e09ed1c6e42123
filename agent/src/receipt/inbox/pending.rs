//! What waits, bounded: what comes again is folded into what is there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::seen::{DeletedSeen, DriftSeen, PauseSeen, RefusalSeen, Standing, SyncSeen};
use crate::receipt::queue;

/// Drifts of one round that get a record of their own.
pub(super) const SINGLE_MAX: usize = 20;
/// Groups of folded drifts in one round.
pub(super) const GROUPS_MAX: usize = 128;
/// Samples in one group.
pub(super) const SAMPLES_MAX: usize = 32;
/// Syncs that wait; beyond, the oldest is dropped and counted.
const SYNCS_MAX: usize = 32;
/// Beginnings and ends of pauses that wait; beyond, the oldest is left out: the log has the overrides themselves.
pub(super) const PAUSES_MAX: usize = 64;

/// Questions that wait, and those that are remembered as answered.
pub(super) const QUESTIONS_MAX: usize = 8;

/// A refusal that was recorded, and the same one since.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) at: Instant,
    pub(super) words: Option<String>,
    pub(super) held: Option<RefusalSeen>,
}

/// What waits to be recorded.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) standings: BTreeMap<u64, Standing>,
    pub(super) synced: Option<queue::Synced>,
    pub(super) syncs: VecDeque<SyncSeen>,
    dropped: u64,
    pub(super) refusals: Vec<RefusalSeen>,
    pub(super) told: BTreeMap<&'static str, Told>,
    pub(super) drifts: Vec<DriftSeen>,
    pub(super) groups: Vec<DriftSeen>,
    pub(super) deleted: Option<DeletedSeen>,
    pub(super) pauses: VecDeque<PauseSeen>,
    pub(super) questions: VecDeque<String>,
    pub(super) answered: VecDeque<String>,
}

impl Pending {
    pub(super) fn push_sync(&mut self, mut sync: SyncSeen) {
        if self.syncs.len() >= SYNCS_MAX
            && let Some(oldest) = self.syncs.pop_front()
        {
            self.dropped = self.dropped.saturating_add(1 + oldest.dropped);
        }
        sync.dropped = sync
            .dropped
            .saturating_add(std::mem::take(&mut self.dropped));
        self.syncs.push_back(sync);
    }

    pub(super) fn bound_questions(&mut self) {
        for some in [&mut self.questions, &mut self.answered] {
            let surplus = some.len().saturating_sub(QUESTIONS_MAX);
            some.drain(..surplus);
        }
    }

    pub(super) fn bound_pauses(&mut self) {
        while self.pauses.len() > PAUSES_MAX {
            self.pauses.pop_front();
        }
    }

    /// One refusal a code waits.
    pub(super) fn hold(&mut self, refusal: RefusalSeen) {
        match self
            .refusals
            .iter_mut()
            .find(|had| had.code == refusal.code)
        {
            Some(had) => {
                *had = RefusalSeen {
                    count: had.count.saturating_add(refusal.count),
                    first: had.first,
                    ..refusal
                }
            }
            None => self.refusals.push(refusal),
        }
    }

    pub(super) fn fold(&mut self, seen: DriftSeen) {
        if self.drifts.len() < SINGLE_MAX && self.groups.is_empty() {
            self.drifts.push(seen);
            return;
        }
        let full = self.groups.len() >= GROUPS_MAX;
        let alike = |group: &DriftSeen| {
            let (a, b) = (&group.record, &seen.record);
            (a.what, a.healed) == (b.what, b.healed) && (full || a.app == b.app)
        };
        let place = self.groups.iter().position(alike);
        let place = place.or_else(|| full.then(|| self.groups.len().saturating_sub(1)));
        let Some(group) = place.and_then(|place| self.groups.get_mut(place)) else {
            self.groups.push(DriftSeen {
                samples: vec![seen.record.clone()],
                ..seen
            });
            return;
        };
        group.count = group.count.saturating_add(seen.count);
        group.healed_after = group.healed_after.max(seen.healed_after);
        group.last = group.last.max(seen.last);
        group.record.time = group.record.time.min(seen.record.time);
        group.record.healed &= seen.record.healed;
        for manager in &seen.record.managers {
            if !group.record.managers.contains(manager) {
                group.record.managers.push(manager.clone());
            }
        }
        group.record.managers.truncate(SAMPLES_MAX);
        let samples = if seen.samples.is_empty() {
            vec![seen.record]
        } else {
            seen.samples
        };
        for sample in samples {
            if group.samples.len() < SAMPLES_MAX {
                group.samples.push(sample);
            }
        }
    }
}
