//! Tiles and entry bundles: written after the claim, read back, and only then good for a published checkpoint.
//!
//! One pass goes from the last size with tiles to the newest claimed one, however many claims lie between. All files
//! are a function of the claims, so a pass that was cut off is done again with the same bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::tlog::merkle;
use countersign_ledger::tlog::tile::{self, BundleId, TILE_HEIGHT, TileId, bundles_for, tiles_for};
use countersign_ledger::{Digest, bundle};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::ReadError;
use super::limits::TILE_WRITES_MAX;
use super::metrics::LogMetrics;
use super::partials::Partials;
use super::proofs;
use super::signed::Signed;
use crate::store::{BlobError, Created, Index, Store, StoreFault, staging_path};

/// Why tiles were not written, or are not what they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum TilesError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Index or staging objects can not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Other bytes lie where a file of the log belongs: somebody changed the store, or another log writes there.
    #[error("{path}: holds something else")]
    Taken {
        /// Where.
        path: String,
    },
    /// A file is not what was written, or the files make another tree than the claimed one.
    #[error("{path}: read back, it is not what was written")]
    ReadBack {
        /// Where.
        path: String,
    },
    /// The stored tiles have another root than the checkpoint.
    #[error("the stored tiles have root {got}, the checkpoint {want}")]
    Root {
        /// The checkpoint's.
        want: Digest,
        /// The tiles'.
        got: Digest,
    },
}

impl TilesError {
    /// Whether trying again can help.
    const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Read(ReadError::Store(BlobError::Fault(_)))
        )
    }
}

/// Writes tiles.
pub(super) struct Tiler {
    pub(super) store: Store,
    pub(super) index: Arc<Index>,
    pub(super) claimed: watch::Receiver<Option<Arc<Signed>>>,
    /// The newest checkpoint whose tiles all lie in the store.
    pub(super) tiled: watch::Sender<Option<Arc<Signed>>>,
    /// Its size, for the sequencer.
    pub(super) size: watch::Sender<u64>,
    pub(super) metrics: LogMetrics,
    pub(super) alarm: super::Alarm,
    pub(super) timing: super::Timing,
}

impl Tiler {
    /// Follows the claims until stopped, or until the store holds something else than the log: then nothing more is
    /// published, and a person must look.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut partials = Partials::default();
        loop {
            let newest = self.claimed.borrow_and_update().clone();
            let old = *self.size.borrow();
            let began = Instant::now();
            let pause = match newest {
                Some(newest) if newest.size > old => match self.pass(old, newest).await {
                    Ok(()) => {
                        let pause = pause(began.elapsed(), self.timing.tiles_every);
                        let new = *self.size.borrow();
                        if let Err(error) = partials.grown(&self.store, old, new).await {
                            tracing::warn!(%error, "partial tiles that nobody needs stay");
                        }
                        pause
                    }
                    Err(error) if error.is_fault() => {
                        tracing::warn!(%error, "tiles were not written");
                        self.metrics.tiles_failed.inc();
                        self.timing.retry_after
                    }
                    Err(error) => {
                        self.metrics.tiles_failed.inc();
                        (self.alarm)("LOG_TILES_WRONG", error.to_string());
                        return;
                    }
                },
                // An equal size again: a checkpoint that is signed anew.
                Some(_) | None => {
                    tokio::select! { biased;
                        () = stop.cancelled() => return,
                        changed = self.claimed.changed() => {
                            if changed.is_err() {
                                return;
                            }
                        }
                    }
                    continue;
                }
            };
            // Sleeping may be dropped.
            tokio::select! { biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Writes the tiles of what came in since `old`.
    async fn pass(&self, old: u64, newest: Arc<Signed>) -> Result<(), TilesError> {
        write(&self.store, &self.index, old, newest.size).await?;
        let root = verify(&self.store, old, newest.size).await?;
        if root != newest.root {
            return Err(TilesError::Root {
                want: newest.root,
                got: root,
            });
        }
        self.metrics
            .tiled
            .set(i64::try_from(newest.size).unwrap_or(i64::MAX));
        self.size.send_replace(newest.size);
        self.tiled.send_replace(Some(newest));
        Ok(())
    }
}

/// How long tiles rest after a round that took `took`: they take a fifth of the time at most, and where a round is quick, as on
/// a local disk, the next entry hardly waits.
fn pause(took: Duration, most: Duration) -> Duration {
    took.saturating_mul(4).min(most)
}

/// Writes all bundles and tiles that the log has at `new` and did not have at `old`.
pub(super) async fn write(
    store: &Store,
    index: &Index,
    old: u64,
    new: u64,
) -> Result<(), TilesError> {
    let bundles = futures::stream::iter(bundles_for(old, new));
    bundles
        .map(|bundle| async move {
            let bytes = bundle_bytes(store, index, bundle).await?;
            put(store, bundle.path(), bytes).await
        })
        .buffer_unordered(TILE_WRITES_MAX)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    let tiles = futures::stream::iter(tiles_for(old, new));
    tiles
        .map(|id| async move {
            let hashes = proofs::hashes(index, &id)?;
            put(store, id.path(), tile::encode(&hashes).into()).await
        })
        .buffer_unordered(TILE_WRITES_MAX)
        .try_for_each(|()| async { Ok(()) })
        .await
}

async fn put(store: &Store, path: String, bytes: Bytes) -> Result<(), TilesError> {
    match store.create(&path, bytes).await? {
        Created::Ours => Ok(()),
        Created::Theirs(_) => Err(TilesError::Taken { path }),
    }
}

async fn bundle_bytes(store: &Store, index: &Index, id: BundleId) -> Result<Bytes, TilesError> {
    let entries = entries(store, index, id.index << TILE_HEIGHT, usize::from(id.width)).await?;
    let bytes = bundle::encode(entries.iter().map(Bytes::as_ref));
    let bytes = bytes.map_err(|_| TilesError::ReadBack { path: id.path() })?;
    Ok(bytes.into())
}

/// `count` entries from `first` on, out of the staging objects of their claims; each has the leaf hash of its place.
pub(super) async fn entries(
    store: &Store,
    index: &Index,
    first: u64,
    count: usize,
) -> Result<Vec<Bytes>, ReadError> {
    let places = index.places(first, count)?;
    let hashes = index.hashes(0, first, count)?;
    if places.len() != count || hashes.len() != count {
        return Err(ReadError::Gap {
            level: 0,
            index: first + places.len() as u64,
        });
    }
    let mut staged: HashMap<Digest, (Bytes, Vec<std::ops::Range<usize>>)> = HashMap::new();
    let mut entries = Vec::with_capacity(count);
    for (place, hash) in places.iter().zip(&hashes) {
        let staging = place.staging;
        if !staged.contains_key(&staging) {
            let bytes = store.named(staging_path(&staging), &staging).await?;
            let bytes = bytes.ok_or_else(|| wrong(staging, "is missing".into()))?;
            let ranges = ranges(&bytes).map_err(|error| wrong(staging, error))?;
            // Entries come in claim order: the ones before are done with.
            staged.clear();
            staged.insert(staging, (bytes, ranges));
        }
        let entry = staged.get(&staging).and_then(|(bytes, ranges)| {
            let range = ranges.get(usize::try_from(place.at).ok()?)?;
            Some(bytes.slice(range.clone()))
        });
        let entry = entry.ok_or_else(|| wrong(staging, format!("has no entry {}", place.at)))?;
        if leaf_hash(&entry) != *hash {
            return Err(wrong(staging, format!("entry {} is another one", place.at)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn wrong(staging: Digest, problem: String) -> ReadError {
    ReadError::Staging { staging, problem }
}

fn ranges(bytes: &Bytes) -> Result<Vec<std::ops::Range<usize>>, String> {
    let mut at = 0;
    let entries = bundle::decode(bytes).map_err(|error| error.to_string())?;
    let ranges = entries.into_iter().map(|entry| {
        let from = at + 2;
        at = from + entry.len();
        from..at
    });
    Ok(ranges.collect())
}

/// Reads back what a pass wrote: entries hash to their tile, tiles to the one above. The root of the tree of `new`, out
/// of the stored tiles alone.
pub(super) async fn verify(store: &Store, old: u64, new: u64) -> Result<Digest, TilesError> {
    let bundles = futures::stream::iter(bundles_for(old, new));
    bundles
        .map(|id| check_bundle(store, id))
        .buffer_unordered(TILE_WRITES_MAX)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    let above = tiles_for(old, new).into_iter().filter(|id| id.level > 0);
    futures::stream::iter(above)
        .map(|id| check_tile(store, id, old))
        .buffer_unordered(TILE_WRITES_MAX)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    root(store, new).await
}

async fn check_bundle(store: &Store, id: BundleId) -> Result<(), TilesError> {
    let wrong = || TilesError::ReadBack { path: id.path() };
    let bytes = store.get(&id.path()).await?.ok_or_else(wrong)?;
    let got: Vec<Digest> = bundle::decode(&bytes)
        .map_err(|_| wrong())?
        .into_iter()
        .map(leaf_hash)
        .collect();
    let leaves = TileId {
        level: 0,
        index: id.index,
        width: id.width,
    };
    if read(store, &leaves).await? == got {
        Ok(())
    } else {
        Err(wrong())
    }
}

/// The hashes of a tile are the roots of the tiles below it; those that a pass before has checked are left out.
async fn check_tile(store: &Store, id: TileId, old: u64) -> Result<(), TilesError> {
    let hashes = read(store, &id).await?;
    let bits = u32::from(id.level) * u32::from(TILE_HEIGHT);
    let had = old.checked_shr(bits).unwrap_or(0);
    let first = id.index << TILE_HEIGHT;
    for (index, hash) in (first..).zip(&hashes).filter(|(index, _)| *index >= had) {
        let below = TileId {
            level: id.level - 1,
            index,
            width: tile::TILE_WIDTH,
        };
        if tile::root(&read(store, &below).await?) != *hash {
            return Err(TilesError::ReadBack { path: id.path() });
        }
    }
    Ok(())
}

async fn read(store: &Store, id: &TileId) -> Result<Vec<Digest>, TilesError> {
    let wrong = || TilesError::ReadBack { path: id.path() };
    let bytes = store.get(&id.path()).await?.ok_or_else(wrong)?;
    tile::hashes(id, &bytes).map_err(|_| wrong())
}

/// The root of the tree of `size`, from stored tiles.
pub(super) async fn root(store: &Store, size: u64) -> Result<Digest, TilesError> {
    // Nodes come from the largest to the smallest, those of one tile together.
    let mut last: Option<(TileId, Bytes)> = None;
    let mut hashes = Vec::new();
    for node in merkle::root_nodes(size) {
        let lost = || TilesError::ReadBack {
            path: format!("node {} of level {}", node.index, node.level),
        };
        let (id, _) = TileId::of(node, size).ok_or_else(lost)?;
        let bytes = match last.take() {
            Some((had, bytes)) if had == id => bytes,
            _ => {
                let wrong = || TilesError::ReadBack { path: id.path() };
                store.get(&id.path()).await?.ok_or_else(wrong)?
            }
        };
        hashes.push(tile::node(node, &id, &bytes).map_err(|_| lost())?);
        last = Some((id, bytes));
    }
    merkle::fold_root(size, &hashes).map_err(|error| ReadError::from(error).into())
}
