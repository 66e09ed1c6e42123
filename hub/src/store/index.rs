//! What can be made again: which envelopes each cluster has, in SQLite. Filled by replaying claims, by one writer; if it
//! is lost, it is filled again.
//!
//! The exceptions are the salts of Secrets (without them every Secret is encrypted anew once) and how far each witness
//! has cosigned (without it the witness says so itself).

mod enrolments;
mod leaves;
mod outside;
mod receipts;

pub use enrolments::Enrolled;
pub use leaves::{Leaf, NodeRow, Place};
pub use outside::{Outside, OutsideKind};
pub use receipts::Spoken;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use countersign_ledger::key::PublicKey;
use countersign_ledger::secret::Commitment;
use countersign_ledger::{Digest, ObjectId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// The index failed: the disk is full, or the file is damaged. Deleting the file makes it anew.
#[derive(Debug, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexFault(#[from] rusqlite::Error);

/// An entry as it is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filed {
    /// A `source` entry: its commit and leaf hash.
    Source {
        /// The new commit.
        commit: String,
        /// The entry's leaf hash.
        leaf: Digest,
        /// The envelope.
        envelope: Bytes,
    },
    /// A `desired` entry.
    Desired {
        /// The cluster.
        cluster: String,
        /// Its generation.
        generation: u64,
        /// The envelope.
        envelope: Bytes,
        /// Its manifest's section list.
        manifest: Digest,
        /// Blobs that the statement itself names: anybody who reads the log may read them.
        names: Vec<Digest>,
    },
    /// A trust root came into effect.
    Trust {
        /// Its version.
        version: u64,
        /// The entry's leaf hash.
        leaf: Digest,
    },
    /// A receipt or drift record of a cluster.
    Receipt {
        /// Hint of the receipt key that signed it.
        speaker: String,
        /// Its place in the chain of that key.
        spoken: Spoken,
        /// Blobs that it names: anybody who reads the log may read them.
        names: Vec<Digest>,
    },
    /// What somebody outside the hub signed and the hub let in.
    Outside(Outside),
    /// A cluster may speak with this key.
    Enrolment {
        /// The cluster.
        cluster: String,
        /// The receipt key.
        key: PublicKey,
        /// Number of the enrolment.
        number: u64,
        /// The entry's leaf hash.
        leaf: Digest,
    },
    /// A key speaks no more.
    Revocation {
        /// The key.
        key: PublicKey,
        /// The entry's leaf hash.
        leaf: Digest,
    },
    /// Any other entry: it is found by its leaf hash.
    Other,
}

/// A claim as it is filed, in one transaction with its entries.
#[derive(Debug, Clone, Copy)]
pub struct FiledClaim<'a> {
    /// Its number.
    pub number: u64,
    /// Digest of its bytes.
    pub digest: &'a Digest,
    /// Digest of its staging object.
    pub staging: &'a Digest,
    /// The signed checkpoint in it; none from before the log.
    pub note: Option<&'a [u8]>,
    /// Its entries that are new in the tree, in order.
    pub leaves: &'a [Leaf],
    /// Complete nodes of the tree at the levels of tiles above the leaves.
    pub nodes: &'a [NodeRow],
    /// The tree after it, as [`countersign_ledger::tlog::Frontier::to_bytes`] writes it.
    pub frontier: &'a [u8],
    /// What its entries say.
    pub entries: &'a [Filed],
    /// Blobs that are known to lie in the store.
    pub blobs: &'a [Digest],
}

/// An encrypted Secret that can be used again while its content stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The salt inside the ciphertext.
    pub salt: [u8; 32],
    /// The recipient that it is encrypted to.
    pub recipient: String,
    /// Digest of the ciphertext.
    pub blob: Digest,
    /// Its length.
    pub bytes: u64,
    /// The commitment to the content.
    pub commitment: Commitment,
}

/// The index.
pub struct Index {
    connection: Mutex<Connection>,
}

/// Raised when a table changes: an index of another layout is made anew.
const LAYOUT: i64 = 7;

const TABLES: &str = "
    CREATE TABLE claim (number INTEGER PRIMARY KEY, digest BLOB NOT NULL, staging BLOB NOT NULL, size INTEGER NOT NULL,
        note BLOB, frontier BLOB NOT NULL);
    CREATE INDEX claim_by_size ON claim (size, number);
    CREATE TABLE leaf (place INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, claim INTEGER NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE node (level INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, place))
        WITHOUT ROWID;
    CREATE TABLE envelope (cluster TEXT NOT NULL, generation INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (cluster, generation)) WITHOUT ROWID;
    CREATE TABLE source (leaf BLOB PRIMARY KEY, number INTEGER NOT NULL, git_commit TEXT NOT NULL, bytes BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE INDEX source_by_commit ON source (git_commit, number);
    CREATE TABLE blob (digest BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE named (digest BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE manifest (digest BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE trust (version INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
    CREATE TABLE receipt (speaker TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL, envelope BLOB NOT NULL,
        PRIMARY KEY (speaker, seq)) WITHOUT ROWID;
    CREATE TABLE outside (kind INTEGER NOT NULL, about TEXT NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (kind, about, leaf))
        WITHOUT ROWID;
    CREATE TABLE enrolment (cluster TEXT NOT NULL, number INTEGER NOT NULL, key BLOB NOT NULL, leaf BLOB NOT NULL,
        PRIMARY KEY (cluster, leaf)) WITHOUT ROWID;
    CREATE TABLE revocation (key BLOB NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (key, leaf)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS salt (cluster TEXT NOT NULL, object TEXT NOT NULL, salt BLOB NOT NULL,
        recipient TEXT NOT NULL, blob BLOB NOT NULL, bytes INTEGER NOT NULL, commitment BLOB NOT NULL,
        PRIMARY KEY (cluster, object)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS witness (vkey TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
";

const DROP: &str =
    "DROP TABLE IF EXISTS claim; DROP TABLE IF EXISTS envelope; DROP TABLE IF EXISTS source;
    DROP TABLE IF EXISTS blob; DROP TABLE IF EXISTS leaf; DROP TABLE IF EXISTS node;
    DROP TABLE IF EXISTS named; DROP TABLE IF EXISTS manifest; DROP TABLE IF EXISTS trust;
    DROP TABLE IF EXISTS receipt; DROP TABLE IF EXISTS outside; DROP TABLE IF EXISTS enrolment;
    DROP TABLE IF EXISTS revocation;";

impl Index {
    /// Opens the index at `path`, a file that only its owner may read.
    pub fn open(path: &Path) -> Result<Self, IndexFault> {
        let connection = Connection::open(path)?;
        restrict(path);
        // A lost tail is replayed from the claims: the index needs order, not an fsync a write.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Self::with(connection)
    }

    /// An index that is gone with the process.
    pub fn in_memory() -> Result<Self, IndexFault> {
        Self::with(Connection::open_in_memory()?)
    }

    fn with(connection: Connection) -> Result<Self, IndexFault> {
        let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let index = Self {
            connection: Mutex::new(connection),
        };
        if layout != LAYOUT {
            index.clear()?;
        }
        Ok(index)
    }

    /// A panic while the lock was held left no half-written state: all writes are transactions.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all that can be replayed.
    pub fn clear(&self) -> Result<(), IndexFault> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.execute_batch(DROP)?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        Ok(transaction.commit()?)
    }

    /// The last claim that was filed.
    pub fn last_claim(&self) -> Result<Option<(u64, Digest)>, IndexFault> {
        let sql = "SELECT number, digest FROM claim ORDER BY number DESC LIMIT 1";
        let read = |row: &Row<'_>| Ok((number(row, 0)?, digest(row, 1)?));
        Ok(self.lock().query_row(sql, [], read).optional()?)
    }

    /// Files a claim: all of it, or nothing.
    pub fn file(&self, claim: &FiledClaim<'_>) -> Result<(), IndexFault> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        leaves::file(&transaction, claim)?;
        for entry in claim.entries {
            match entry {
                Filed::Source {
                    commit,
                    leaf,
                    envelope,
                } => {
                    transaction.execute(
                        "INSERT OR IGNORE INTO source VALUES (?1, ?2, ?3, ?4)",
                        params![
                            leaf.as_bytes(),
                            int(claim.number),
                            commit,
                            envelope.as_ref()
                        ],
                    )?;
                }
                Filed::Desired {
                    cluster,
                    generation,
                    envelope,
                    manifest,
                    names,
                } => {
                    transaction.execute(
                        "INSERT INTO envelope VALUES (?1, ?2, ?3)",
                        params![cluster, int(*generation), envelope.as_ref()],
                    )?;
                    let sql = "INSERT OR IGNORE INTO named VALUES (?1)";
                    let mut insert = transaction.prepare_cached(sql)?;
                    for name in names.iter().chain([manifest]) {
                        insert.execute(params![name.as_bytes()])?;
                    }
                    let sql = "INSERT OR IGNORE INTO manifest VALUES (?1)";
                    transaction.execute(sql, params![manifest.as_bytes()])?;
                }
                Filed::Trust { version, leaf } => {
                    transaction.execute(
                        "INSERT OR IGNORE INTO trust VALUES (?1, ?2)",
                        params![int(*version), leaf.as_bytes()],
                    )?;
                }
                Filed::Receipt {
                    speaker,
                    spoken,
                    names,
                } => receipts::file(&transaction, speaker, spoken, names)?,
                Filed::Outside(outside) => outside::file(&transaction, outside)?,
                Filed::Enrolment {
                    cluster,
                    key,
                    number,
                    leaf,
                } => enrolments::file(&transaction, cluster, key, *number, leaf)?,
                Filed::Revocation { key, leaf } => {
                    enrolments::file_revocation(&transaction, key, leaf)?;
                }
                Filed::Other => {}
            }
        }
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO blob VALUES (?1)")?;
            for blob in claim.blobs {
                insert.execute(params![blob.as_bytes()])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Envelopes of `cluster` above a generation, ascending, at most `max`.
    pub fn chain(&self, cluster: &str, above: u64, max: usize) -> Result<Vec<Bytes>, IndexFault> {
        let connection = self.lock();
        let sql = "SELECT bytes FROM envelope WHERE cluster = ?1 AND generation > ?2 ORDER BY generation LIMIT ?3";
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map(params![cluster, int(above), int(max as u64)], |row| {
            bytes(row, 0)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest envelope of each cluster.
    pub fn heads(&self) -> Result<Vec<Bytes>, IndexFault> {
        let connection = self.lock();
        let sql = "SELECT e.bytes FROM envelope e JOIN (SELECT cluster, max(generation) AS generation FROM envelope
            GROUP BY cluster) h ON e.cluster = h.cluster AND e.generation = h.generation";
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([], |row| bytes(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest `source` entry of `commit`: its leaf hash and envelope.
    pub fn source(&self, commit: &str) -> Result<Option<(Digest, Bytes)>, IndexFault> {
        let sql =
            "SELECT leaf, bytes FROM source WHERE git_commit = ?1 ORDER BY number DESC LIMIT 1";
        let read = |row: &Row<'_>| Ok((digest(row, 0)?, bytes(row, 1)?));
        Ok(self
            .lock()
            .query_row(sql, params![commit], read)
            .optional()?)
    }

    /// The newest `source` entry: what the hub last saw.
    pub fn last_source(&self) -> Result<Option<(Digest, Bytes)>, IndexFault> {
        let sql = "SELECT leaf, bytes FROM source ORDER BY number DESC LIMIT 1";
        let read = |row: &Row<'_>| Ok((digest(row, 0)?, bytes(row, 1)?));
        Ok(self.lock().query_row(sql, [], read).optional()?)
    }

    /// Those of `blobs` that are not known to lie in the store.
    pub fn unknown_blobs(
        &self,
        blobs: impl IntoIterator<Item = Digest>,
    ) -> Result<Vec<Digest>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT 1 FROM blob WHERE digest = ?1")?;
        let mut unknown = Vec::new();
        for blob in blobs {
            if !select.exists(params![blob.as_bytes()])? {
                unknown.push(blob);
            }
        }
        Ok(unknown)
    }

    /// The ciphertext that is kept for a Secret.
    pub fn kept(&self, cluster: &str, object: &ObjectId) -> Result<Option<Kept>, IndexFault> {
        let sql = "SELECT salt, recipient, blob, bytes, commitment FROM salt WHERE cluster = ?1 AND object = ?2";
        let read = |row: &Row<'_>| {
            Ok(Kept {
                salt: row.get(0)?,
                recipient: row.get(1)?,
                blob: digest(row, 2)?,
                bytes: number(row, 3)?,
                commitment: Commitment::from_digest(digest(row, 4)?),
            })
        };
        Ok(self
            .lock()
            .query_row(sql, params![cluster, object.to_string()], read)
            .optional()?)
    }

    /// The salt that is kept for the Secret with this commitment.
    pub fn salt(&self, cluster: &str, commitment: &Digest) -> Result<Option<[u8; 32]>, IndexFault> {
        let sql = "SELECT salt FROM salt WHERE cluster = ?1 AND commitment = ?2";
        let values = params![cluster, commitment.as_bytes()];
        let read = |row: &Row<'_>| row.get(0);
        Ok(self.lock().query_row(sql, values, read).optional()?)
    }

    /// Keeps the ciphertext of a Secret, for the one before.
    pub fn keep(&self, cluster: &str, object: &ObjectId, kept: &Kept) -> Result<(), IndexFault> {
        let values = params![
            cluster,
            object.to_string(),
            kept.salt,
            kept.recipient,
            kept.blob.as_bytes(),
            int(kept.bytes),
            kept.commitment.digest().as_bytes()
        ];
        self.lock().execute(
            "INSERT OR REPLACE INTO salt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            values,
        )?;
        Ok(())
    }
}

/// SQLite's integers are signed; no number here ever comes near the difference.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column).map(Digest::from_bytes)
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

/// Salts lie here: nobody else may read it. A file system without modes has none to set.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        tracing::warn!(path = %path.display(), %error, "the index may be read by others");
    }
}
