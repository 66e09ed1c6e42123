//! What happened and is not signed yet, gathered and folded. Bounded, whatever happens.
//!
//! The parts of the agent that know put it in, at the places where they report it; [`super::record`] takes it out, signs it
//! and puts it into the queue. A storm of drifts becomes one record an app and kind, with a count, the first, the last and
//! samples; a refusal that comes again and again becomes one receipt an hour, with a count.
//!
//! [`seen`] names what can happen, [`pending`] folds it.

mod pending;
mod seen;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::identity::ObjectId;
use tokio::sync::Notify;

use super::queue;
use crate::news::DriftRecord;
use pending::{Pending, Told};

pub use seen::{DeletedSeen, DriftSeen, Happened, PauseSeen, RefusalSeen, Standing, SyncSeen};

/// Deleted objects that are named; beyond, they are counted.
const DELETED_MAX: usize = 2_000;
/// States whose digests are remembered: a sync may end after the next state came.
const STANDINGS_MAX: usize = 16;
/// The same refusal again: one receipt in so long.
const REFUSED_AGAIN: Duration = Duration::from_secs(3_600);
/// The same code with other words: one receipt in so long.
const REFUSED_OTHERWISE: Duration = Duration::from_secs(60);

/// Where what happened is put.
#[derive(Debug, Default)]
pub struct Inbox {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Inbox {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A state was verified.
    pub fn stands(&self, standing: Standing) {
        let mut pending = self.pending();
        pending.standings.insert(standing.generation, standing);
        while pending.standings.len() > STANDINGS_MAX {
            pending.standings.pop_first();
        }
    }

    /// The state of a generation, while it is remembered; the newest for none.
    #[must_use]
    pub fn standing(&self, generation: Option<u64>) -> Option<Standing> {
        let pending = self.pending();
        match generation {
            Some(generation) => pending.standings.get(&generation).copied(),
            None => pending.standings.values().next_back().copied(),
        }
    }

    /// The newest sync that was recorded before this start.
    pub fn recorded(&self, synced: Option<queue::Synced>) {
        self.pending().synced = synced;
    }

    /// A plan was carried out to its end. Told once for each generation, and again when what failed changes.
    pub fn synced(&self, sync: SyncSeen) {
        let now = queue::Synced {
            generation: sync.generation,
            failed: sync.apps.failed,
        };
        let mut pending = self.pending();
        if pending.synced == Some(now) {
            return;
        }
        pending.synced = Some(now);
        pending.push_sync(sync);
        drop(pending);
        self.wake.notify_one();
    }

    /// A check said no.
    pub fn refused(&self, refusal: RefusalSeen, now: Instant) {
        let mut pending = self.pending();
        if let Some(told) = pending.told.get_mut(refusal.code) {
            let pause = if told.words == refusal.words {
                REFUSED_AGAIN
            } else {
                REFUSED_OTHERWISE
            };
            let held = match told.held.take() {
                Some(held) => RefusalSeen {
                    count: held.count.saturating_add(refusal.count),
                    first: held.first,
                    ..refusal
                },
                None => refusal,
            };
            if now.saturating_duration_since(told.at) < pause {
                told.held = Some(held);
                return;
            }
            (told.at, told.words) = (now, held.words.clone());
            pending.refusals.push(held);
        } else {
            let told = Told {
                at: now,
                words: refusal.words.clone(),
                held: None,
            };
            pending.told.insert(refusal.code, told);
            pending.refusals.push(refusal);
        }
        drop(pending);
        self.wake.notify_one();
    }

    /// Something drifted while the cluster was held to `generation`.
    pub fn drifted(&self, generation: u64, record: &DriftRecord) {
        let mut record = record.clone();
        // Values stand in it: for people to look at, never for the log.
        record.patch = String::new();
        let seen = DriftSeen {
            generation,
            count: 1,
            healed_after: record.healed_after,
            last: record.time,
            samples: Vec::new(),
            record,
        };
        self.pending().fold(seen);
        self.wake.notify_one();
    }

    /// A tombstone's object is gone.
    pub fn deleted(&self, id: &ObjectId, time: i64) {
        let mut pending = self.pending();
        let deleted = pending.deleted.get_or_insert_with(|| DeletedSeen {
            first: time,
            ..DeletedSeen::default()
        });
        if deleted.objects.len() < DELETED_MAX {
            deleted.objects.push(id.clone());
        } else {
            deleted.more += 1;
        }
        deleted.last = time;
        drop(pending);
        self.wake.notify_one();
    }

    /// A pause began or is over.
    pub fn paused(&self, pause: PauseSeen) {
        let mut pending = self.pending();
        pending.pauses.push_back(pause);
        pending.bound_pauses();
        drop(pending);
        self.wake.notify_one();
    }

    /// Somebody asks for a word now, with this nonce. The same question again is the same question.
    pub fn asked(&self, nonce: String) {
        let mut pending = self.pending();
        if pending.questions.contains(&nonce) || pending.answered.contains(&nonce) {
            return;
        }
        pending.questions.push_back(nonce);
        pending.bound_questions();
        drop(pending);
        self.wake.notify_one();
    }

    /// Waits until something came.
    ///
    /// # Cancel safety
    /// May be dropped: the wish is kept then.
    pub async fn came(&self) {
        self.wake.notified().await;
    }

    /// What happened, to record it; drifts only if they are asked for.
    #[must_use]
    pub fn take(&self, drifts: bool) -> Happened {
        let mut pending = self.pending();
        let mut happened = Happened {
            refusals: std::mem::take(&mut pending.refusals),
            drifts: Vec::new(),
            pauses: std::mem::take(&mut pending.pauses).into(),
            deleted: pending.deleted.take(),
            syncs: std::mem::take(&mut pending.syncs).into(),
            questions: std::mem::take(&mut pending.questions).into(),
        };
        pending.answered.extend(happened.questions.iter().cloned());
        pending.bound_questions();
        if drifts {
            happened.drifts = std::mem::take(&mut pending.drifts);
            happened.drifts.append(&mut pending.groups);
        }
        happened
    }

    /// It could not be recorded: it waits, and folds with what came since.
    pub fn put_back(&self, older: Happened) {
        let mut pending = self.pending();
        let newer = std::mem::take(&mut pending.syncs);
        for sync in older.syncs.into_iter().chain(newer) {
            pending.push_sync(sync);
        }
        for pause in older.pauses.into_iter().rev() {
            pending.pauses.push_front(pause);
        }
        pending.bound_pauses();
        for nonce in older.questions.into_iter().rev() {
            pending.questions.push_front(nonce);
        }
        pending.bound_questions();
        let newer = std::mem::take(&mut pending.refusals);
        for refusal in older.refusals.into_iter().chain(newer) {
            pending.hold(refusal);
        }
        let newer = std::mem::take(&mut pending.drifts);
        for drift in older.drifts.into_iter().chain(newer) {
            pending.fold(drift);
        }
        pending.deleted = match (older.deleted, pending.deleted.take()) {
            (Some(mut older), Some(newer)) => {
                older.more = older.more.saturating_add(newer.more);
                for id in newer.objects {
                    if older.objects.len() < DELETED_MAX {
                        older.objects.push(id);
                    } else {
                        older.more += 1;
                    }
                }
                older.last = newer.last;
                Some(older)
            }
            (older, newer) => older.or(newer),
        };
    }
}

/// A refusal of a verifier, with what shows an attack.
#[must_use]
pub fn of(refusal: &countersign_ledger::refusal::Refusal, time: i64) -> RefusalSeen {
    let evidence = refusal.evidence().and_then(|fork| fork.bytes().ok());
    RefusalSeen {
        code: refusal.code(),
        words: Some(refusal.to_string()),
        attack: evidence.is_some() || super::shows_attack(refusal.code()),
        evidence: evidence.map(Bytes::from),
        count: 1,
        first: time,
        last: time,
    }
}

#[cfg(test)]
mod tests;
