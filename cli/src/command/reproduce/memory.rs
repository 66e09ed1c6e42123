//! What a second renderer remembers: the checkpoint it saw last, how far it came, and each cluster's last reproduced state.
//!
//! Written after each word that is in the log. If it is lost, or the machine stops in between, the same words are said
//! again: they have the same bytes, so the log has them once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::time::Time;
use serde::{Deserialize, Serialize};

use super::permits::Words;
use crate::exit::Failure;

const FORMAT: &str = "https://countersign.dev/second-renderer/v1";
const FILE: &str = "reproduce.json";

/// What is remembered of a log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    format: String,
    /// The log's key.
    pub vkey: String,
    /// Entries of the last checkpoint.
    pub size: u64,
    /// Its root.
    pub root: Option<Digest>,
    /// The first entry that was not looked at.
    pub next: u64,
    /// By name.
    pub clusters: BTreeMap<String, Standing>,
    /// What people permitted.
    #[serde(default)]
    pub words: Words,
    /// When `size` was seen, by this machine's clock.
    #[serde(default)]
    pub seen: Option<Time>,
}

/// Where a cluster stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standing {
    /// The last state that was reproduced.
    pub confirmed: Option<Confirmed>,
    /// Commits of the states since then.
    pub between: BTreeSet<String>,
    /// Identities that reproduced states no longer speak of.
    pub dropped: BTreeSet<ObjectId>,
    /// Entry of the newest state, if nothing could be said of it yet.
    pub open: Option<u64>,
}

/// A state that was reproduced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Confirmed {
    /// Its manifest.
    pub manifest: Digest,
    /// Its commit.
    pub commit: String,
}

/// Memory in a folder, or none that lasts.
pub struct Kept {
    folder: Option<PathBuf>,
    /// Keeps others away from the folder.
    _lock: Option<std::fs::File>,
}

impl Kept {
    /// What is remembered in `folder` of the log with this key; nothing yet if there is no file. Without a folder nothing
    /// lasts.
    pub fn open(folder: Option<&Path>, vkey: &str) -> Result<(Self, Memory), Failure> {
        let fresh = Memory {
            format: FORMAT.to_owned(),
            vkey: vkey.to_owned(),
            ..Memory::default()
        };
        let Some(folder) = folder else {
            let kept = Self {
                folder: None,
                _lock: None,
            };
            return Ok((kept, fresh));
        };
        std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
        let lock = lock(folder)?;
        let kept = Self {
            folder: Some(folder.to_owned()),
            _lock: Some(lock),
        };
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((kept, fresh)),
            Err(error) => return Err(Failure::file(&path, &error)),
        };
        let place = path.display();
        let memory: Memory = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Mistake(format!("{place}: {error}")))?;
        if memory.format != FORMAT {
            return Err(Failure::Mistake(format!("{place}: is of another format")));
        }
        if memory.vkey != vkey {
            return Err(Failure::Mistake(format!(
                "{place}: is of another log ({}); give each log a folder of its own",
                memory.vkey
            )));
        }
        Ok((kept, memory))
    }

    /// Keeps it: whole, or as it was before.
    pub fn keep(&self, memory: &Memory) -> Result<(), Failure> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let path = folder.join(FILE);
        let text =
            serde_json::to_vec_pretty(memory).map_err(|error| Failure::Fault(error.to_string()))?;
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(|error| Failure::file(&path, &error))
    }
}

fn lock(folder: &Path) -> Result<std::fs::File, Failure> {
    let path = folder.join("lock");
    let file = std::fs::File::create(&path).map_err(|e| Failure::file(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::Mistake(format!(
            "{}: another process works in this folder",
            folder.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(Failure::file(&path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_only_for_the_same_log() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, mut memory) = Kept::open(Some(folder.path()), "log+1+x").unwrap();
        assert_eq!((memory.next, memory.clusters.len()), (0, 0));
        memory.next = 7;
        let confirmed = Confirmed {
            manifest: Digest::of(b"m"),
            commit: "c".into(),
        };
        let standing = Standing {
            confirmed: Some(confirmed),
            open: Some(6),
            ..Standing::default()
        };
        memory.clusters.insert("metal-fra".into(), standing);
        kept.keep(&memory).unwrap();
        assert!(
            Kept::open(Some(folder.path()), "log+1+x").is_err(),
            "one process at a time"
        );
        drop(kept);
        let (_, again) = Kept::open(Some(folder.path()), "log+1+x").unwrap();
        assert_eq!(again, memory);
        drop(again);
        assert!(Kept::open(Some(folder.path()), "other+1+x").is_err());
    }
}
