//! What an agent checks before it touches the cluster: DESIGN.md section 5, in its order.
//!
//! | check | where |
//! |---|---|
//! | 1 trust root | [`crate::trust::Roots`] (succession), `root` (the statement's root is known here), `trust_entries` (since when) |
//! | 2 checkpoint | `checkpoint`: signed by the log and a quorum of witnesses, consistent with the last one that was seen |
//! | 3 signatures | `signatures`, by the place in the log too |
//! | 4 inclusion | `inclusion`, for each link of the chain |
//! | 5 identity, generation, previous | `identity`, `chain` |
//! | 6 source and author | `source` (each link's entry is in the log), `author` (people's signatures; without it a state that needs it is `LEVEL_NOT_MET`) |
//! | 7 second renderer | `renderer` (without it a state that needs it is `LEVEL_NOT_MET`) |
//! | 8 blobs and lengths | `manifest`, `blobs` |
//!
//! [`glass`] leaves out the witnesses of 2 for the one state that a person named, and nothing else.
//!
//! Where the trust root lists no log, 2, 4 and 6 are not made: there is nothing to look at.
//!
//! What came from the network and what was verified are different types; only these functions make the second.

mod author;
mod blobs;
mod chain;
mod checkpoint;
pub mod deletions;
pub mod glass;
mod identity;
mod inclusion;
mod manifest;
pub mod overrides;
mod renderer;
mod root;
mod signatures;
mod source;
mod trust_entries;

pub use author::{AuthorRefused, Judge, authored};
pub use blobs::{Checked, VerifiedBlob, VerifiedState, check_apps, check_blob, complete};
pub use chain::{VerifiedStatement, restored, verify_chain, verify_part};
pub use checkpoint::{Seen, VerifiedCheckpoint, checkpoint};
pub use inclusion::{Inclusion, Link};
pub use manifest::{VerifiedManifest, VerifiedSections, assemble, sections};
pub use renderer::reproduced;
pub use trust_entries::trust_entries;

use crate::digest::Digest;
use crate::limits::CHECKPOINT_STALE_SECONDS;
use crate::refusal::Refusal;
use crate::trust::{Roots, Windows};

/// What the agent knows before anything comes: who it is, whom it trusts, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The cluster's name.
    pub cluster: String,
    /// The trust roots, from the pinned one on.
    pub roots: Roots,
    /// The last statement that was verified; none before the first.
    pub last: Option<Last>,
    /// The last checkpoint that was verified; none before the first.
    pub seen: Option<Seen>,
    /// From which place of the log on each trust root is in effect, as far as entries said so.
    pub windows: Windows,
    /// Seconds after which a cosigned checkpoint is too old: longer where a person carries it.
    pub stale_seconds: u64,
}

/// The last statement that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its generation.
    pub generation: u64,
    /// Digest of its envelope.
    pub envelope: Digest,
    /// Version of the trust root that it was made under.
    pub trust_root: u64,
    /// Its place in the log; none if it was verified without one.
    pub index: Option<u64>,
}

impl Known {
    /// What a cluster knows before it saw anything of the log.
    #[must_use]
    pub fn new(cluster: &str, roots: Roots, last: Option<Last>) -> Self {
        Self {
            cluster: cluster.to_owned(),
            roots,
            last,
            seen: None,
            windows: Windows::default(),
            stale_seconds: CHECKPOINT_STALE_SECONDS,
        }
    }

    /// What is known once `checkpoint` is verified: the next one must follow it.
    #[must_use]
    pub fn seeing(&self, checkpoint: &VerifiedCheckpoint) -> Self {
        Self {
            seen: Some(checkpoint.seen().clone()),
            ..self.clone()
        }
    }

    /// What is known once `statement` is verified: the next chain is checked against this.
    #[must_use]
    pub fn after(&self, statement: &VerifiedStatement) -> Self {
        Self {
            last: Some(statement.last()),
            ..self.clone()
        }
    }

    /// The cluster's environment, as the newest trust root has it.
    pub fn environment(&self) -> Result<&str, Refusal> {
        Ok(&self.roots.newest().cluster(&self.cluster)?.environment)
    }
}

#[cfg(test)]
mod tests;
