//! What is kept of the log: the last checkpoint, which the next one must follow, and that the kept state stands in it.

use std::sync::Arc;

use countersign_ledger::digest::Digest;
use countersign_ledger::trust::{Roots, Windows};
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
    /// Since when trust roots are in effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trust: Vec<Effect>,
}

/// From this place of the log on, the trust root of this version is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Effect {
    since: u64,
    version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    size: u64,
    root: Digest,
    note: String,
    time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
}

/// An inclusion proof and the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    note: String,
    index: u64,
    hashes: Vec<Digest>,
    /// The place of the override under which the state came before witnesses had seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    glass: Option<u64>,
}

impl Log {
    /// None without a checkpoint.
    #[must_use]
    pub fn of(seen: Option<&Seen>, shown: Option<Proof>, windows: &Windows) -> Option<Self> {
        let seen = seen?;
        Some(Self {
            seen: Checkpoint {
                size: seen.size,
                root: seen.root,
                note: text(&seen.note),
                time: seen.time,
                before: seen.before,
            },
            shown,
            trust: windows
                .effects()
                .map(|(since, version)| Effect { since, version })
                .collect(),
        })
    }

    /// Since when `roots` are in effect. What names a root that was lost, and all after it, is left out: the hub says it again.
    #[must_use]
    pub fn windows(&self, roots: &Roots) -> Windows {
        let mut windows = Windows::default();
        for Effect { since, version } in &self.trust {
            let Some(root) = roots.at(*version) else {
                break;
            };
            if windows.push(*since, Arc::new(root.clone())).is_err() {
                break;
            }
        }
        windows
    }

    /// The last checkpoint.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let Checkpoint {
            size,
            root,
            note,
            time,
            before,
        } = &self.seen;
        Seen {
            size: *size,
            root: *root,
            note: note.clone().into_bytes(),
            time: *time,
            before: *before,
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
            glass: proof.glass,
        })
    }
}

impl From<Shown> for Proof {
    fn from(shown: Shown) -> Self {
        Self {
            note: text(&shown.note),
            index: shown.proof.index,
            hashes: shown.proof.hashes,
            glass: shown.glass,
        }
    }
}

/// A note that was verified is UTF-8.
fn text(note: &[u8]) -> String {
    String::from_utf8_lossy(note).into_owned()
}
