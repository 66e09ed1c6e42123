//! Why nothing was sealed.

use std::sync::Arc;

use countersign_ledger::dsse::EnvelopeError;
use countersign_ledger::key::{PublicKey, SignFault};
use countersign_ledger::manifest::ManifestError;
use countersign_ledger::statement::StatementError;
use countersign_ledger::{Digest, Refusal};

use crate::log::{LogError, LogOpenError, RecordError};
use crate::store::index::IndexFault;
use crate::store::{BlobError, StoreFault};

/// Why a sealer can not begin. The hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A staging object or trust root in the store was changed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// The record can not be read.
    #[error("the record can not be read: {0}")]
    Record(#[from] RecordError),
    /// No environment of the trust root has a key here; this is the first.
    #[error("environment {0:?} of the trust root has no sealer key here, nor has any other")]
    SignerMissing(String),
    /// A key that the trust root does not list for its environment.
    #[error(
        "the sealer key {key} is not one that the trust root lists for environment {environment:?}"
    )]
    SignerUnknown {
        /// The environment.
        environment: String,
        /// The key.
        key: PublicKey,
    },
    /// More environments than an envelope has signatures.
    #[error("the trust root has {got} environments, at most {max} can be sealed for")]
    TooManyEnvironments {
        /// Environments.
        got: usize,
        /// Environments allowed.
        max: usize,
    },
    /// The log does not begin.
    #[error(transparent)]
    Log(LogOpenError),
    /// The store holds another trust root of that version.
    #[error("the store holds another trust root of version {0}")]
    TrustRootConflict(u64),
}

impl From<LogOpenError> for OpenError {
    fn from(error: LogOpenError) -> Self {
        match error {
            LogOpenError::Store(fault) => Self::Store(fault),
            LogOpenError::Index(fault) => Self::Index(fault),
            LogOpenError::Record(error) => Self::Record(error),
            other => Self::Log(other),
        }
    }
}

/// Why a batch was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is not known whether an earlier batch was claimed, or another sealer claimed in its place. This sealer seals
    /// nothing more: open a new one, which replays what was claimed.
    #[error("this sealer has stopped: the record must be read again")]
    Stopped,
    /// The environment has no key here.
    #[error("environment {0:?} has no sealer key here")]
    SignerMissing(String),
    /// Another sealer wrote the next claim first.
    #[error("another sealer wrote claim {number} first")]
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
    /// The log took nothing: nothing happened, and it can be tried again.
    #[error(transparent)]
    Log(LogError),
    /// The store failed before the claim: nothing happened, and it can be tried again.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A blob in the store was changed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The index failed before the claim.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// A key did not sign: it can be tried again.
    #[error("environment {environment:?}: {fault}")]
    Sign {
        /// The environment.
        environment: String,
        /// What the key's holder said.
        fault: SignFault,
    },
    /// The trust root does not know the cluster.
    #[error("the trust root does not list cluster {0:?}")]
    ClusterUnknown(String),
    /// One cluster twice in one batch.
    #[error("cluster {0:?} stands twice in one batch")]
    ClusterTwice(String),
    /// The cluster belongs to another environment.
    #[error(
        "cluster {cluster:?} belongs to environment {want:?} by the trust root, not to {got:?}"
    )]
    Environment {
        /// The cluster.
        cluster: String,
        /// Its environment.
        want: String,
        /// The one that was given.
        got: String,
    },
    /// The fleet of the `source` entry is another one.
    #[error("the source entry is of fleet {got:?}, the trust root of {want:?}")]
    Fleet {
        /// The trust root's fleet.
        want: String,
        /// The entry's.
        got: String,
    },
    /// The commit has no `source` entry yet.
    #[error("commit {0} has no source entry")]
    SourceUnknown(String),
    /// The lines make no manifest.
    #[error("cluster {cluster:?}: {error}")]
    Manifest {
        /// The cluster.
        cluster: String,
        /// Why.
        error: ManifestError,
    },
    /// The statement can not be written.
    #[error("{of}: {error}")]
    Statement {
        /// The cluster, or `source`.
        of: String,
        /// Why.
        error: StatementError,
    },
    /// The envelope is larger than what anybody reads.
    #[error("{of}: {error}")]
    Envelope {
        /// The cluster, or `source`.
        of: String,
        /// Why.
        error: EnvelopeError,
    },
    /// All generations of the cluster are used up.
    #[error("cluster {0:?} has no generation left")]
    GenerationsUsedUp(String),
    /// A line names a blob that was not given and does not lie in the store.
    #[error("cluster {cluster:?}: blob {digest} was not given and is not in the store")]
    BlobMissing {
        /// The cluster.
        cluster: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob that was given has another digest or length than its line says.
    #[error("cluster {cluster:?}: blob {digest} is not what its line says")]
    BlobMismatch {
        /// The cluster.
        cluster: String,
        /// The blob.
        digest: Digest,
    },
    /// What would be claimed could not be replayed after a crash, so it is not claimed.
    #[error("the batch could not be read back: {0}")]
    Record(#[from] RecordError),
    /// A stored head can not be read.
    #[error("a stored head can not be read: {0}")]
    Head(#[from] Refusal),
    /// A task was ended from outside.
    #[error("sealing was cut short")]
    Cut,
}

impl From<LogError> for SealError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Stopped | LogError::Full => Self::Stopped,
            LogError::ClaimLost { number } => Self::ClaimLost { number },
            LogError::ClaimUnknown { number, fault } => Self::ClaimUnknown { number, fault },
            LogError::NotFiled { number, fault } => Self::NotFiled { number, fault },
            LogError::Store(fault) => Self::Store(fault),
            LogError::Staging(error) => Self::Blob(error),
            other @ (LogError::Busy
            | LogError::TooLarge(_)
            | LogError::Index(_)
            | LogError::Sign(_)) => Self::Log(other),
        }
    }
}

/// What to do after a batch was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try the same batch again, later: nothing happened.
    Retry,
    /// Open a new sealer, which reads the record again; then look whether the batch is in it.
    Reopen,
    /// The batch can not be sealed as it is.
    Change,
}

impl SealError {
    /// What to do.
    #[must_use]
    pub const fn next(&self) -> Next {
        match self {
            Self::Stopped
            | Self::ClaimLost { .. }
            | Self::ClaimUnknown { .. }
            | Self::NotFiled { .. } => Next::Reopen,
            Self::Store(_) | Self::Index(_) | Self::Sign { .. } | Self::Cut => Next::Retry,
            Self::Log(LogError::TooLarge(_)) => Next::Change,
            Self::Log(_) => Next::Retry,
            Self::Blob(BlobError::Fault(_)) => Next::Retry,
            Self::Blob(BlobError::Tampered { .. })
            | Self::ClusterUnknown(_)
            | Self::ClusterTwice(_)
            | Self::Environment { .. }
            | Self::Fleet { .. }
            | Self::SourceUnknown(_)
            | Self::SignerMissing(_)
            | Self::Manifest { .. }
            | Self::Statement { .. }
            | Self::Envelope { .. }
            | Self::GenerationsUsedUp(_)
            | Self::BlobMissing { .. }
            | Self::BlobMismatch { .. }
            | Self::Record(_)
            | Self::Head(_) => Next::Change,
        }
    }
}
