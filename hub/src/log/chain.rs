//! The claims one after the other, and the tree over their entries. Pure.
//!
//! The tree is a function of the claims: each entry is a leaf at its first occurrence, in claim order. So the log
//! takes in what was claimed before it began, and the same entry twice is one leaf.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::Digest;
use countersign_ledger::claim::Claim;
use countersign_ledger::tlog::Frontier;
use countersign_ledger::tlog::merkle::NodeId;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::tlog::tile::TILE_HEIGHT;

use super::error::{CheckpointProblem, LogError, RecordError};
use super::signed::{self, Signed};
use crate::store::index::{IndexFault, Leaf, NodeRow};

/// Where the claims end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    /// The number of the next claim.
    pub(crate) next: u64,
    /// Digest of the last one.
    pub(crate) last: Option<Digest>,
    /// The tree over all entries.
    pub(crate) frontier: Frontier,
    /// The newest checkpoint; none before the log has begun.
    pub(crate) signed: Option<Arc<Signed>>,
}

/// What a batch of entries makes of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Grown {
    /// The tree after it.
    pub(crate) frontier: Frontier,
    /// Leaves that are new.
    pub(crate) leaves: Vec<Leaf>,
    /// Complete nodes at the levels of tiles that are new.
    pub(crate) nodes: Vec<NodeRow>,
    /// The index of each entry, in order.
    pub(crate) indexes: Vec<u64>,
}

/// Why a tree does not grow.
#[derive(Debug)]
pub(crate) enum GrowError {
    Index(IndexFault),
    Full,
}

impl From<GrowError> for LogError {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Index(fault) => Self::Index(Arc::new(fault)),
            GrowError::Full => Self::Full,
        }
    }
}

/// Appends the leaves of `hashes` that are not in the tree; `find` knows those that are.
pub(crate) fn grow(
    frontier: &Frontier,
    hashes: &[Digest],
    find: impl Fn(&Digest) -> Result<Option<u64>, IndexFault>,
) -> Result<Grown, GrowError> {
    let mut grown = Grown {
        frontier: frontier.clone(),
        leaves: Vec::new(),
        nodes: Vec::new(),
        indexes: Vec::with_capacity(hashes.len()),
    };
    let mut here: HashMap<Digest, u64> = HashMap::with_capacity(hashes.len());
    for hash in hashes {
        let known = match here.get(hash) {
            Some(index) => Some(*index),
            None => find(hash).map_err(GrowError::Index)?,
        };
        if let Some(index) = known {
            grown.indexes.push(index);
            continue;
        }
        let index = grown.frontier.size();
        let nodes = &mut grown.nodes;
        let complete = |node: NodeId, hash| {
            if node.level > 0 && node.level.is_multiple_of(TILE_HEIGHT) {
                nodes.push(NodeRow {
                    level: node.level / TILE_HEIGHT,
                    index: node.index,
                    hash,
                });
            }
        };
        grown
            .frontier
            .append_with(*hash, complete)
            .map_err(|_| GrowError::Full)?;
        grown.leaves.push(Leaf {
            index,
            hash: *hash,
            at: u32::try_from(grown.leaves.len()).unwrap_or(u32::MAX),
        });
        here.insert(*hash, index);
        grown.indexes.push(index);
    }
    Ok(grown)
}

impl Chain {
    /// The next claim, of a staging object, with the signed checkpoint of the tree after it.
    pub(crate) fn claim(&self, staging: Digest, note: Option<&Bytes>) -> Claim {
        Claim {
            number: self.next,
            previous: self.last,
            staging,
            checkpoint: note.map(|note| String::from_utf8_lossy(note).into_owned()),
        }
    }

    /// Reads the next claim, before its staging object is fetched.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Claim, RecordError> {
        let number = self.next;
        let claim = Claim::parse(bytes).map_err(|error| RecordError::Claim { number, error })?;
        if claim.number != number || claim.previous != self.last {
            return Err(RecordError::Order { number });
        }
        Ok(claim)
    }

    /// The checkpoint of the next claim, which must be that of the tree after it.
    pub(crate) fn check(
        &self,
        claim: &Claim,
        after: &Frontier,
        keys: &[Vkey],
    ) -> Result<Option<Arc<Signed>>, CheckpointProblem> {
        let Some(note) = &claim.checkpoint else {
            return match &self.signed {
                Some(_) => Err(CheckpointProblem::Missing),
                None => Ok(None),
            };
        };
        let checkpoint = signed::open(keys, note.as_bytes())?;
        let said = (checkpoint.size, checkpoint.root);
        let made = (after.size(), after.root());
        if said != made {
            return Err(CheckpointProblem::Tree { said, made });
        }
        Ok(Some(Arc::new(Signed {
            size: checkpoint.size,
            root: checkpoint.root,
            note: Bytes::copy_from_slice(note.as_bytes()),
            claim: claim.number,
        })))
    }

    /// Goes past a claim.
    pub(crate) fn advance(
        &mut self,
        claim: &Digest,
        frontier: Frontier,
        signed: Option<Arc<Signed>>,
    ) {
        self.next = self.next.saturating_add(1);
        self.last = Some(*claim);
        self.frontier = frontier;
        if signed.is_some() {
            self.signed = signed;
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_ledger::digest::leaf_hash;
    use proptest::prelude::*;

    use super::*;

    fn hashes(entries: &[u8]) -> Vec<Digest> {
        entries.iter().map(|entry| leaf_hash(&[*entry])).collect()
    }

    proptest! {
        #[test]
        fn an_entry_has_one_index_however_often_it_comes(batches in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12)) {
            let mut model: Vec<Digest> = Vec::new();
            let mut frontier = Frontier::new();
            for batch in &batches {
                let batch = hashes(batch);
                let known = model.clone();
                let find = |hash: &Digest| Ok(known.iter().position(|had| had == hash).map(|at| at as u64));
                let grown = grow(&frontier, &batch, find).unwrap();
                for hash in &batch {
                    if !model.contains(hash) {
                        model.push(*hash);
                    }
                }
                for (hash, index) in batch.iter().zip(&grown.indexes) {
                    prop_assert_eq!(model.get(usize::try_from(*index).unwrap()), Some(hash));
                }
                frontier = grown.frontier;
                prop_assert_eq!(frontier.size(), model.len() as u64);
            }
            let mut all = Frontier::new();
            for hash in model {
                all.append(hash).unwrap();
            }
            prop_assert_eq!(all, frontier);
        }
    }

    #[test]
    fn complete_nodes_at_the_levels_of_tiles_are_told() {
        let leaves: Vec<Digest> = (0..600_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let grown = grow(&Frontier::new(), &leaves, |_| Ok(None)).unwrap();
        let places: Vec<(u8, u64)> = grown
            .nodes
            .iter()
            .map(|node| (node.level, node.index))
            .collect();
        assert_eq!(places, [(1, 0), (1, 1)]);
        let of_first = leaves.iter().take(256).copied().collect::<Vec<_>>();
        assert_eq!(
            grown.nodes.first().map(|node| node.hash),
            Some(countersign_ledger::tlog::tile::root(&of_first))
        );
    }
}
