//! The Merkle tree of RFC 6962 with SHA-256: node hashes, proofs of inclusion and of consistency, and their checks.
//!
//! A proof is made in two steps, so that a caller may fetch in between: [`inclusion_nodes`] names the stored nodes
//! (complete subtrees) that are needed, [`fold_inclusion`] makes the proof from their hashes; the same for
//! consistency and for the root of any earlier size.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

pub(in crate::tlog) mod plan;

#[cfg(test)]
mod tests;

pub use plan::Plan;

/// The root of the empty tree: SHA-256 of nothing.
pub const EMPTY_ROOT: Digest = Digest::from_bytes([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Hashes in a proof at most: a tree of less than 2^63 leaves, as checkpoints have, is 63 nodes high, and a proof of
/// consistency has one hash more.
pub const PROOF_HASHES_MAX: usize = 64;

/// The hash of a node above `left` and `right`: SHA-256 of a one byte and both.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left.as_bytes());
    hash.update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// A complete subtree: the one with leaves `index·2^level` up to `(index+1)·2^level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves; 0 is a leaf.
    pub level: u8,
    /// Place among the nodes of its level.
    pub index: u64,
}

/// Why a proof cannot be made, or is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("a tree of {size} entries has none with index {index}")]
    IndexOutOfTree {
        /// The leaf asked for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The later tree is the smaller one.
    #[error("a tree of {old} entries cannot have become one of {new}")]
    TreeShrinks {
        /// Leaves of the earlier tree.
        old: u64,
        /// Leaves of the later tree.
        new: u64,
    },
    /// The proof, or what it is made of, has another number of hashes than these trees need.
    #[error("needs {want} hashes, got {got}")]
    HashCount {
        /// Hashes needed.
        want: usize,
        /// Hashes given.
        got: usize,
    },
    /// The proof leads to another root.
    #[error("leads to root {got}, the tree's is {want}")]
    RootMismatch {
        /// The tree's root.
        want: Digest,
        /// Where the proof leads.
        got: Digest,
    },
    /// The proof leads to another root of the earlier tree, or two trees of one size have two roots.
    #[error("leads to the earlier root {got}, the tree's was {want}")]
    OldRootMismatch {
        /// The earlier tree's root.
        want: Digest,
        /// Where the proof leads.
        got: Digest,
    },
}

/// The stored nodes that a proof of inclusion of leaf `index` in the first `size` leaves is made of.
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<NodeId>, ProofError> {
    Ok(Plan::inclusion(index, size)?.into_nodes())
}

/// Makes the proof from the hashes of [`inclusion_nodes`], in their order.
pub fn fold_inclusion(index: u64, size: u64, hashes: &[Digest]) -> Result<Vec<Digest>, ProofError> {
    Plan::inclusion(index, size)?.fold(hashes)
}

/// The stored nodes that a proof is made of that the first `old` leaves of `new` were not changed.
pub fn consistency_nodes(old: u64, new: u64) -> Result<Vec<NodeId>, ProofError> {
    Ok(Plan::consistency(old, new)?.into_nodes())
}

/// Makes the proof from the hashes of [`consistency_nodes`], in their order.
pub fn fold_consistency(old: u64, new: u64, hashes: &[Digest]) -> Result<Vec<Digest>, ProofError> {
    Plan::consistency(old, new)?.fold(hashes)
}

/// The stored nodes that the root of the first `size` leaves is made of: the same that a
/// [`super::Frontier`] of that size holds, from the largest subtree to the smallest.
#[must_use]
pub fn root_nodes(size: u64) -> Vec<NodeId> {
    Plan::root(size).into_nodes()
}

/// The root over the hashes of [`root_nodes`], in their order.
pub fn fold_root(size: u64, hashes: &[Digest]) -> Result<Digest, ProofError> {
    let roots = Plan::root(size).fold(hashes)?;
    Ok(roots.first().copied().unwrap_or(EMPTY_ROOT))
}

/// The proof that leaf `index` is in the first `size` leaves, over the nodes that `node` yields.
pub fn inclusion_proof<E: From<ProofError>>(
    index: u64,
    size: u64,
    node: impl FnMut(NodeId) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    Plan::inclusion(index, size)?.run(node)
}

/// The proof that the first `old` of `new` leaves were not changed, over the nodes that `node` yields.
pub fn consistency_proof<E: From<ProofError>>(
    old: u64,
    new: u64,
    node: impl FnMut(NodeId) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    Plan::consistency(old, new)?.run(node)
}

/// Checks that the leaf with hash `leaf` is at `index` in the tree of `size` leaves with `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfTree { index, size });
    }
    let want = plan::inclusion_length(index, size);
    if proof.len() != want {
        return Err(ProofError::HashCount {
            want,
            got: proof.len(),
        });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::RootMismatch {
            want: *root,
            got: hash,
        })
    }
}

/// Checks that the tree of `new_size` leaves with `new_root` begins with the one of `old_size` leaves with `old_root`
/// (RFC 9162, 2.1.4.2). For an empty earlier tree, and for trees of one size, the proof must be empty and the roots
/// must say so.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::TreeShrinks {
            old: old_size,
            new: new_size,
        });
    }
    let want = plan::consistency_length(old_size, new_size);
    if proof.len() != want {
        return Err(ProofError::HashCount {
            want,
            got: proof.len(),
        });
    }
    if old_size == 0 && *old_root != EMPTY_ROOT {
        return Err(ProofError::OldRootMismatch {
            want: EMPTY_ROOT,
            got: *old_root,
        });
    }
    if old_size == new_size && old_root != new_root {
        return Err(ProofError::OldRootMismatch {
            want: *old_root,
            got: *new_root,
        });
    }
    if old_size == 0 || old_size == new_size {
        return Ok(());
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // An earlier tree that is one complete subtree is its own first hash.
    let (start, rest) = match proof.split_first() {
        Some((first, rest)) if !old_size.is_power_of_two() => (*first, rest),
        _ => (*old_root, proof),
    };
    let (mut old, mut new) = (start, start);
    for sibling in rest {
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if old != *old_root {
        return Err(ProofError::OldRootMismatch {
            want: *old_root,
            got: old,
        });
    }
    if new != *new_root {
        return Err(ProofError::RootMismatch {
            want: *new_root,
            got: new,
        });
    }
    Ok(())
}
