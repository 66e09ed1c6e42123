//! Partial tiles and bundles whose full one is there: nobody needs them any more, and at an entry a round they would take a
//! hundred times the room of the log itself.
//!
//! C2SP `tlog-tiles` lets a log remove them; a reader that is sent to one finds the full one in its place. Those of the
//! newest full tile stay until the next is full, for readers who are on their way with an older checkpoint.

use countersign_ledger::tlog::tile::{BundleId, TILE_HEIGHT, TILE_LEVEL_MAX, TileId};
use futures::{StreamExt as _, TryStreamExt as _};

use super::limits::TILE_WRITES_MAX;
use crate::store::{Store, StoreFault};

/// The folders of partial files that wait for the next full tile of their level.
#[derive(Debug, Default)]
pub(super) struct Partials {
    /// Each with its level; bundles are of none.
    waiting: Vec<(Option<u8>, String)>,
}

impl Partials {
    /// Takes in that the log grew from `old` to `new` entries with tiles, and removes what is needed no more.
    ///
    /// # Errors
    /// The store's. What was not removed then stays; so does, at most, one folder a level when the process ends. Neither
    /// harms a reader.
    pub(super) async fn grown(
        &mut self,
        store: &Store,
        old: u64,
        new: u64,
    ) -> Result<(), StoreFault> {
        let done = completed(old, new);
        let due: Vec<String> = {
            let next = |level: &Option<u8>| done.iter().any(|(of, _)| of == level);
            let (due, rest) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|(level, _)| next(level));
            self.waiting = rest;
            due.into_iter().map(|(_, folder)| folder).collect()
        };
        self.waiting.extend(done);
        for folder in due {
            remove(store, &folder).await?;
        }
        Ok(())
    }
}

/// Folders of the partial files of tiles that were begun at `old` entries and are full at `new`. A tile that was not begun
/// then was never written in part.
fn completed(old: u64, new: u64) -> Vec<(Option<u8>, String)> {
    let mut folders = Vec::new();
    for level in 0..=TILE_LEVEL_MAX {
        let hashes = |size: u64| size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT));
        let (Some(had), Some(has)) = (hashes(old), hashes(new)) else {
            break;
        };
        let index = had >> TILE_HEIGHT;
        if had % 256 == 0 || has >> TILE_HEIGHT <= index {
            continue;
        }
        let width = 1;
        let tile = TileId {
            level,
            index,
            width,
        };
        folders.push((Some(level), folder(&tile.path())));
        if level == 0 {
            folders.push((None, folder(&BundleId { index, width }.path())));
        }
    }
    folders
}

fn folder(path: &str) -> String {
    path.rsplit_once('/')
        .map_or_else(String::new, |(folder, _)| folder.to_owned())
}

async fn remove(store: &Store, folder: &str) -> Result<(), StoreFault> {
    let names = store.list(folder, "").await?;
    futures::stream::iter(names)
        .map(|name| async move { store.remove_partial(&format!("{folder}/{name}")).await })
        .buffer_unordered(TILE_WRITES_MAX)
        .try_for_each(|()| async { Ok(()) })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(old: u64, new: u64) -> Vec<String> {
        completed(old, new)
            .into_iter()
            .map(|(_, path)| path)
            .collect()
    }

    #[test]
    fn what_was_written_in_part_and_is_full_now_is_named() {
        assert_eq!(paths(255, 256), ["tile/0/000.p", "tile/entries/000.p"]);
        assert_eq!(paths(1, 4_000), ["tile/0/000.p", "tile/entries/000.p"]);
        assert_eq!(
            paths(65_535, 65_537),
            ["tile/0/255.p", "tile/entries/255.p", "tile/1/000.p"]
        );
        for (old, new) in [(0, 256), (256, 512), (3, 255), (7, 7), (256, 300)] {
            assert!(paths(old, new).is_empty(), "{old} {new}");
        }
    }
}
