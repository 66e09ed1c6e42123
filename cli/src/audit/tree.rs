//! Every hash rebuilt: leaf hashes go in, the tiles that must lie in the store come out, and at the end the root.
//! Memory stays flat: one unfinished tile a level, and the newest leaves.

use std::cell::Cell;
use std::collections::VecDeque;

use countersign_ledger::digest::Digest;
use countersign_ledger::tlog::Frontier;
use countersign_ledger::tlog::frontier::FrontierError;
use countersign_ledger::tlog::tile::{self, Edge, EdgeError, TileId};

/// Earlier roots that can be told: an agent's receipt names a checkpoint that is hardly older than this many entries.
const ROOTS_MAX: usize = 16_384;
/// Entries from one mark to the next: a root is told from the mark before it.
const MARK_EVERY: u64 = 16;

/// A tree that grows by the log's entries.
#[derive(Debug, Clone)]
pub struct Tree {
    edge: Edge,
    frontier: Frontier,
    /// The tree at some earlier sizes, the first of them where `leaves` begin.
    marks: VecDeque<Frontier>,
    leaves: VecDeque<Digest>,
    /// The root that was told last: many receipts name one checkpoint.
    told: Cell<(u64, Digest)>,
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
        Self::of(Edge::new(), Frontier::new())
    }

    fn of(edge: Edge, frontier: Frontier) -> Self {
        Self {
            edge,
            told: Cell::new((frontier.size(), frontier.root())),
            marks: VecDeque::from([frontier.clone()]),
            leaves: VecDeque::new(),
            frontier,
        }
    }

    /// The tree of `size` leaves with these unfinished tiles, leaves first.
    pub fn resumed(size: u64, rows: Vec<Vec<Digest>>) -> Result<Self, EdgeError> {
        let edge = Edge::from_levels(size, rows)?;
        let frontier = edge.frontier().map_err(|_| EdgeError::Full)?;
        Ok(Self::of(edge, frontier))
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
        self.leaves.push_back(leaf);
        if self.size().is_multiple_of(MARK_EVERY) {
            self.marks.push_back(self.frontier.clone());
            self.forget();
        }
        Ok(made)
    }

    /// Forgets what lies too far back.
    fn forget(&mut self) {
        while self.leaves.len() > ROOTS_MAX {
            let size = |at| self.marks.get(at).map(Frontier::size);
            let (Some(first), Some(next)) = (size(0), size(1)) else {
                break;
            };
            let passed = usize::try_from(next - first).unwrap_or(usize::MAX);
            self.leaves.drain(..passed.min(self.leaves.len()));
            self.marks.pop_front();
        }
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
        let (told, root) = self.told.get();
        if told == size {
            return Some(root);
        }
        if size == 0 {
            return Some(Frontier::new().root());
        }
        if size > self.size() {
            return None;
        }
        let first = self.marks.front()?.size();
        let before = self.marks.partition_point(|mark| mark.size() <= size);
        let mut tree = self.marks.get(before.checked_sub(1)?)?.clone();
        let from = usize::try_from(tree.size() - first).ok()?;
        let more = usize::try_from(size - tree.size()).ok()?;
        for leaf in self.leaves.range(from..from + more) {
            tree.append(*leaf).ok()?;
        }
        let root = tree.root();
        self.told.set((size, root));
        Some(root)
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

    #[test]
    fn what_lies_too_far_back_is_forgotten_and_no_more_than_that() {
        let size = ROOTS_MAX as u64 + 1_000;
        let tree = grown(Tree::new(), 0, size);
        assert!(tree.leaves.len() < ROOTS_MAX + 16 && tree.marks.len() <= ROOTS_MAX / 16 + 2);
        assert_eq!(tree.root_at(size - ROOTS_MAX as u64 - 32), None);
        let back = size - ROOTS_MAX as u64 + 16;
        assert_eq!(tree.root_at(back), Some(grown(Tree::new(), 0, back).root()));
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
            for size in (0..=at + more).rev().step_by(37) {
                let root = grown(Tree::new(), 0, size).root();
                prop_assert_eq!(whole.root_at(size), Some(root));
                let known = size >= at || size == 0;
                prop_assert_eq!(resumed.root_at(size), known.then_some(root));
            }
            prop_assert_eq!(whole.root_at(at + more + 1), None);
        }
    }
}
