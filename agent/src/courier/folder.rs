//! The watched folder: what is copied or moved into it is read once it is whole.
//!
//! A file that is still being copied has no end yet and is told of as unusable; it is read again with its next change.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::desk::Desk;
use super::parcel::Parcel;

/// Files with this ending are parcels; a person copies under another name and renames.
const ENDING: &str = "parcel";
/// Files that are looked at: more than a person leaves lying there.
const FILES_MAX: usize = 256;

/// Watches until it is dropped.
pub(super) struct Watcher(
    #[allow(dead_code, reason = "dropping it ends the watch")] RecommendedWatcher,
);

/// Length and time of a file, by which a changed one is known.
type Seen = HashMap<PathBuf, (u64, Option<SystemTime>)>;

/// Reads what lies in `folder` now, and what comes.
pub(super) fn watch(folder: &Path, desk: Arc<Desk>) -> io::Result<Watcher> {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let look = {
        let folder = folder.to_owned();
        move || {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = look(&folder, &mut seen, &desk) {
                tracing::error!(folder = %folder.display(), %error, "parcels can't be looked for");
            }
        }
    };
    let on_event = look.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // What is only opened or read, by this agent above all, is no change.
        if event.is_ok_and(|event| event.kind.is_access() && !is_written(&event.kind)) {
            return;
        }
        on_event();
    })
    .map_err(io::Error::other)?;
    watcher
        .watch(folder, RecursiveMode::NonRecursive)
        .map_err(io::Error::other)?;
    look();
    Ok(Watcher(watcher))
}

fn is_written(kind: &notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    matches!(
        kind,
        notify::EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

fn look(folder: &Path, seen: &mut Seen, desk: &Desk) -> io::Result<()> {
    let paths = parcels(folder)?;
    for path in &paths {
        let Ok(about) = std::fs::metadata(path) else {
            continue;
        };
        let now = (about.len(), about.modified().ok());
        if seen.get(path) != Some(&now) {
            seen.insert(path.clone(), now);
            desk.put(path.clone(), Parcel::read(path));
        }
    }
    seen.retain(|path, _| paths.contains(path));
    desk.take_away(&paths);
    Ok(())
}

/// The parcels in a folder, by name.
pub(super) fn parcels(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
        .collect();
    paths.sort();
    paths.truncate(FILES_MAX);
    Ok(paths)
}
