//! Every hash rebuilt: leaf hashes go in, the tiles that must lie in the store come out, and at the end the root.
//! Memory stays flat: one unfinished tile a level, and the newest roots.

use std::collections::VecDeque;

use countersign_ledger::digest::Digest;
use countersign_ledger::tlog::Frontier;
use countersign_ledger::tlog::frontier::FrontierError;
use countersign_ledger::tlog::tile::{self, Edge, EdgeError, TileId};

/// Earlier roots that are kept: an agent's receipt names a checkpoint that is hardly older than this many entries.
const ROOTS_MAX: usize = 16_384;

/// A tree that grows by the log's entries.
#[derive(Debug, Clone)]
pub struct Tree {
    edge: Edge,
    frontier: Frontier,
    roots: VecDeque<Digest>,
}

/// A tile as the entries make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Which one.
    pub tile: TileId,
    /// The bytes that it must have.
    pub bytes: Vec<u8>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self {
            edge: Edge::new(),
            frontier: Frontier::new(),
            roots: VecDeque::new(),
        }
    }

    /// The tree of `size` leaves with these unfinished tiles, leaves first.
    pub fn resumed(size: u64, rows: Vec<Vec<Digest>>) -> Result<Self, EdgeError> {
        let edge = Edge::from_levels(size, rows)?;
        let frontier = edge.frontier().map_err(|_| EdgeError::Full)?;
        let roots = VecDeque::from([frontier.root()]);
        Ok(Self {
            edge,
            frontier,
            roots,
        })
    }

    /// Appends a leaf; says which tiles are full now.
    pub fn append(&mut self, leaf: Digest) -> Result<Vec<Made>, FrontierError> {
        let mut made = Vec::new();
        self.frontier.append(leaf)?;
        self.edge
            .append(leaf, |tile, hashes| {
                made.push(Made {
                    tile,
                    bytes: tile::encode(hashes),
                });
            })
            .map_err(|_| FrontierError::Full)?;
        if self.roots.len() == ROOTS_MAX {
            self.roots.pop_front();
        }
        self.roots.push_back(self.frontier.root());
        Ok(made)
    }

    /// The partial tiles at the end of each level.
    pub fn partial(&self) -> Vec<Made> {
        let partial = self.edge.partial();
        partial
            .map(|(tile, hashes)| Made {
                tile,
                bytes: tile::encode(hashes),
            })
            .collect()
    }

    /// The unfinished tile of each level, leaves first: what [`Tree::resumed`] takes.
    pub fn rows(&self) -> Vec<Vec<Digest>> {
        let mut rows = Vec::new();
        for (tile, hashes) in self.edge.partial() {
            rows.resize(usize::from(tile.level), Vec::new());
            rows.push(hashes.to_vec());
        }
        rows
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root.
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// The root when there were `size` leaves; nothing if that is too long ago, or not yet.
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        if size == 0 {
            return Some(Frontier::new().root());
        }
        let back = usize::try_from(self.size().checked_sub(size)?).ok()?;
        let at = self.roots.len().checked_sub(back + 1)?;
        self.roots.get(at).copied()
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use countersign_ledger::digest::leaf_hash;
    use proptest::prelude::*;

    use super::*;

    fn grown(mut tree: Tree, from: u64, to: u64) -> Tree {
        for index in from..to {
            tree.append(leaf_hash(&index.to_be_bytes())).unwrap();
        }
        tree
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_resumed_tree_goes_on_as_if_it_had_never_stopped(at in 0_u64..1_200, more in 0_u64..300) {
            let whole = grown(Tree::new(), 0, at + more);
            let half = grown(Tree::new(), 0, at);
            let resumed = grown(Tree::resumed(at, half.rows()).unwrap(), at, at + more);
            prop_assert_eq!(resumed.root(), whole.root());
            prop_assert_eq!(resumed.rows(), whole.rows());
            prop_assert_eq!(whole.root_at(at), Some(half.root()));
            if more > 0 {
                prop_assert_eq!(resumed.root_at(at + more - 1), whole.root_at(at + more - 1));
            }
        }
    }
}
