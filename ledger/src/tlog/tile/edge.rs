//! The partial tiles at the right end of each level: what a log keeps in memory to write its next tiles.

use super::{TILE_HEIGHT, TILE_WIDTH, TileId, root};
use crate::digest::Digest;
use crate::tlog::Frontier;
use crate::tlog::frontier::FrontierError;

/// The hashes of the unfinished tile of each level, from the leaves up: 255 hashes a level at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Digest>>,
}

/// Why hashes are no edge of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The unfinished tile of a level has another number of hashes.
    #[error("level {level} of a tree of {size} entries ends in {want} hashes, got {got}")]
    Width {
        /// The level.
        level: u8,
        /// Leaves of the tree.
        size: u64,
        /// Hashes needed.
        want: usize,
        /// Hashes given.
        got: usize,
    },
    /// The tree cannot take another leaf.
    #[error("a tree has 2^64 - 1 entries at most")]
    Full,
}

impl Edge {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles that [`Edge::from_levels`] needs for a tree of `size` leaves: the partial one of each level, from
    /// the leaves up, nothing where the level ends with a full tile.
    #[must_use]
    pub fn tiles(size: u64) -> Vec<Option<TileId>> {
        (0..levels(size))
            .map(|level| {
                let hashes = super::hashes_at(level, size);
                TileId::at(level, hashes / 256, size)
            })
            .collect()
    }

    /// The edge of a tree of `size` leaves: the hashes of each of [`Edge::tiles`], none where there is none.
    pub fn from_levels(size: u64, rows: Vec<Vec<Digest>>) -> Result<Self, EdgeError> {
        for level in 0..u8::MAX {
            let want = usize::try_from(super::hashes_at(level, size) % 256).unwrap_or(0);
            let got = rows.get(usize::from(level)).map_or(0, Vec::len);
            if want != got {
                return Err(EdgeError::Width {
                    level,
                    size,
                    want,
                    got,
                });
            }
        }
        let mut levels = rows;
        levels.resize(usize::from(self::levels(size)), Vec::new());
        Ok(Self { size, levels })
    }

    /// Leaves of the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and tells each tile that became full, with its hashes.
    pub fn append(
        &mut self,
        leaf: Digest,
        mut full: impl FnMut(TileId, &[Digest]),
    ) -> Result<(), EdgeError> {
        let after = self.size.checked_add(1).ok_or(EdgeError::Full)?;
        let mut hash = leaf;
        for level in 0..u8::MAX {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(place) else {
                break;
            };
            row.push(hash);
            if row.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let tile = TileId {
                level,
                index: (super::hashes_at(level, after) - 1) / 256,
                width: TILE_WIDTH,
            };
            full(tile, row);
            hash = root(row);
            row.clear();
        }
        self.size = after;
        Ok(())
    }

    /// The partial tiles of the tree as it is, with their hashes: what is written beside the full ones when this size
    /// is published.
    pub fn partial(&self) -> impl Iterator<Item = (TileId, &[Digest])> {
        self.levels.iter().zip(0_u8..).filter_map(|(row, level)| {
            let index = super::hashes_at(level, self.size) / 256;
            let width = u16::try_from(row.len()).ok().filter(|width| *width > 0)?;
            Some((
                TileId {
                    level,
                    index,
                    width,
                },
                row.as_slice(),
            ))
        })
    }

    /// The same tree without its tiles.
    pub fn frontier(&self) -> Result<Frontier, FrontierError> {
        let mut nodes = Vec::new();
        for row in self.levels.iter().rev() {
            let mut rest = row.as_slice();
            while let Some(bits) = rest.len().checked_ilog2() {
                let (complete, after) = rest.split_at(1 << bits);
                nodes.push(root(complete));
                rest = after;
            }
        }
        Frontier::from_nodes(self.size, nodes)
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        // From the leaves up: what a level ends in stands to the right of all above it.
        let mut hash: Option<Digest> = None;
        for row in &self.levels {
            let mut row = row.clone();
            row.extend(hash);
            if !row.is_empty() {
                hash = Some(root(&row));
            }
        }
        hash.unwrap_or(super::EMPTY_ROOT)
    }
}

/// Levels of tiles in a tree of `size` leaves.
fn levels(size: u64) -> u8 {
    (0..u8::MAX)
        .find(|level| super::hashes_at(*level, size) == 0)
        .unwrap_or(u8::MAX)
        .min(64 / TILE_HEIGHT)
}
