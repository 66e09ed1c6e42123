//! What an agent checks before it touches the cluster: DESIGN.md section 5, in its order.
//!
//! | check | where |
//! |---|---|
//! | 1 trust root | [`crate::trust::Roots`] (succession), `root` (the statement's root is known here) |
//! | 2 checkpoint, 4 inclusion | **not made**: there is no log yet. A trust root that lists one is refused with `LOG_PROOF_MISSING` |
//! | 3 signatures | `signatures` |
//! | 5 identity, generation, previous | `identity`, `chain` |
//! | 6 author, 7 second renderer | **not made**: a cluster whose level asks for them is refused with `LEVEL_NOT_MET` |
//! | 8 blobs and lengths | `manifest`, `blobs` |
//!
//! What came from the network and what was verified are different types; only these functions make the second.

mod blobs;
mod chain;
mod identity;
mod manifest;
mod root;
mod signatures;

pub use blobs::{Checked, VerifiedBlob, VerifiedState, check_apps, check_blob, complete};
pub use chain::{VerifiedStatement, verify_chain, verify_part};
pub use manifest::{VerifiedManifest, VerifiedSections, assemble, sections};

use crate::digest::Digest;
use crate::refusal::Refusal;
use crate::trust::Roots;

/// What the agent knows before anything comes: who it is, whom it trusts, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The cluster's name.
    pub cluster: String,
    /// The trust roots, from the pinned one on.
    pub roots: Roots,
    /// The last statement that was verified; none before the first.
    pub last: Option<Last>,
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
}

impl Known {
    /// What is known once `statement` is verified: the next chain is checked against this.
    #[must_use]
    pub fn after(&self, statement: &VerifiedStatement) -> Self {
        Self {
            cluster: self.cluster.clone(),
            roots: self.roots.clone(),
            last: Some(statement.last()),
        }
    }

    /// The cluster's environment, as the newest trust root has it.
    pub fn environment(&self) -> Result<&str, Refusal> {
        Ok(&self.roots.newest().cluster(&self.cluster)?.environment)
    }
}

#[cfg(test)]
mod tests;
