//! What is kept of the log: the last checkpoint, which the next one must follow, and that the kept state stands in it.

use countersign_ledger::digest::Digest;
use countersign_ledger::verify::{Inclusion, Seen};
use serde::{Deserialize, Serialize};

use crate::verify::Shown;

/// The log as last verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The last checkpoint.
    seen: Checkpoint,
    /// That the kept state's envelope stands in the log.
    pub shown: Option<Proof>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    size: u64,
    root: Digest,
    note: String,
    time: Option<u64>,
}

/// An inclusion proof and the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    note: String,
    index: u64,
    hashes: Vec<Digest>,
}

impl Log {
    /// None without a checkpoint.
    #[must_use]
    pub fn of(seen: Option<&Seen>, shown: Option<Proof>) -> Option<Self> {
        let seen = seen?;
        Some(Self {
            seen: Checkpoint {
                size: seen.size,
                root: seen.root,
                note: text(&seen.note),
                time: seen.time,
            },
            shown,
        })
    }

    /// The last checkpoint.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let Checkpoint {
            size,
            root,
            note,
            time,
        } = &self.seen;
        Seen {
            size: *size,
            root: *root,
            note: note.clone().into_bytes(),
            time: *time,
        }
    }

    /// That the kept state stands in the log.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        self.shown.as_ref().map(|proof| Shown {
            note: proof.note.clone().into_bytes(),
            proof: Inclusion {
                index: proof.index,
                hashes: proof.hashes.clone(),
            },
        })
    }
}

impl From<Shown> for Proof {
    fn from(shown: Shown) -> Self {
        Self {
            note: text(&shown.note),
            index: shown.proof.index,
            hashes: shown.proof.hashes,
        }
    }
}

/// A note that was verified is UTF-8.
fn text(note: &[u8]) -> String {
    String::from_utf8_lossy(note).into_owned()
}
