//! Why claims and the log can not be read, and why nothing was appended.

use std::sync::Arc;

use countersign_ledger::Digest;
use countersign_ledger::bundle::BundleError;
use countersign_ledger::claim::ClaimError;
use countersign_ledger::dsse::EnvelopeError;
use countersign_ledger::key::SignFault;
use countersign_ledger::statement::StatementError;
use countersign_ledger::tlog::{CheckpointError, NoteError, ProofError};

use crate::store::index::IndexFault;
use crate::store::{BlobError, StoreFault};

/// Why the record can not be read: somebody changed the store, or a bug wrote to it. The hub does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A claim that is none.
    #[error("claim {number}: {error}")]
    Claim {
        /// Its place.
        number: u64,
        /// Why.
        error: ClaimError,
    },
    /// A claim in another place, or after another claim than the one before it.
    #[error("claim {number} does not follow the claim before it")]
    Order {
        /// Its place.
        number: u64,
    },
    /// A claim is missing though later ones exist.
    #[error("claim {number} is missing, claim {later} exists")]
    Gap {
        /// The missing one.
        number: u64,
        /// One that exists.
        later: u64,
    },
    /// The staging object of a claim is missing.
    #[error("claim {number}: its staging object {staging} is missing")]
    StagingMissing {
        /// The claim.
        number: u64,
        /// The staging object.
        staging: Digest,
    },
    /// The staging object is not the one that was claimed.
    #[error("claim {number}: its staging object has the digest {got}")]
    StagingTampered {
        /// The claim.
        number: u64,
        /// The digest of what lies there.
        got: Digest,
    },
    /// A staging object that is no bundle.
    #[error("claim {number}: {error}")]
    Bundle {
        /// The claim.
        number: u64,
        /// Why.
        error: BundleError,
    },
    /// A claim whose checkpoint is not what its entries make.
    #[error("claim {number}: its checkpoint {problem}")]
    Checkpoint {
        /// The claim.
        number: u64,
        /// What is wrong.
        problem: CheckpointProblem,
    },
    /// An entry that is no envelope of a statement of ours.
    #[error("claim {number}, entry {entry}: {problem}")]
    Entry {
        /// The claim.
        number: u64,
        /// Its place in the batch.
        entry: usize,
        /// What is wrong.
        problem: EntryProblem,
    },
    /// The store has another claim than the one that this hub has seen.
    #[error(
        "the store has another claim {number} than the one that this hub has seen: its history was changed"
    )]
    Rewritten {
        /// The last claim that was seen.
        number: u64,
    },
    /// The store has fewer claims than this hub has seen: it was set back to an older day.
    #[error("the store has no claim {number}, which this hub has seen: the store was set back")]
    SetBack {
        /// The last claim that was seen.
        number: u64,
    },
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// No envelope.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    /// Another payload type.
    #[error("is no statement")]
    PayloadType,
    /// No statement.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// No signature of a sealer.
    #[error("bears no signature of a sealer key of the trust root")]
    Signature,
    /// Generations of a cluster are dense, and each names the one before.
    #[error("generation {got} of {cluster} does not follow generation {had}")]
    Generation {
        /// The cluster.
        cluster: String,
        /// The generation before.
        had: u64,
        /// The entry's.
        got: u64,
    },
}

/// What is wrong with a claim's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointProblem {
    /// The claims are those of a log, and the trust root lists none.
    #[error("is of a log, and no trust root lists one")]
    LogNotListed,
    /// The log had begun before.
    #[error("is missing, though claims before it have one")]
    Missing,
    /// No note, or no key of the log signed it.
    #[error("is not signed by the log: {0}")]
    Note(#[from] NoteError),
    /// No checkpoint.
    #[error("can not be read: {0}")]
    Text(#[from] CheckpointError),
    /// It speaks of another log.
    #[error("is of log {got:?}, not {want:?}")]
    Origin {
        /// This fleet's.
        want: String,
        /// The checkpoint's.
        got: String,
    },
    /// The entries up to it make another tree.
    #[error("says size {} and root {}, the entries make {} and {}", said.0, said.1, made.0, made.1)]
    Tree {
        /// Size and root that it says.
        said: (u64, Digest),
        /// Size and root of the entries.
        made: (u64, Digest),
    },
}

/// Why the log does not begin. The hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum LogOpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// The claims can not be read.
    #[error("the record can not be read: {0}")]
    Record(#[from] RecordError),
    /// The log's key is not the one that the trust root lists.
    #[error("the log's key is {got}, the trust root lists {want}")]
    KeyUnlisted {
        /// What the trust root lists.
        want: String,
        /// The key here.
        got: String,
    },
    /// What lies at `checkpoint` is none of this log.
    #[error("the published checkpoint {0}")]
    Published(CheckpointProblem),
    /// More is published than was claimed: the claims were set back to an older day.
    #[error(
        "size {published} is published, the claims make {claimed} entries: the store was set back"
    )]
    SetBack {
        /// The published size.
        published: u64,
        /// Entries of all claims.
        claimed: u64,
    },
    /// What is published was never claimed: two histories exist.
    #[error("a checkpoint of size {size} and root {root} is published that no claim has")]
    Forked {
        /// Its size.
        size: u64,
        /// Its root.
        root: Digest,
    },
    /// A task was ended from outside.
    #[error("opening the log was cut short")]
    Cut,
}

/// Why nothing was appended, or it is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// It is not known whether an earlier group was claimed, or another hub claimed in its place. Nothing more is
    /// appended: the claims must be read again.
    #[error("the log has stopped: the claims must be read again")]
    Stopped,
    /// Too many appends wait.
    #[error("too many appends wait for the log")]
    Busy,
    /// More entries than one claim takes, or one that is too large.
    #[error("can not be one claim: {0}")]
    TooLarge(BundleError),
    /// Another hub wrote the next claim first.
    #[error("another hub wrote claim {number} first")]
    ClaimLost {
        /// The claim.
        number: u64,
    },
    /// Whether the claim was written can not be found out now.
    #[error("whether claim {number} was written is not known: {fault}")]
    ClaimUnknown {
        /// The claim.
        number: u64,
        /// What the store said.
        fault: StoreFault,
    },
    /// The claim was written, and could not be filed in the index.
    #[error("claim {number} was written and not filed: {fault}")]
    NotFiled {
        /// The claim.
        number: u64,
        /// What the index said.
        fault: Arc<IndexFault>,
    },
    /// The store failed before the claim: nothing happened, and it can be tried again.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// What lies in the store under the staging object's name is something else.
    #[error(transparent)]
    Staging(#[from] BlobError),
    /// The index failed before the claim: nothing happened.
    #[error(transparent)]
    Index(#[from] Arc<IndexFault>),
    /// The log's key did not sign: nothing happened, and it can be tried again.
    #[error("the log's key: {0}")]
    Sign(#[from] SignFault),
    /// The tree takes no more entries.
    #[error("the tree is full")]
    Full,
}

impl LogError {
    /// Whether the log takes nothing more in this process.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Stopped
            | Self::ClaimLost { .. }
            | Self::ClaimUnknown { .. }
            | Self::NotFiled { .. }
            | Self::Full => true,
            Self::Busy
            | Self::TooLarge(_)
            | Self::Store(_)
            | Self::Staging(_)
            | Self::Index(_)
            | Self::Sign(_) => false,
        }
    }
}

/// Why a proof or an entry can not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The tree has no such entry, or is smaller.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// The index lacks hashes of the tree.
    #[error("the index lacks hash {index} of level {level}: delete it, and it is made anew")]
    Gap {
        /// Level, in tiles.
        level: u8,
        /// Place in the level.
        index: u64,
    },
    /// The store failed, or holds something else.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// A staging object is missing or is no bundle.
    #[error("staging object {staging}: {problem}")]
    Staging {
        /// The object.
        staging: Digest,
        /// What is wrong.
        problem: String,
    },
}

impl From<StoreFault> for ReadError {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault.into())
    }
}
