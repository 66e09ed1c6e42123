//! Tiles and entry bundles (`tlog-tiles`): 256 hashes, and 256 entries, a file; where each lies and what it holds.

use crate::digest::Digest;
use crate::tlog::merkle::{EMPTY_ROOT, NodeId, plan};

mod edge;
mod path;

#[cfg(test)]
mod tests;

pub use edge::{Edge, EdgeError};
pub use path::TilePathError;

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels of nodes that one tile holds.
pub const TILE_HEIGHT: u8 = 8;
/// Bytes of a full tile.
pub const TILE_BYTES_MAX: usize = TILE_WIDTH as usize * 32;
/// The highest level that a path can name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// A tile: `width` hashes, each the root of `256^level` leaves, from hash `256·index` of that level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Height above the leaves, in tiles.
    pub level: u8,
    /// Place among the tiles of its level.
    pub index: u64,
    /// Hashes in it: 256 in a full tile, 1 to 255 in a partial one.
    pub width: u16,
}

/// A bundle: `width` entries from entry `256·index` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// Place among the bundles.
    pub index: u64,
    /// Entries in it: 256 in a full bundle, 1 to 255 in a partial one.
    pub width: u16,
}

impl TileId {
    /// The tile of a tree of `size` leaves that holds `node`, and where in it the node begins; nothing where the tree
    /// has no such complete subtree.
    #[must_use]
    pub fn of(node: NodeId, size: u64) -> Option<(Self, usize)> {
        let hashes = size.checked_shr(u32::from(node.level)).unwrap_or(0);
        if node.index >= hashes {
            return None;
        }
        let level = node.level / TILE_HEIGHT;
        let first = node.index << (node.level % TILE_HEIGHT);
        let tile = Self::at(level, first / 256, size)?;
        Some((tile, usize::try_from(first % 256).ok()?))
    }

    /// Tile `index` of `level` in a tree of `size` leaves, as wide as that tree makes it; nothing where it is empty.
    #[must_use]
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let width = width(hashes_at(level, size), index)?;
        Some(Self {
            level,
            index,
            width,
        })
    }

    /// Whether all 256 hashes are there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile in the place of this one.
    #[must_use]
    pub fn full(&self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..*self
        }
    }

    /// Bytes of the tile.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * 32
    }
}

impl BundleId {
    /// Bundle `index` in a log of `size` entries, as wide as that log makes it; nothing where it is empty.
    #[must_use]
    pub fn at(index: u64, size: u64) -> Option<Self> {
        let width = width(size, index)?;
        Some(Self { index, width })
    }

    /// The bundle of a log of `size` entries that holds entry `index`, and where in it; nothing past the end.
    #[must_use]
    pub fn of(index: u64, size: u64) -> Option<(Self, usize)> {
        if index >= size {
            return None;
        }
        Some((
            Self::at(index / 256, size)?,
            usize::try_from(index % 256).ok()?,
        ))
    }

    /// Whether all 256 entries are there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full bundle in the place of this one.
    #[must_use]
    pub fn full(&self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..*self
        }
    }
}

/// Hashes of `level` in a tree of `size` leaves.
fn hashes_at(level: u8, size: u64) -> u64 {
    let bits = u32::from(level) * u32::from(TILE_HEIGHT);
    size.checked_shr(bits).unwrap_or(0)
}

fn width(hashes: u64, index: u64) -> Option<u16> {
    let left = hashes.checked_sub(index.checked_mul(256)?)?;
    let width = u16::try_from(left.min(256)).ok()?;
    (width > 0).then_some(width)
}

/// The tiles that a log writes when its published size goes from `old` to `new`: each full one that is new, and the
/// partial one at the end of each level; by level, then by index. A tile that the old size already had as it is, is
/// not among them.
#[must_use]
pub fn tiles_for(old: u64, new: u64) -> Vec<TileId> {
    let mut tiles = Vec::new();
    for level in 0..=u8::MAX {
        let (had, has) = (hashes_at(level, old), hashes_at(level, new));
        if has == 0 {
            break;
        }
        if has > had {
            tiles.extend(
                (had / 256..=(has - 1) / 256).filter_map(|index| TileId::at(level, index, new)),
            );
        }
    }
    tiles
}

/// The entry bundles that a log writes when its published size goes from `old` to `new`.
#[must_use]
pub fn bundles_for(old: u64, new: u64) -> Vec<BundleId> {
    if new <= old {
        return Vec::new();
    }
    (old / 256..=(new - 1) / 256)
        .filter_map(|index| BundleId::at(index, new))
        .collect()
}

/// Why bytes are not what a tile's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not `width` hashes.
    #[error("has {got} bytes, {want} are right")]
    Length {
        /// Bytes of the tile by its name.
        want: usize,
        /// Bytes it has.
        got: usize,
    },
    /// The tile does not hold the whole subtree.
    #[error("does not hold node {index} of level {level}")]
    NodeOutside {
        /// The node's level.
        level: u8,
        /// The node's place in its level.
        index: u64,
    },
}

/// Reads a tile's hashes.
pub fn hashes(tile: &TileId, bytes: &[u8]) -> Result<Vec<Digest>, TileError> {
    let (hashes, odd) = bytes.as_chunks::<32>();
    if !odd.is_empty() || hashes.len() != usize::from(tile.width) {
        return Err(TileError::Length {
            want: tile.bytes(),
            got: bytes.len(),
        });
    }
    Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
}

/// Writes hashes as a tile's bytes.
#[must_use]
pub fn encode(hashes: &[Digest]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * 32);
    for hash in hashes {
        bytes.extend_from_slice(hash.as_bytes());
    }
    bytes
}

/// The hash of `node` from the bytes of the tile that holds it.
pub fn node(node: NodeId, tile: &TileId, bytes: &[u8]) -> Result<Digest, TileError> {
    let outside = TileError::NodeOutside {
        level: node.level,
        index: node.index,
    };
    let height = node.level % TILE_HEIGHT;
    let first = node.index << height;
    if node.level / TILE_HEIGHT != tile.level
        || first / 256 != tile.index
        || first >> height != node.index
    {
        return Err(outside);
    }
    let hashes = hashes(tile, bytes)?;
    let offset = usize::try_from(first % 256).map_err(|_| outside)?;
    let row = hashes.get(offset..offset + (1 << height)).ok_or(outside)?;
    Ok(complete(row))
}

/// The root of a complete subtree of hashes, a power of two of them.
fn complete(row: &[Digest]) -> Digest {
    root(row)
}

/// The root over any number of hashes.
#[must_use]
pub fn root(row: &[Digest]) -> Digest {
    let mut frontier: Vec<Digest> = Vec::new();
    for (index, hash) in row.iter().enumerate() {
        let mut hash = *hash;
        let mut index = index;
        while index & 1 == 1
            && let Some(left) = frontier.pop()
        {
            hash = super::merkle::node_hash(&left, &hash);
            index >>= 1;
        }
        frontier.push(hash);
    }
    plan::fold(&frontier).unwrap_or(EMPTY_ROOT)
}
