//! What survives a restart, in one folder: the verified state, its blobs, the inventory, the trust roots.
//!
//! Everything but the inventory is written to a scratch name, synced, renamed, and the folder synced, so a crash leaves
//! the old or the new, never half. Blobs are named by their digest and hashed again when read. The inventory is a
//! journal of lines; a torn last line is dropped (the object is then written again, which changes nothing).
//!
//! ```text
//! state.json  trust/<version>.json  blobs/<2 hex>/<digest>  inventory.log  keys/
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use serde::{Deserialize, Serialize};

mod journal;

use journal::Journal;

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
}

/// The folder.
#[derive(Debug)]
pub struct Saved {
    dir: PathBuf,
    journal: Mutex<Journal>,
}

impl Saved {
    /// Opens the folder, makes what is missing, removes scratch files that a crash left.
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
        Ok(Self {
            dir: dir.to_owned(),
            journal: Mutex::new(Journal { file, lines: 0 }),
        })
    }

    /// The folder for keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// The state as last committed.
    ///
    /// # Errors
    /// When it is there but can't be read.
    pub fn state(&self) -> io::Result<Option<State>> {
        match fs::read(self.dir.join("state.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits a state; its blobs must be there already.
    ///
    /// # Errors
    /// When it could not be made durable; the old one then stands.
    pub fn commit(&self, state: &State) -> io::Result<()> {
        let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
        self.replace(&self.dir.join("state.json"), &bytes)
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

    /// Keeps blobs that were checked. Durable when it returns.
    ///
    /// # Errors
    /// When one could not be written; those before it stay.
    pub fn keep(&self, blobs: &[(Digest, Bytes)]) -> io::Result<()> {
        let mut folders = HashSet::new();
        for (digest, bytes) in blobs {
            let path = self.blob_path(digest);
            if path.exists() {
                continue;
            }
            let folder = path.parent().unwrap_or(&self.dir).to_owned();
            if !folder.exists() {
                private_dir(&folder)?;
                folders.insert(self.dir.join("blobs"));
            }
            self.place(&path, bytes)?;
            folders.insert(folder);
        }
        for folder in folders {
            File::open(folder)?.sync_all()?;
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
        let name = digest.to_string();
        self.dir.join("blobs").join(&name[..2]).join(name)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.place(path, bytes)?;
        File::open(path.parent().unwrap_or(&self.dir))?.sync_all()
    }

    /// Writes to a scratch name, syncs, renames; the folder is the caller's to sync.
    fn place(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static SCRATCH: AtomicU64 = AtomicU64::new(0);
        let scratch = self
            .dir
            .join("scratch")
            .join(SCRATCH.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&scratch)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&scratch, path)
    }
}

fn append(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().append(true).create(true)).open(path)
}

/// Readable by the agent's user alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(test)]
mod tests;
