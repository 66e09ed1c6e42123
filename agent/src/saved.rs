//! What survives a restart, in one folder: the verified state, its blobs, the inventory, the trust roots.
//!
//! Everything but the inventory is written to a scratch name and renamed, so a crash leaves the old or the new, never
//! half. A state and its blobs are made durable together, by one sync of `arrivals`. Blobs are named by their digest and
//! hashed again when read. The inventory is a journal of lines; a torn last line is dropped (the object is then written
//! again, which changes nothing).
//!
//! ```text
//! state.json  overrides.json  trust/<version>.json  blobs/<2 hex>/<digest>  arrivals.log  inventory.log  evidence/<digest>.json  keys/  receipts/
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::overrides;

mod arrivals;
mod journal;
mod log;

use arrivals::{Arrivals, Kind};
use journal::Journal;
pub use log::Log;

/// The floor and what to run, as last verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of the trust root that it was verified with.
    pub trust_version: u64,
    /// Its generation.
    pub generation: u64,
    /// Digest of its envelope, which is a blob.
    pub envelope: Digest,
    /// Digest of its section list: the manifest digest.
    pub manifest: Digest,
    /// UID of kube-system when it was verified.
    pub cluster_uid: String,
    /// SHA-256 of the API server's CA, hex.
    pub cluster_ca: String,
    /// The log as last verified; none before the fleet has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// The commit up to which commits were judged as people's word; none if the level did not ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authored: Option<String>,
}

/// The folder.
#[derive(Debug)]
pub struct Saved {
    dir: PathBuf,
    journal: Mutex<Journal>,
    arrivals: Mutex<Arrivals>,
}

impl Saved {
    /// Opens the folder, makes what is missing, removes scratch files that a crash left, and puts back what it may have
    /// cost of the last arrivals.
    ///
    /// # Errors
    /// When the folder can't be made or written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        for sub in ["", "blobs", "trust", "keys", "scratch"] {
            private_dir(&dir.join(sub))?;
        }
        for entry in fs::read_dir(dir.join("scratch"))? {
            fs::remove_file(entry?.path())?;
        }
        let file = append(&dir.join("inventory.log"))?;
        // What a crash may have cost in the places of the last arrivals is written there again.
        let mut arrivals = Arrivals::open(dir, &mut |kind, digest, content| {
            let path = match kind {
                Kind::State => dir.join(STATE),
                Kind::Blob => blob_path(dir, digest),
            };
            private_dir(path.parent().unwrap_or(dir))?;
            place(dir, &path, content, When::Later)
        })?;
        if !arrivals.is_empty() {
            arrivals.start_anew()?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            journal: Mutex::new(Journal { file, lines: 0 }),
            arrivals: Mutex::new(arrivals),
        })
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder for keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// The folder of the queue of receipts.
    #[must_use]
    pub fn receipts(&self) -> PathBuf {
        self.dir.join("receipts")
    }

    /// The state as last committed.
    ///
    /// # Errors
    /// When it is there but can't be read.
    pub fn state(&self) -> io::Result<Option<State>> {
        match fs::read(self.dir.join(STATE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits a state; its blobs must be there already. All of it is durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable; after a restart the old one may stand.
    pub fn commit(&self, state: &State) -> io::Result<()> {
        let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
        let mut arrivals = self.arrivals();
        arrivals.add(Kind::State, &Digest::of(&bytes), &bytes)?;
        arrivals.sync()?;
        place(&self.dir, &self.dir.join(STATE), &bytes, When::Later)
    }

    /// Keeps a file that shows a fork of the log, under the digest of its bytes. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn keep_evidence(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let folder = self.dir.join("evidence");
        private_dir(&folder)?;
        let path = folder.join(format!("{}.json", Digest::of(bytes)));
        if !path.exists() {
            self.replace(&path, bytes)?;
        }
        Ok(path)
    }

    /// What people with override keys said, as last kept; nothing before the first.
    ///
    /// # Errors
    /// When it is there but can't be read.
    pub fn overrides(&self) -> io::Result<overrides::Record> {
        match fs::read(self.dir.join(OVERRIDES)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(overrides::Record::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps what people with override keys said. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn keep_overrides(&self, record: &overrides::Record) -> io::Result<()> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        self.replace(&self.dir.join(OVERRIDES), &bytes)
    }

    /// Whether [`Self::settle`] is due.
    #[must_use]
    pub fn wants_settling(&self) -> bool {
        self.arrivals().is_large()
    }

    /// Makes what arrived durable in its own places, so that the list of arrivals starts anew.
    ///
    /// # Errors
    /// When the disk refused; all is as durable as before.
    pub fn settle(&self) -> io::Result<()> {
        let mut arrivals = self.arrivals();
        if arrivals.is_empty() {
            return Ok(());
        }
        arrivals.start_anew()
    }

    /// Trust roots that came, oldest first.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn trust_roots(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut versions: Vec<(u64, PathBuf)> = fs::read_dir(self.dir.join("trust"))?
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let path = entry.path();
                let version = path.file_stem()?.to_str()?.parse().ok()?;
                Some((version, path))
            })
            .collect();
        versions.sort();
        versions
            .into_iter()
            .map(|(_, path)| fs::read(path))
            .collect()
    }

    /// Keeps a verified trust root.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn keep_trust_root(&self, version: u64, document: &[u8]) -> io::Result<()> {
        self.replace(
            &self.dir.join("trust").join(format!("{version}.json")),
            document,
        )
    }

    /// Whether a blob is there.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// A blob's bytes; one that no longer hashes to its name is removed and counts as missing.
    ///
    /// # Errors
    /// `NotFound`, or whatever reading gave.
    pub fn blob(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path)?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        let _ = fs::remove_file(&path);
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "a blob no longer hashes to its name",
        ))
    }

    /// Keeps blobs that were checked. Durable with the next [`Self::commit`].
    ///
    /// # Errors
    /// When one could not be written; those before it stay.
    pub fn keep(&self, blobs: &[(Digest, Bytes)]) -> io::Result<()> {
        let mut made = HashSet::new();
        let mut arrivals = self.arrivals();
        for (digest, bytes) in blobs {
            // Read, not only looked for: what a crash left half is written again.
            if self.blob(digest).is_ok() {
                continue;
            }
            let path = self.blob_path(digest);
            let folder = path.parent().unwrap_or(&self.dir);
            if !made.contains(folder) {
                private_dir(folder)?;
                made.insert(folder.to_owned());
            }
            arrivals.add(Kind::Blob, digest, bytes)?;
            place(&self.dir, &path, bytes, When::Later)?;
        }
        Ok(())
    }

    /// Removes blobs that nobody needs; returns how many.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn drop_blobs_except(&self, needed: &HashSet<Digest>) -> io::Result<usize> {
        let mut dropped = 0;
        for folder in fs::read_dir(self.dir.join("blobs"))? {
            for file in fs::read_dir(folder?.path())? {
                let path = file?.path();
                let digest = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .and_then(|name| name.parse::<Digest>().ok());
                if digest.is_none_or(|digest| !needed.contains(&digest)) {
                    fs::remove_file(&path)?;
                    dropped += 1;
                }
            }
        }
        Ok(dropped)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.dir, digest)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        place(&self.dir, path, bytes, When::Now)?;
        File::open(path.parent().unwrap_or(&self.dir))?.sync_all()
    }
}

const STATE: &str = "state.json";
const OVERRIDES: &str = "overrides.json";

fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    dir.join("blobs").join(&name[..2]).join(name)
}

/// When a file's bytes must have reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before it gets its name.
    Now,
    /// When the arrivals start anew, which hold its bytes until then.
    Later,
}

/// Writes to a scratch name, syncs if it must be now, renames; the folder is the caller's to sync.
fn place(dir: &Path, path: &Path, bytes: &[u8], sync: When) -> io::Result<()> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SCRATCH: AtomicU64 = AtomicU64::new(0);
    let scratch = dir
        .join("scratch")
        .join(SCRATCH.fetch_add(1, Ordering::Relaxed).to_string());
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&scratch)?;
    file.write_all(bytes)?;
    if sync == When::Now {
        file.sync_data()?;
    }
    fs::rename(&scratch, path)
}

fn append(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().append(true).create(true)).open(path)
}

/// Readable by the agent's user alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(test)]
mod tests;
