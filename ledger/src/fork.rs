//! `fork/v1`: two checkpoints of one log that can't both be true, as a file that anybody can check with the log's key.
//!
//! Made by whoever saw both: an agent, a witness, an auditor. Two checkpoints of one size with two roots prove a fork by
//! themselves. Of two sizes, the hashes are the proof that the log gave for the one to follow the other: that they do not
//! lead from one to the other is checked again, that the log gave no better ones is the word of who recorded it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{self, JsonError, Limits};
use crate::key::Verify;
use crate::limits::FORK_BYTES_MAX;
use crate::tlog::checkpoint::{Checkpoint, CheckpointError};
use crate::tlog::merkle::{self, PROOF_HASHES_MAX};
use crate::tlog::note::{self, NoteError, Vkey};

/// The format's name.
pub const FORMAT: &str = "https://countersign.dev/fork/v1";

/// Two checkpoints of one log, as they were signed, and the hashes that should have led from one to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The signed note that was known before.
    pub ours: Vec<u8>,
    /// The signed note that came.
    pub theirs: Vec<u8>,
    /// The proof that came with it.
    pub consistency: Vec<Digest>,
}

/// What a fork file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Two roots at one size: the log's key signed both, and no tree has both.
    Proven {
        /// The size.
        size: u64,
        /// The root in the one.
        ours: Digest,
        /// The root in the other.
        theirs: Digest,
    },
    /// A smaller tree came after a larger one, which by itself may be an old checkpoint shown again.
    Shrunk {
        /// Size before.
        ours: u64,
        /// Size after.
        theirs: u64,
    },
    /// The proof that was recorded does not lead from the smaller to the larger.
    Unproven {
        /// Size of the one.
        ours: u64,
        /// Size of the other.
        theirs: u64,
    },
    /// Both can be true: this is no fork.
    Consistent,
}

/// Why bytes are no fork file, or show nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// Not JSON as we take it.
    #[error("fork {0}")]
    Json(#[from] JsonError),
    /// A field is missing, unknown or of another type.
    #[error("fork: {0}")]
    Shape(String),
    /// The same, but not in its canonical bytes.
    #[error("fork: not in canonical form")]
    NotCanonical,
    /// The log's key did not sign one of the notes.
    #[error("fork: checkpoint {which:?}: {error}")]
    Note {
        /// Which one.
        which: &'static str,
        /// Why.
        error: NoteError,
    },
    /// One of the notes is no checkpoint.
    #[error("fork: checkpoint {which:?}: {error}")]
    Checkpoint {
        /// Which one.
        which: &'static str,
        /// Why.
        error: CheckpointError,
    },
    /// One of them is of another log.
    #[error("fork: checkpoint {which:?} is of log {got:?}, not {want:?}")]
    OtherLog {
        /// Which one.
        which: &'static str,
        /// The key's log.
        want: String,
        /// The checkpoint's.
        got: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    consistency: Vec<Digest>,
    format: Format,
    ours: String,
    theirs: String,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "https://countersign.dev/fork/v1")]
    V1,
}

impl Fork {
    /// The file: canonical JSON, the notes in base64.
    pub fn bytes(&self) -> Result<Vec<u8>, ForkError> {
        let wire = Wire {
            consistency: self.consistency.clone(),
            format: Format::V1,
            ours: STANDARD.encode(&self.ours),
            theirs: STANDARD.encode(&self.theirs),
        };
        let value =
            serde_json::to_value(&wire).map_err(|error| ForkError::Shape(error.to_string()))?;
        Ok(json::canonical(&value)?)
    }

    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ForkError> {
        let value = json::parse(bytes, &Limits::document(FORK_BYTES_MAX))?;
        let wire: Wire =
            serde_json::from_value(value).map_err(|error| ForkError::Shape(error.to_string()))?;
        if wire.consistency.len() > PROOF_HASHES_MAX {
            let problem = format!("consistency: more than {PROOF_HASHES_MAX} hashes");
            return Err(ForkError::Shape(problem));
        }
        let decode = |field: &str, text: &str| {
            STANDARD
                .decode(text)
                .map_err(|_| ForkError::Shape(format!("{field}: must be base64")))
        };
        let fork = Self {
            ours: decode("ours", &wire.ours)?,
            theirs: decode("theirs", &wire.theirs)?,
            consistency: wire.consistency,
        };
        if fork.bytes()? == bytes {
            Ok(fork)
        } else {
            Err(ForkError::NotCanonical)
        }
    }

    /// Checks both notes with the log's key, and says what they show.
    pub fn check(&self, log: &Vkey, verifier: &dyn Verify) -> Result<Shown, ForkError> {
        let ours = open("ours", &self.ours, log, verifier)?;
        let theirs = open("theirs", &self.theirs, log, verifier)?;
        if ours.size == theirs.size {
            return Ok(if ours.root == theirs.root {
                Shown::Consistent
            } else {
                Shown::Proven {
                    size: ours.size,
                    ours: ours.root,
                    theirs: theirs.root,
                }
            });
        }
        let (old, new) = if ours.size < theirs.size {
            (&ours, &theirs)
        } else {
            (&theirs, &ours)
        };
        let leads =
            merkle::verify_consistency(old.size, &old.root, new.size, &new.root, &self.consistency);
        let (ours, theirs) = (ours.size, theirs.size);
        Ok(match leads {
            Ok(()) => Shown::Consistent,
            Err(_) if theirs < ours => Shown::Shrunk { ours, theirs },
            Err(_) => Shown::Unproven { ours, theirs },
        })
    }
}

fn open(
    which: &'static str,
    bytes: &[u8],
    log: &Vkey,
    verifier: &dyn Verify,
) -> Result<Checkpoint, ForkError> {
    let opened = note::open(bytes, std::slice::from_ref(log), verifier)
        .map_err(|error| ForkError::Note { which, error })?;
    let checkpoint =
        Checkpoint::parse(opened.text()).map_err(|error| ForkError::Checkpoint { which, error })?;
    if checkpoint.origin == log.name() {
        Ok(checkpoint)
    } else {
        Err(ForkError::OtherLog {
            which,
            want: log.name().to_owned(),
            got: checkpoint.origin,
        })
    }
}

#[cfg(test)]
mod tests;
