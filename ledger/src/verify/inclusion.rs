//! Check 4: the exact bytes stand in the log.

use crate::digest::{Digest, leaf_hash};
use crate::refusal::Refusal;
use crate::tlog::merkle;

use super::checkpoint::Tree;

/// The place of an entry in the log, and the way from it to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// Its place, from 0.
    pub index: u64,
    /// RFC 6962 inclusion proof, leaf side first.
    pub hashes: Vec<Digest>,
}

/// An envelope, as it came, with its proof if one came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<E> {
    /// The exact bytes.
    pub envelope: E,
    /// That it stands in the log; needed where the trust root lists one.
    pub proof: Option<Inclusion>,
}

impl<E> Link<E> {
    /// An envelope without proof: all that there is before a fleet has a log.
    pub fn bare(envelope: E) -> Self {
        Self {
            envelope,
            proof: None,
        }
    }
}

impl<E: AsRef<[u8]>> Link<E> {
    /// Checks that the envelope stands in the log, and says where.
    pub(super) fn check(&self, tree: &Tree) -> Result<u64, Refusal> {
        let proof = self.proof.as_ref().ok_or(Refusal::LogProofMissing)?;
        let (index, size) = (proof.index, tree.size());
        let leaf = leaf_hash(self.envelope.as_ref());
        merkle::verify_inclusion(index, size, &leaf, &proof.hashes, tree.root()).map_err(
            |error| Refusal::NotInLog {
                index,
                size,
                problem: error.to_string(),
            },
        )?;
        Ok(index)
    }
}
