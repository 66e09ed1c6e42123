//! Keeps a folder of what can be fetched again below a size: what was not used for longest goes first. Blocking.
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// File whose time says when the folder around it was last used.
pub const USED: &str = "used";

/// One thing that is kept: a file, or a folder with all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// What has to go, so that the rest has at most three quarters of `bytes_max`; nothing while all of it has no more than
/// that. Pure.
fn surplus(mut entries: Vec<Entry>, bytes_max: u64, keep: Option<&Path>) -> Vec<PathBuf> {
    let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if bytes <= bytes_max {
        return Vec::new();
    }
    entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    let mut gone = Vec::new();
    for entry in entries {
        if bytes <= bytes_max / 4 * 3 {
            break;
        }
        if keep == Some(entry.path.as_path()) {
            continue;
        }
        bytes = bytes.saturating_sub(entry.bytes);
        gone.push(entry.path);
    }
    gone
}

/// Removes what `folder` holds beyond `bytes_max`; `keep` stays in any case. What can't be read or removed stays.
pub fn evict(folder: &Path, bytes_max: u64, keep: Option<&Path>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = entries.filter_map(|entry| {
        let path = entry.path();
        let metadata = std::fs::symlink_metadata(&path).ok()?;
        let (used, bytes) = if metadata.is_dir() {
            let mark = std::fs::symlink_metadata(path.join(USED)).ok();
            (mark.unwrap_or(metadata).modified().ok()?, size(&path))
        } else {
            (metadata.modified().ok()?, metadata.len())
        };
        Some(Entry { used, bytes, path })
    });
    for path in surplus(entries.collect(), bytes_max, keep) {
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => tracing::debug!(path = %path.display(), "a fetched source is kept no longer"),
            Err(error) => tracing::debug!(path = %path.display(), %error, "a fetched source stays"),
        }
    }
}

/// Notes that a file is used now.
pub fn used(path: &Path) {
    let touched = std::fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %path.display(), %error, "it is not noted that a fetched source is used");
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(folder: &Path, name: &str, bytes: usize, age: u64) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, vec![0; bytes]).unwrap();
        let file = std::fs::File::options().append(true).open(path).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(time).unwrap();
    }

    fn left(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_not_used_for_longest_goes_until_three_quarters_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for (name, age) in [("a", 400), ("b", 300), ("c", 200), ("d", 100)] {
            file(at, name, 25, age);
        }
        evict(at, 100, None);
        assert_eq!(left(at), ["a", "b", "c", "d"], "all of it fits");
        used(&at.join("a"));
        evict(at, 99, None);
        assert_eq!(left(at), ["a", "d"]);
        evict(at, 10, Some(&at.join("d")));
        assert_eq!(left(at), ["d"], "what is needed now stays");
    }

    #[test]
    fn a_folder_counts_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        file(at, "old/objects/x", 60, 1);
        file(at, "old/used", 1, 500);
        file(at, "new/objects/x", 60, 500);
        file(at, "new/used", 1, 1);
        evict(at, 100, None);
        assert_eq!(left(at), ["new"]);
    }
}
