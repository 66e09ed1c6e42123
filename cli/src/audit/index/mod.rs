//! The index: what was read of a log, in SQLite, so that questions over a million entries are answered in seconds.
//!
//! It is a cache and never evidence. It is bound to a log's name, trust roots, size and root; when it is opened, the chain
//! of digests over all its rows and the tree over its leaf hashes must lead to what it says of itself, so that rows of
//! another log, or rows that something changed, are refused. What an answer shows is read again from the entry itself.

mod ask;
mod check;
mod rows;

use std::path::{Path, PathBuf};

use countersign_ledger::digest::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::entry::Row;
use super::finding::Finding;
use super::judge::{Judgement, State};
use super::keys::LogKeys;

pub use ask::{Asked, Between, Held};

/// Raised when a table or the meaning of a column changes.
const LAYOUT: u64 = 3;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE entry (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, digest BLOB NOT NULL, kind TEXT NOT NULL,
        cluster TEXT NOT NULL, environment TEXT NOT NULL, app TEXT NOT NULL, generation INTEGER NOT NULL,
        seq INTEGER NOT NULL, git TEXT NOT NULL, subject TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        object TEXT NOT NULL, at INTEGER, until INTEGER, holds INTEGER NOT NULL);
    CREATE INDEX source_by_leaf ON entry (leaf) WHERE kind = 'source';
    CREATE INDEX source_by_commit ON entry (git) WHERE kind = 'source';
    CREATE INDEX desired_by_generation ON entry (cluster, generation) WHERE kind = 'desired';
    CREATE INDEX receipt_by_time ON entry (cluster, at) WHERE kind = 'receipt';
    CREATE INDEX sync_by_place ON entry (cluster, idx) WHERE kind = 'receipt' AND what = 'sync';
    CREATE INDEX entry_by_kind ON entry (kind, cluster, idx) WHERE kind <> 'receipt';
    CREATE INDEX desired_by_digest ON entry (digest) WHERE kind = 'desired';
    CREATE TABLE finding (id INTEGER PRIMARY KEY, idx INTEGER, code TEXT NOT NULL, cluster TEXT NOT NULL,
        detail TEXT NOT NULL);
    CREATE TABLE clock (id INTEGER PRIMARY KEY, ceiling INTEGER NOT NULL, place INTEGER NOT NULL, ms INTEGER NOT NULL);
    CREATE INDEX clock_by_place ON clock (ceiling, place);
    CREATE INDEX clock_by_time ON clock (ceiling, ms);
    CREATE TABLE change (id INTEGER PRIMARY KEY, idx INTEGER NOT NULL, cluster TEXT NOT NULL,
        generation INTEGER NOT NULL, line TEXT NOT NULL, object TEXT NOT NULL, app TEXT NOT NULL, git TEXT NOT NULL,
        digest TEXT NOT NULL);
    CREATE INDEX change_by_object ON change (object, cluster, id);
    CREATE INDEX change_by_digest ON change (digest);
    CREATE TABLE image (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, image TEXT NOT NULL);
    CREATE INDEX image_by_digest ON image (digest);
";

/// The index can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite failed: the disk is full, or the file is no index.
    #[error("index {path}: {why}")]
    Fault {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Its rows are not those that were written.
    #[error("index {path}: {why}; it is only a cache: delete it, or say --rebuild")]
    Tampered {
        /// The file.
        path: String,
        /// What does not fit.
        why: String,
    },
}

/// Which log it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The log's vkey.
    pub vkey: String,
    /// Digests of the trust roots, oldest first.
    pub roots: Vec<Digest>,
}

/// How far it has come: all that a pass needs to go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Entries that were judged.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// The unfinished tiles, leaves first.
    pub edge: Vec<Vec<Digest>>,
    /// What the judge remembers.
    pub state: State,
    /// What the log has said of keys.
    pub keys: LogKeys,
    /// The checkpoint that they were last held against, as it was signed; empty before the first.
    pub note: String,
}

/// Chains of digests over the tables that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Chains {
    entry: Digest,
    finding: Digest,
    clock: Digest,
    change: Digest,
    image: Digest,
}

fn link(chain: &mut Digest, bytes: &[u8]) {
    let mut joined = Vec::with_capacity(32 + bytes.len());
    joined.extend_from_slice(chain.as_bytes());
    joined.extend_from_slice(bytes);
    *chain = Digest::of(&joined);
}

/// The index of one log.
pub struct Index {
    connection: Connection,
    path: PathBuf,
    bound: Bound,
    chains: Chains,
    progress: Progress,
    /// Entries whose content was read.
    content: u64,
}

/// A change of a cluster's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The state's entry.
    pub index: u64,
    /// The cluster.
    pub cluster: String,
    /// The generation.
    pub generation: u64,
    /// `object`, `tombstone`, `orphan`, `gone`; `?` for a manifest that isn't there.
    pub line: String,
    /// The object.
    pub object: String,
    /// Its app.
    pub app: String,
    /// The commit of its line.
    pub commit: String,
    /// Digest of its content, or empty.
    pub digest: String,
}

impl Change {
    fn bytes(&self) -> Vec<u8> {
        let mut out = self.index.to_be_bytes().to_vec();
        out.extend_from_slice(&self.generation.to_be_bytes());
        for text in [
            &self.cluster,
            &self.line,
            &self.object,
            &self.app,
            &self.commit,
            &self.digest,
        ] {
            out.extend_from_slice(&(text.len() as u64).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

impl Index {
    /// Opens the index in `path`, or begins one in memory. One of another log, of other trust roots or of another layout
    /// is begun anew: it is a cache. One whose rows were changed is refused.
    pub fn open(path: Option<&Path>, bound: &Bound, rebuild: bool) -> Result<Self, IndexError> {
        let place = path.unwrap_or(Path::new(":memory:")).to_owned();
        let fault = |why: String| IndexError::Fault {
            path: place.display().to_string(),
            why,
        };
        if let Some(folder) = path.and_then(Path::parent) {
            std::fs::create_dir_all(folder).map_err(|e| fault(e.to_string()))?;
        }
        let connection = match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        }
        .and_then(|connection| {
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            connection.execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;
                 PRAGMA mmap_size=1073741824;",
            )?;
            Ok(connection)
        })
        .map_err(|e| fault(e.to_string()))?;
        let mut index = Self {
            connection,
            path: place,
            bound: bound.clone(),
            chains: Chains::default(),
            progress: Progress::default(),
            content: 0,
        };
        if rebuild || index.meta::<(u64, Bound)>("bound")? != Some((LAYOUT, bound.clone())) {
            index.begin_anew()?;
        } else {
            index.load()?;
        }
        Ok(index)
    }

    fn fault(&self, why: impl ToString) -> IndexError {
        IndexError::Fault {
            path: self.path.display().to_string(),
            why: why.to_string(),
        }
    }

    fn tampered(&self, why: impl ToString) -> IndexError {
        IndexError::Tampered {
            path: self.path.display().to_string(),
            why: why.to_string(),
        }
    }

    fn meta<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, IndexError> {
        let table = "SELECT 1 FROM sqlite_schema WHERE name = 'meta'";
        let exists = self.connection.query_row(table, [], |_| Ok(())).optional();
        if exists.map_err(|e| self.fault(e))?.is_none() {
            return Ok(None);
        }
        let query = "SELECT value FROM meta WHERE name = ?1";
        let value: Option<Vec<u8>> = self
            .connection
            .query_row(query, [name], |row| row.get(0))
            .optional()
            .map_err(|error| match error {
                rusqlite::Error::InvalidColumnType(..) => self.tampered(error),
                error => self.fault(error),
            })?;
        // What can't be read is another layout's.
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<(), IndexError> {
        let value = serde_json::to_vec(value).map_err(|e| self.fault(e))?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")
            .and_then(|mut put| put.execute(params![name, value]))
            .map_err(|e| self.fault(e))?;
        Ok(())
    }

    /// Forgets everything.
    pub fn begin_anew(&mut self) -> Result<(), IndexError> {
        let drop: String = ["meta", "entry", "finding", "clock", "change", "image"]
            .iter()
            .map(|table| format!("DROP TABLE IF EXISTS {table};"))
            .collect();
        self.connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {drop} {TABLES}"))
            .map_err(|e| self.fault(e))?;
        self.chains = Chains::default();
        self.progress = Progress::default();
        self.content = 0;
        self.put("bound", &(LAYOUT, self.bound.clone()))?;
        self.save(&Progress::default())?;
        self.commit()
    }

    fn load(&mut self) -> Result<(), IndexError> {
        let missing = || self.tampered("says nothing of how far it has come");
        let progress: Progress = self.meta("progress")?.ok_or_else(missing)?;
        let chains: Chains = self.meta("chains")?.ok_or_else(missing)?;
        let content: u64 = self.meta("content")?.ok_or_else(missing)?;
        let state: Digest = self.meta("state")?.ok_or_else(missing)?;
        let bytes = serde_json::to_vec(&progress).map_err(|e| self.fault(e))?;
        if Digest::of(&bytes) != state {
            return Err(self.tampered("its state is not the one that was written"));
        }
        self.progress = progress;
        self.chains = chains;
        self.content = content;
        self.check()
    }

    /// How far it has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a batch.
    pub fn start(&self) -> Result<(), IndexError> {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE");
        begun.map_err(|e| self.fault(e))
    }

    /// Adds an entry.
    pub fn add(&mut self, row: &Row, judged: &Judgement) -> Result<(), IndexError> {
        rows::insert(&self.connection, row, judged.holds).map_err(|e| self.fault(e))?;
        link(&mut self.chains.entry, &entry_bytes(row, judged.holds));
        for finding in &judged.findings {
            self.add_finding(finding)?;
        }
        if let Some(ms) = judged.floor {
            self.add_clock(false, row.index, ms)?;
        }
        if let Some((size, ms)) = judged.ceiling {
            self.add_clock(true, size, ms)?;
        }
        Ok(())
    }

    /// Adds a finding.
    pub fn add_finding(&mut self, finding: &Finding) -> Result<(), IndexError> {
        let query = "INSERT INTO finding (idx, code, cluster, detail) VALUES (?1, ?2, ?3, ?4)";
        let index = finding.index.map(u64::cast_signed);
        let values = params![index, finding.code.name(), finding.cluster, finding.detail];
        self.connection
            .prepare_cached(query)
            .and_then(|mut insert| insert.execute(values))
            .map_err(|e| self.fault(e))?;
        let bytes = serde_json::to_vec(finding).map_err(|e| self.fault(e))?;
        link(&mut self.chains.finding, &bytes);
        Ok(())
    }

    fn add_clock(&mut self, ceiling: bool, place: u64, ms: u64) -> Result<(), IndexError> {
        let query = "INSERT INTO clock (ceiling, place, ms) VALUES (?1, ?2, ?3)";
        let values = params![ceiling, place.cast_signed(), ms.cast_signed()];
        self.connection
            .prepare_cached(query)
            .and_then(|mut insert| insert.execute(values))
            .map_err(|e| self.fault(e))?;
        link(&mut self.chains.clock, &clock_bytes(ceiling, place, ms));
        Ok(())
    }

    /// Adds a change of content.
    pub fn add_change(&mut self, change: &Change) -> Result<(), IndexError> {
        rows::insert_change(&self.connection, change).map_err(|e| self.fault(e))?;
        link(&mut self.chains.change, &change.bytes());
        Ok(())
    }

    /// Adds the image that an object of this digest names.
    pub fn add_image(&mut self, digest: &str, image: &str) -> Result<(), IndexError> {
        let query = "INSERT INTO image (digest, image) VALUES (?1, ?2)";
        self.connection
            .prepare_cached(query)
            .and_then(|mut insert| insert.execute([digest, image]))
            .map_err(|e| self.fault(e))?;
        link(
            &mut self.chains.image,
            format!("{digest}\n{image}").as_bytes(),
        );
        Ok(())
    }

    /// Entries whose content was read.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Says that the content of the first `size` entries was read.
    pub fn set_content(&mut self, size: u64) -> Result<(), IndexError> {
        self.content = size;
        self.put("content", &size)?;
        self.put("chains", &self.chains)
    }

    /// Keeps how far it has come.
    pub fn save(&mut self, progress: &Progress) -> Result<(), IndexError> {
        let bytes = serde_json::to_vec(progress).map_err(|e| self.fault(e))?;
        self.put("progress", progress)?;
        self.put("state", &Digest::of(&bytes))?;
        self.put("content", &self.content)?;
        self.put("chains", &self.chains)?;
        self.progress = progress.clone();
        Ok(())
    }

    /// Ends a batch.
    pub fn commit(&self) -> Result<(), IndexError> {
        let done = self.connection.execute_batch("COMMIT");
        done.map_err(|e| self.fault(e))
    }

    /// Ends a batch as if it had never begun. The index is of no use any more.
    pub fn give_up(&self) -> Result<(), IndexError> {
        let done = self.connection.execute_batch("ROLLBACK");
        done.map_err(|e| self.fault(e))
    }
}

fn entry_bytes(row: &Row, holds: bool) -> Vec<u8> {
    let mut bytes = row.bytes();
    bytes.push(u8::from(holds));
    bytes
}

fn clock_bytes(ceiling: bool, place: u64, ms: u64) -> Vec<u8> {
    let mut bytes = vec![u8::from(ceiling)];
    bytes.extend_from_slice(&place.to_be_bytes());
    bytes.extend_from_slice(&ms.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests;
