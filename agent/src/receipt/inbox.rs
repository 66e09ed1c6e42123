//! What happened and is not signed yet, gathered and folded. Bounded, whatever happens.
//!
//! The parts of the agent that know put it in, at the places where they report it; [`super::record`] takes it out, signs it
//! and puts it into the queue. A storm of drifts becomes one record an app and kind, with a count, the first, the last and
//! samples; a refusal that comes again and again becomes one receipt an hour, with a count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::statement::receipt::AppCounts;
use countersign_ledger::time::Time;
use tokio::sync::Notify;

use super::queue;
use crate::health::Status;
use crate::news::DriftRecord;

/// Drifts of one round that get a record of their own.
const SINGLE_MAX: usize = 20;
/// Groups of folded drifts in one round.
const GROUPS_MAX: usize = 128;
/// Samples in one group.
const SAMPLES_MAX: usize = 32;
/// Syncs that wait; beyond, the oldest is dropped and counted.
const SYNCS_MAX: usize = 32;
/// Beginnings and ends of pauses that wait; beyond, the oldest is left out: the log has the overrides themselves.
const PAUSES_MAX: usize = 64;
/// Questions that wait, and those that are remembered as answered.
const QUESTIONS_MAX: usize = 8;
/// Deleted objects that are named; beyond, they are counted.
const DELETED_MAX: usize = 2_000;
/// States whose digests are remembered: a sync may end after the next state came.
const STANDINGS_MAX: usize = 16;
/// The same refusal again: one receipt in so long.
const REFUSED_AGAIN: Duration = Duration::from_secs(3_600);
/// The same code with other words: one receipt in so long.
const REFUSED_OTHERWISE: Duration = Duration::from_secs(60);

/// A state that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its generation.
    pub generation: u64,
    /// Digest of its envelope.
    pub envelope: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// The place of the override under which it came before witnesses had seen it.
    pub glass: Option<u64>,
}

/// A plan was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSeen {
    /// Generation of the state.
    pub generation: u64,
    /// Milliseconds since 1970.
    pub started: i64,
    /// Milliseconds since 1970.
    pub ended: i64,
    /// What became of the apps.
    pub apps: AppCounts,
    /// The worst health.
    pub health: Status,
    /// The results of each app, as a blob.
    pub results: Bytes,
    /// Syncs before it that were not recorded on their own.
    pub dropped: u64,
}

/// A check said no, once or often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalSeen {
    /// Code of the refusal.
    pub code: &'static str,
    /// The verifier's own words, which name digests and numbers; none where others' words could be in them.
    pub words: Option<String>,
    /// What shows an attack, if it does.
    pub evidence: Option<Bytes>,
    /// It shows an attack.
    pub attack: bool,
    /// How often.
    pub count: u64,
    /// Milliseconds since 1970.
    pub first: i64,
    /// Milliseconds since 1970.
    pub last: i64,
}

/// Drifts that become one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftSeen {
    /// Generation that the cluster was held to.
    pub generation: u64,
    /// The first of them.
    pub record: DriftRecord,
    /// How many.
    pub count: u64,
    /// The longest time that healing one took.
    pub healed_after: u32,
    /// Milliseconds since 1970.
    pub last: i64,
    /// Some of them, of a group.
    pub samples: Vec<DriftRecord>,
}

/// Objects that are gone because tombstones named them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeletedSeen {
    /// They.
    pub objects: Vec<ObjectId>,
    /// Further ones.
    pub more: u64,
    /// Milliseconds since 1970.
    pub first: i64,
    /// Milliseconds since 1970.
    pub last: i64,
}

/// A pause began or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseSeen {
    /// The place of the override in the log.
    pub index: u64,
    /// It began; otherwise it is over.
    pub began: bool,
    /// The app; all of them for none.
    pub app: Option<String>,
    /// When it ends by itself.
    pub until: Time,
    /// Milliseconds since 1970.
    pub time: i64,
}

/// What is taken out at once, in the order in which it is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Happened {
    /// Refusals.
    pub refusals: Vec<RefusalSeen>,
    /// Drifts.
    pub drifts: Vec<DriftSeen>,
    /// Pauses that began or ended.
    pub pauses: Vec<PauseSeen>,
    /// Deletions.
    pub deleted: Option<DeletedSeen>,
    /// Syncs.
    pub syncs: Vec<SyncSeen>,
    /// Nonces of those who ask for a word now.
    pub questions: Vec<String>,
}

impl Happened {
    /// Nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refusals.is_empty()
            && self.pauses.is_empty()
            && self.drifts.is_empty()
            && self.deleted.is_none()
            && self.syncs.is_empty()
            && self.questions.is_empty()
    }

    /// Some drifts were folded: there is a storm.
    #[must_use]
    pub fn is_storm(&self) -> bool {
        self.drifts.iter().any(|drift| drift.count > 1)
    }
}

#[derive(Debug)]
struct Told {
    at: Instant,
    words: Option<String>,
    held: Option<RefusalSeen>,
}

#[derive(Debug, Default)]
struct Pending {
    standings: BTreeMap<u64, Standing>,
    synced: Option<queue::Synced>,
    syncs: VecDeque<SyncSeen>,
    dropped: u64,
    refusals: Vec<RefusalSeen>,
    told: BTreeMap<&'static str, Told>,
    drifts: Vec<DriftSeen>,
    groups: Vec<DriftSeen>,
    deleted: Option<DeletedSeen>,
    pauses: VecDeque<PauseSeen>,
    questions: VecDeque<String>,
    answered: VecDeque<String>,
}

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

impl Pending {
    fn push_sync(&mut self, mut sync: SyncSeen) {
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

    fn bound_questions(&mut self) {
        for some in [&mut self.questions, &mut self.answered] {
            let surplus = some.len().saturating_sub(QUESTIONS_MAX);
            some.drain(..surplus);
        }
    }

    fn bound_pauses(&mut self) {
        while self.pauses.len() > PAUSES_MAX {
            self.pauses.pop_front();
        }
    }

    /// One refusal a code waits.
    fn hold(&mut self, refusal: RefusalSeen) {
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

    fn fold(&mut self, seen: DriftSeen) {
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
