//! What can happen, as it is put in and taken out.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::statement::receipt::AppCounts;
use countersign_ledger::time::Time;

use crate::health::Status;
use crate::news::DriftRecord;

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
