//! Proofs out of the index: the nodes that a proof needs, from tiles of hashes that are kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_ledger::Digest;
use countersign_ledger::tlog::merkle::{self, NodeId, node_hash};
use countersign_ledger::tlog::tile::{TILE_HEIGHT, TileId};

use super::error::ReadError;
use super::limits::CACHED_TILES_MAX;
use crate::store::Index;

/// A tile's hashes, and all complete nodes above them inside it: row 0 are the hashes.
type Rows = Arc<Vec<Vec<Digest>>>;

/// Makes proofs.
pub(super) struct Prover {
    index: Arc<Index>,
    cache: Mutex<Cache>,
}

/// The tiles asked for last: when the young are as many as may be kept by half, the old are dropped.
#[derive(Default)]
struct Cache {
    young: HashMap<TileId, Rows>,
    old: HashMap<TileId, Rows>,
}

impl Cache {
    fn get(&mut self, tile: &TileId) -> Option<Rows> {
        if let Some(rows) = self.young.get(tile) {
            return Some(Arc::clone(rows));
        }
        let rows = self.old.remove(tile)?;
        self.put(*tile, Arc::clone(&rows));
        Some(rows)
    }

    fn put(&mut self, tile: TileId, rows: Rows) {
        if self.young.len() >= CACHED_TILES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tile, rows);
    }
}

impl Prover {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self {
            index,
            cache: Mutex::default(),
        }
    }

    /// Proof that leaf `index` is in the tree of `size`.
    pub(super) fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, ReadError> {
        merkle::inclusion_proof(index, size, |node| self.node(node, size))
    }

    /// Proof that the tree of `old` is a prefix of that of `new`.
    pub(super) fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, ReadError> {
        merkle::consistency_proof(old, new, |node| self.node(node, new))
    }

    pub(super) fn node(&self, node: NodeId, size: u64) -> Result<Digest, ReadError> {
        let gap = ReadError::Gap {
            level: node.level / TILE_HEIGHT,
            index: node.index,
        };
        let Some((tile, offset)) = TileId::of(node, size) else {
            return Err(gap);
        };
        let rows = self.rows(tile)?;
        let height = usize::from(node.level % TILE_HEIGHT);
        rows.get(height)
            .and_then(|row| row.get(offset >> height))
            .copied()
            .ok_or(gap)
    }

    fn rows(&self, tile: TileId) -> Result<Rows, ReadError> {
        let cached = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&tile);
        if let Some(rows) = cached {
            return Ok(rows);
        }
        let rows = Arc::new(complete(hashes(&self.index, &tile)?));
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(tile, Arc::clone(&rows));
        Ok(rows)
    }
}

/// A tile's hashes, from the index.
pub(super) fn hashes(index: &Index, tile: &TileId) -> Result<Vec<Digest>, ReadError> {
    let (first, width) = (tile.index << TILE_HEIGHT, usize::from(tile.width));
    let hashes = index.hashes(tile.level, first, width)?;
    if hashes.len() == width {
        Ok(hashes)
    } else {
        Err(ReadError::Gap {
            level: tile.level,
            index: first + hashes.len() as u64,
        })
    }
}

/// All complete nodes over a row of hashes.
fn complete(hashes: Vec<Digest>) -> Vec<Vec<Digest>> {
    let mut rows = vec![hashes];
    for _ in 1..TILE_HEIGHT {
        let above = rows.last().map(|row| {
            let (pairs, _) = row.as_chunks::<2>();
            pairs
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect()
        });
        rows.push(above.unwrap_or_default());
    }
    rows
}
