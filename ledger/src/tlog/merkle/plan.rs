//! Which stored nodes a proof needs, and how they become its hashes.

use super::{NodeId, ProofError, node_hash};
use crate::digest::Digest;

/// A proof before its hashes are there: each of its hashes is the root of a range of leaves, and each range is a row
/// of complete subtrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    nodes: Vec<NodeId>,
    /// How many of the nodes make each hash.
    rows: Vec<usize>,
}

impl Plan {
    /// The plan of a proof that leaf `index` is in the first `size` leaves (RFC 6962, 2.1.1).
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::IndexOutOfTree { index, size });
        }
        let mut ranges = Vec::new();
        let (mut begin, mut end) = (0, size);
        while end - begin > 1 {
            let middle = begin + split(end - begin);
            if index < middle {
                ranges.push((middle, end));
                end = middle;
            } else {
                ranges.push((begin, middle));
                begin = middle;
            }
        }
        Ok(Self::of(&ranges))
    }

    /// The plan of a proof that the first `old` of `new` leaves were not changed (RFC 6962, 2.1.2). Empty for an
    /// empty earlier tree and for trees of one size.
    pub fn consistency(old: u64, new: u64) -> Result<Self, ProofError> {
        if old > new {
            return Err(ProofError::TreeShrinks { old, new });
        }
        let mut ranges = Vec::new();
        if old > 0 {
            let (mut begin, mut end) = (0, new);
            while old != end {
                let middle = begin + split(end - begin);
                if old <= middle {
                    ranges.push((middle, end));
                    end = middle;
                } else {
                    ranges.push((begin, middle));
                    begin = middle;
                }
            }
            // Left out where it is the whole earlier tree: its root is known.
            if begin > 0 {
                ranges.push((begin, end));
            }
        }
        Ok(Self::of(&ranges))
    }

    /// The plan of the root of the first `size` leaves; without nodes for the empty tree.
    #[must_use]
    pub fn root(size: u64) -> Self {
        if size == 0 {
            Self::of(&[])
        } else {
            Self::of(&[(0, size)])
        }
    }

    fn of(ranges: &[(u64, u64)]) -> Self {
        let mut plan = Self {
            nodes: Vec::new(),
            rows: Vec::new(),
        };
        for (begin, end) in ranges.iter().rev() {
            let before = plan.nodes.len();
            let mut at = *begin;
            while at < *end {
                let level = (end - at).ilog2();
                plan.nodes.push(NodeId {
                    // Below 64.
                    level: u8::try_from(level).unwrap_or(u8::MAX),
                    index: at >> level,
                });
                at += 1 << level;
            }
            plan.rows.push(plan.nodes.len() - before);
        }
        plan
    }

    /// The nodes needed, in the order in which [`Plan::fold`] takes their hashes.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// [`Plan::nodes`], taken.
    #[must_use]
    pub fn into_nodes(self) -> Vec<NodeId> {
        self.nodes
    }

    /// The proof's hashes from those of the nodes.
    pub fn fold(&self, hashes: &[Digest]) -> Result<Vec<Digest>, ProofError> {
        if hashes.len() != self.nodes.len() {
            return Err(ProofError::HashCount {
                want: self.nodes.len(),
                got: hashes.len(),
            });
        }
        let mut rest = hashes;
        let mut proof = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let (nodes, after) = rest.split_at(*row);
            rest = after;
            proof.extend(fold(nodes));
        }
        Ok(proof)
    }

    /// Asks `node` for each hash, then folds.
    pub fn run<E: From<ProofError>>(
        &self,
        node: impl FnMut(NodeId) -> Result<Digest, E>,
    ) -> Result<Vec<Digest>, E> {
        let hashes = self
            .nodes
            .iter()
            .copied()
            .map(node)
            .collect::<Result<Vec<_>, E>>()?;
        Ok(self.fold(&hashes)?)
    }
}

/// The root over a row of complete subtrees, from the largest to the smallest; none for none.
pub(in crate::tlog) fn fold(row: &[Digest]) -> Option<Digest> {
    row.iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Hashes in a proof of inclusion; `index` is below `size`.
pub(super) fn inclusion_length(index: u64, size: u64) -> usize {
    // Up to where the paths of the leaf and of the last leaf meet there is a sibling at each level; above, only where
    // something lies to the left.
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner + border) as usize
}

/// Hashes in a proof of consistency; `old` is at most `new`.
pub(super) fn consistency_length(old: u64, new: u64) -> usize {
    if old == 0 || old == new {
        return 0;
    }
    // The path of the last leaf of the earlier tree, from the lowest node that both trees share.
    let shared = old.trailing_zeros();
    let inner = u64::BITS - ((old - 1) ^ (new - 1)).leading_zeros();
    let border = (old - 1).checked_shr(inner).unwrap_or(0).count_ones();
    let known = u32::from(!old.is_power_of_two());
    (inner - shared.min(inner) + border + known) as usize
}
