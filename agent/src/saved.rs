//! What survives a restart, in one folder: the verified state, its blobs, the inventory, the trust roots.
//!
//! Everything but the inventory is written to a scratch name, synced, renamed, and the folder synced, so a crash leaves
//! the old or the new, never half. Blobs are named by their digest and hashed again when read. The inventory is a
//! journal of lines; a torn last line is dropped (the object is then written again, which changes nothing).
//!
//! ```text
//! state.json  trust/<version>.json  blobs/<2 hex>/<digest>  inventory.log  keys/
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use serde::{Deserialize, Serialize};

use crate::watch::drift::Expected;
use crate::watch::ownership::Mark;
use crate::world::Held;

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

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    /// None: no longer held.
    held: Option<HeldLine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeldLine {
    applied: Option<Digest>,
    uid: String,
    mark: String,
    revision: u64,
    generation: i64,
    words: u64,
    written: i64,
}

/// The folder.
#[derive(Debug)]
pub struct Saved {
    dir: PathBuf,
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct Journal {
    file: File,
    /// Lines written since the last compaction.
    lines: usize,
}

/// Syncs at once: the disk groups them, and each costs a thread.
const SYNCS_AT_ONCE: usize = 16;
/// Files written before they are synced; each is open meanwhile.
const FILES_OPEN_MAX: usize = 256;
/// The journal is rewritten when it holds so many lines more than objects.
const JOURNAL_SLACK: usize = 20_000;

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
        for blobs in blobs.chunks(FILES_OPEN_MAX) {
            self.keep_some(blobs)?;
        }
        Ok(())
    }

    fn keep_some(&self, blobs: &[(Digest, Bytes)]) -> io::Result<()> {
        let mut folders = HashSet::new();
        let mut written = Vec::new();
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
            let (scratch, file) = self.write_scratch(bytes)?;
            written.push((scratch, file, path));
            folders.insert(folder);
        }
        // Side by side: a disk syncs many files in about the time of one.
        side_by_side(&written, |(_, file, _)| file.sync_data())?;
        for (scratch, _, path) in &written {
            fs::rename(scratch, path)?;
        }
        let folders: Vec<PathBuf> = folders.into_iter().collect();
        side_by_side(&folders, |folder| File::open(folder)?.sync_all())
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

    /// The inventory, as the journal leaves it.
    ///
    /// # Errors
    /// When the journal can't be read or rewritten.
    pub fn inventory(&self) -> io::Result<HashMap<ObjectId, Held>> {
        let mut out = HashMap::new();
        let mut lines = 0;
        for line in io::BufReader::new(File::open(self.dir.join("inventory.log"))?).split(b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(&line?) else {
                continue;
            };
            lines += 1;
            let id = ObjectId {
                group: line.group,
                kind: line.kind,
                namespace: line.namespace,
                name: line.name,
            };
            match line.held.and_then(HeldLine::held) {
                Some(held) => out.insert(id, held),
                None => out.remove(&id),
            };
        }
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.lines = lines;
        // A torn last line must not swallow the next one.
        journal.file.write_all(b"\n")?;
        Ok(out)
    }

    /// One more line: an object is held so, or (none) no longer. Reaches the disk with the next [`Self::sync`].
    ///
    /// # Errors
    /// When it could not be written.
    pub fn note(&self, id: &ObjectId, held: Option<&Held>) -> io::Result<()> {
        let mut text = line(id, held)?;
        text.push(b'\n');
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.lines += 1;
        journal.file.write_all(&text)
    }

    /// Makes the journal durable.
    ///
    /// # Errors
    /// When the disk refused.
    pub fn sync(&self) -> io::Result<()> {
        let file = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .file
            .try_clone()?;
        file.sync_data()
    }

    /// Whether the journal has grown far beyond what it says.
    #[must_use]
    pub fn wants_compaction(&self, objects: usize) -> bool {
        self.journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .lines
            > objects + JOURNAL_SLACK
    }

    /// Writes the journal anew. `entries` must be the whole inventory, and nothing may be noted meanwhile.
    ///
    /// # Errors
    /// When it could not be made durable; the old one then stands.
    pub fn compact<'a>(
        &self,
        entries: impl Iterator<Item = (&'a ObjectId, &'a Held)>,
    ) -> io::Result<()> {
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut bytes, mut lines) = (Vec::new(), 0);
        for (id, held) in entries {
            bytes.extend_from_slice(&line(id, Some(held))?);
            bytes.push(b'\n');
            lines += 1;
        }
        let path = self.dir.join("inventory.log");
        self.replace(&path, &bytes)?;
        *journal = Journal {
            file: append(&path)?,
            lines,
        };
        Ok(())
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
        let (scratch, file) = self.write_scratch(bytes)?;
        file.sync_data()?;
        fs::rename(&scratch, path)
    }

    /// A new file under a scratch name, not synced yet.
    fn write_scratch(&self, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static SCRATCH: AtomicU64 = AtomicU64::new(0);
        let scratch = self
            .dir
            .join("scratch")
            .join(SCRATCH.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&scratch)?;
        file.write_all(bytes)?;
        Ok((scratch, file))
    }
}

/// Does it to all, a few at once; the first failure, if any.
fn side_by_side<T: Sync>(all: &[T], act: impl Fn(&T) -> io::Result<()> + Sync) -> io::Result<()> {
    let share = all.len().div_ceil(SYNCS_AT_ONCE).max(1);
    let act = &act;
    std::thread::scope(|scope| {
        let running: Vec<_> = all
            .chunks(share)
            .skip(1)
            .map(|share| scope.spawn(move || share.iter().try_for_each(act)))
            .collect();
        let own = all.iter().take(share).try_for_each(act);
        running.into_iter().fold(own, |so_far, other| {
            let other = other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            so_far.and(other)
        })
    })
}

impl HeldLine {
    fn held(self) -> Option<Held> {
        let mark: Mark = self.mark.parse().ok()?;
        Some(Held {
            applied: self.applied,
            expected: Expected {
                uid: self.uid.into(),
                mark,
                revision: self.revision,
                generation: self.generation,
                words: self.words,
                written: self.written,
            },
        })
    }
}

fn line(id: &ObjectId, held: Option<&Held>) -> io::Result<Vec<u8>> {
    let line = Line {
        group: id.group.clone(),
        kind: id.kind.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        held: held.map(|held| HeldLine {
            applied: held.applied,
            uid: held.expected.uid.to_string(),
            mark: held.expected.mark.to_string(),
            revision: held.expected.revision,
            generation: held.expected.generation,
            words: held.expected.words,
            written: held.expected.written,
        }),
    };
    serde_json::to_vec(&line).map_err(io::Error::other)
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
