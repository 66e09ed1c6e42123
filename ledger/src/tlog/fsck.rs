//! A whole log rebuilt from its entries: what is wrong, and where.
//!
//! The caller fetches, this checks: [`Fsck::wanted`] names the next file, [`Fsck::take`] takes its bytes (or that it
//! is missing), [`Fsck::finish`] says the verdict. Memory stays flat: one unfinished tile a level.
//!
//! A hash that differs between a tile and what lies below it says only that one of the two is wrong. The level above
//! decides, and at the right edge the checkpoint's root does: each [`Finding`] names the one that was changed.

use std::collections::VecDeque;

use crate::bundle::{self, BundleError};
use crate::digest::Digest;
use crate::tlog::tile::{BundleId, Edge, TILE_LEVEL_MAX, TileId};

mod check;

#[cfg(test)]
mod tests;

pub use check::Fsck;

/// A file of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// Entries.
    Bundle(BundleId),
    /// Hashes.
    Tile(TileId),
}

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The file is not there.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: File,
    },
    /// The file has another number of bytes than its name says.
    #[error("{file} has {got} bytes, {want} are right")]
    Length {
        /// The file.
        file: File,
        /// Bytes by its name.
        want: usize,
        /// Bytes it has.
        got: usize,
    },
    /// The bundle cannot be read.
    #[error("{file}: {error}")]
    Bundle {
        /// The file.
        file: File,
        /// Why.
        error: BundleError,
    },
    /// The bundle has another number of entries than its name says.
    #[error("{file} has {got} entries, {want} are right")]
    EntryCount {
        /// The file.
        file: File,
        /// Entries by its name.
        want: usize,
        /// Entries it has.
        got: usize,
    },
    /// An entry is not the one that the tree holds.
    #[error("entry {offset} of {file} hashes to {got}, the tree holds {want}")]
    Entry {
        /// The bundle.
        file: File,
        /// Place in it.
        offset: usize,
        /// What the tree holds.
        want: Digest,
        /// What it hashes to.
        got: Digest,
    },
    /// A hash in a tile is not that of what lies below it.
    #[error("hash {offset} of {file} is {got}, what lies below it hashes to {want}")]
    Hash {
        /// The tile.
        file: File,
        /// Place in it.
        offset: usize,
        /// Hash of what lies below.
        want: Digest,
        /// The hash in the tile.
        got: Digest,
    },
    /// A whole subtree, entries and tiles alike, is not the one that the tree above it holds.
    #[error("all below hash {offset} of {file} hashes to {got}, the tree above holds {want}")]
    Subtree {
        /// The tile with the right hash.
        file: File,
        /// Place in it.
        offset: usize,
        /// What the tree above holds.
        want: Digest,
        /// What lies below hashes to.
        got: Digest,
    },
    /// The rebuilt tree has another root than the checkpoint.
    #[error("the tree's root is {got}, the checkpoint's {want}")]
    Root {
        /// The checkpoint's.
        want: Digest,
        /// The tree's.
        got: Digest,
    },
}

impl std::fmt::Display for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundle(bundle) => bundle.fmt(f),
            Self::Tile(tile) => tile.fmt(f),
        }
    }
}

/// The files of a log of some size in the order in which they are checked: each bundle, its tile, and each higher tile
/// when all below it are done; at the end the partial tiles from the leaves up.
#[derive(Debug, Clone)]
pub struct Files {
    size: u64,
    next: u64,
    ready: VecDeque<File>,
}

/// The files of a log of `size` entries, in the order in which they are checked.
#[must_use]
pub fn files(size: u64) -> Files {
    Files {
        size,
        next: 0,
        ready: VecDeque::new(),
    }
}

impl Iterator for Files {
    type Item = File;

    fn next(&mut self) -> Option<File> {
        if self.ready.is_empty()
            && let Some(bundle) = BundleId::at(self.next, self.size)
        {
            self.ready.push_back(File::Bundle(bundle));
            let mut index = self.next;
            for level in 0..=TILE_LEVEL_MAX {
                let Some(tile) = TileId::at(level, index, self.size) else {
                    break;
                };
                self.ready.push_back(File::Tile(tile));
                if !tile.is_full() || index % 256 != 255 {
                    break;
                }
                index /= 256;
            }
            self.next += 1;
            if BundleId::at(self.next, self.size).is_none() {
                let above = Edge::tiles(self.size).into_iter().skip(1);
                self.ready.extend(above.flatten().map(File::Tile));
            }
        }
        self.ready.pop_front()
    }
}

impl File {
    /// The full file in the place of a partial one: what is left when a log has grown and dropped the partial one.
    #[must_use]
    pub fn full(&self) -> Self {
        match self {
            Self::Bundle(bundle) => Self::Bundle(bundle.full()),
            Self::Tile(tile) => Self::Tile(tile.full()),
        }
    }

    /// The beginning of the full file's bytes that this partial one has; nothing where they are too short.
    #[must_use]
    pub fn cut<'b>(&self, full: &'b [u8]) -> Option<&'b [u8]> {
        let length = match self {
            Self::Tile(tile) => tile.bytes(),
            Self::Bundle(bundle) => {
                let entries = bundle::decode(full).ok()?;
                let entries = entries.get(..usize::from(bundle.width))?;
                entries.iter().map(|entry| 2 + entry.len()).sum()
            }
        };
        full.get(..length)
    }
}
