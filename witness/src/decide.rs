//! The decision, and nothing else: what is known, what is asked, whether to cosign. No clock, key or file.
//!
//! Called by [`crate::witness`] under the lock of the log; what it allows is made durable before anybody sees it.

use countersign_ledger::digest::Digest;
use countersign_ledger::tlog::merkle::{self, ProofError};

use crate::request::Malformed;

/// A tree: how many leaves, and their root hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// Leaves.
    pub size: u64,
    /// Root hash.
    pub root: Digest,
}

/// The tree that every log begins with.
const NOTHING: Tree = Tree {
    size: 0,
    root: merkle::EMPTY_ROOT,
};

/// What is asked, once the log's own signature has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Size that the witness is believed to know.
    pub old: u64,
    /// From there to `tree`.
    pub proof: &'a [Digest],
    /// What is to be cosigned.
    pub tree: Tree,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Cosign it: it is the known tree, or continues it, or is the first of this log.
    Cosign,
    /// Don't.
    Refuse(Refusal),
}

/// Why a checkpoint is not cosigned. Each has one status of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is no request.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The checkpoint is no signed note, or its text no checkpoint.
    #[error("the checkpoint: {0}")]
    NoCheckpoint(String),
    /// A log that this witness does not follow.
    #[error("this witness does not follow the log {0:?}")]
    UnknownLog(String),
    /// No signature of a key of the log, or a false one.
    #[error("no valid signature of the log")]
    NotSigned,
    /// It would shrink: the old size is above the checkpoint's.
    #[error("old size {old} is above the checkpoint's, {size}")]
    Shrinks {
        /// As said.
        old: u64,
        /// Of the checkpoint.
        size: u64,
    },
    /// The old size is not the one known. The answer says which is.
    #[error("old size {old} is not the known one, {known}")]
    NotTheKnown {
        /// As said.
        old: u64,
        /// Size of the newest cosigned checkpoint, 0 if there is none.
        known: u64,
    },
    /// A tree without leaves has one root hash, and this is another.
    #[error("the root hash of an empty tree is that of the empty string")]
    EmptyRoot,
    /// Another root hash at the size that was cosigned: the log has forked, and both checkpoints prove it.
    #[error("the log has forked: at size {size} the root was {known}, and is {offered} here")]
    Forked {
        /// The size of both.
        size: u64,
        /// As cosigned.
        known: Digest,
        /// As offered.
        offered: Digest,
    },
    /// The proof does not show that the checkpoint continues the known tree.
    #[error("the proof does not show that the known tree continues: {0}")]
    NotConsistent(ProofError),
}

impl Refusal {
    /// A stable code, for metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED",
            Self::NoCheckpoint(_) => "NO_CHECKPOINT",
            Self::UnknownLog(_) => "UNKNOWN_LOG",
            Self::NotSigned => "LOG_SIGNATURE_INVALID",
            Self::Shrinks { .. } => "SHRINKS",
            Self::NotTheKnown { .. } => "NOT_THE_KNOWN",
            Self::EmptyRoot => "EMPTY_ROOT",
            Self::Forked { .. } => "LOG_FORKED",
            Self::NotConsistent(_) => "NOT_CONSISTENT",
        }
    }

    /// The status that the protocol has for it.
    #[must_use]
    pub const fn status(&self) -> http::StatusCode {
        match self {
            Self::Malformed(_) | Self::NoCheckpoint(_) | Self::Shrinks { .. } => {
                http::StatusCode::BAD_REQUEST
            }
            Self::UnknownLog(_) => http::StatusCode::NOT_FOUND,
            Self::NotSigned => http::StatusCode::FORBIDDEN,
            Self::NotTheKnown { .. } => http::StatusCode::CONFLICT,
            Self::EmptyRoot | Self::Forked { .. } | Self::NotConsistent(_) => {
                http::StatusCode::UNPROCESSABLE_ENTITY
            }
        }
    }
}

/// Whether to cosign, given the tree of the newest cosigned checkpoint, if there is one.
///
/// A log's first checkpoint is taken as it is: from then on it may only grow. So is the first one after size 0, of which
/// nothing could be proven.
#[must_use]
pub fn consider(known: Option<Tree>, offer: &Offer<'_>) -> Decision {
    match checked(known, offer) {
        Ok(()) => Decision::Cosign,
        Err(refusal) => Decision::Refuse(refusal),
    }
}

fn checked(known: Option<Tree>, offer: &Offer<'_>) -> Result<(), Refusal> {
    let Offer { old, proof, tree } = *offer;
    if old > tree.size {
        return Err(Refusal::Shrinks {
            old,
            size: tree.size,
        });
    }
    if tree.size == 0 && tree.root != NOTHING.root {
        return Err(Refusal::EmptyRoot);
    }
    let known = known.unwrap_or(NOTHING);
    if old != known.size {
        return Err(Refusal::NotTheKnown {
            old,
            known: known.size,
        });
    }
    if known.size == tree.size && known.root != tree.root {
        return Err(Refusal::Forked {
            size: tree.size,
            known: known.root,
            offered: tree.root,
        });
    }
    // Of an empty tree everything is a continuation, and its proof is empty.
    merkle::verify_consistency(known.size, &known.root, tree.size, &tree.root, proof)
        .map_err(Refusal::NotConsistent)
}

#[cfg(test)]
mod tests;
