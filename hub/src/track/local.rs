//! Wakes the tracker when a ref of a local repository is written.
//!
//! Folders are watched, not files: Git replaces files by renaming. Every event that may concern a ref wakes at once and
//! wakes fold into one look, so a push is seen in a few milliseconds and a burst costs few looks. An overflowing queue
//! (`Rescan`) wakes too. Where watching does not work (network file systems), polling remains.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::track::trouble::Trouble;

/// Watches until it is dropped.
pub struct Watcher(#[allow(dead_code, reason = "dropping it ends the watch")] RecommendedWatcher);

/// Calls `wake` whenever a ref may have moved. It runs on the watcher's own thread and must not block.
///
/// # Errors
/// [`Trouble::Unreachable`]
pub fn watch(repository: &Path, wake: impl Fn() + Send + 'static) -> Result<Watcher, Trouble> {
    let unreachable = |reason: String| Trouble::Unreachable {
        host: repository.display().to_string(),
        reason,
    };
    let folder = git2::Repository::open(repository)
        .map_err(|error| unreachable(error.message().to_owned()))?
        .commondir()
        .to_owned();
    let refs = folder.join("refs");
    let concerns = concern(folder.clone());
    let handler = move |event: Result<Event, notify::Error>| {
        if event.map_or(true, |event| concerns(&event)) {
            wake();
        }
    };
    let mut watcher =
        notify::recommended_watcher(handler).map_err(|error| unreachable(error.to_string()))?;
    watcher
        .watch(&folder, RecursiveMode::NonRecursive)
        .map_err(|error| unreachable(error.to_string()))?;
    watcher
        .watch(&refs, RecursiveMode::Recursive)
        .map_err(|error| unreachable(error.to_string()))?;
    Ok(Watcher(watcher))
}

/// Whether an event may mean that a ref moved: written under `refs/` or to `packed-refs`, locks aside.
fn concern(folder: PathBuf) -> impl Fn(&Event) -> bool + Send {
    let (refs, packed) = (folder.join("refs"), folder.join("packed-refs"));
    move |event| {
        if event.need_rescan() {
            return true;
        }
        let written = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => true,
        };
        let lock = |path: &Path| {
            path.extension()
                .is_some_and(|extension| extension == "lock")
        };
        written
            && event
                .paths
                .iter()
                .any(|path| (path.starts_with(&refs) || *path == packed) && !lock(path))
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn only_written_refs_and_overflows_wake() {
        let concerns = concern(PathBuf::from("/r/.git"));
        let at = |kind, path: &str| concerns(&Event::new(kind).add_path(path.into()));
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(at(rename, "/r/.git/refs/heads/main"));
        assert!(at(rename, "/r/.git/packed-refs"));
        assert!(!at(
            EventKind::Create(CreateKind::File),
            "/r/.git/refs/heads/main.lock"
        ));
        assert!(!at(
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            "/r/.git/refs/heads/main"
        ));
        assert!(!at(rename, "/r/.git/index"));
        assert!(concerns(
            &Event::new(EventKind::Other).set_flag(Flag::Rescan)
        ));
    }
}
