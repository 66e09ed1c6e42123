//! What a witness must never forget: of each log the newest checkpoint that it cosigned.
//!
//! ```text
//! DIR/index             every log that was ever followed; written before its first checkpoint can be
//! DIR/logs/<SHA-256 of the origin, hex>   one a log: nothing cosigned yet, or the newest cosigned checkpoint
//! ```
//!
//! A witness that forgets can be shown a second history and would cosign it. So a file that is damaged, or that the index
//! names and that is not there, is an error at start, never a fresh beginning. [`sealed`] is the form of each file,
//! [`record`] what is in it, [`disk`] the calls that write it.

pub mod disk;
pub mod record;
pub mod sealed;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_ledger::digest::Digest;

use crate::limits::LOGS_MAX;
use disk::{Disk, replace};
use record::Record;
use sealed::Damage;

/// The index's file.
const INDEX: &str = "index";
/// The folder with a file a log.
pub(crate) const LOGS: &str = "logs";

/// Of each log the newest cosigned checkpoint, as bytes; none if there is none yet.
pub type Records = BTreeMap<String, Option<Vec<u8>>>;

/// The state can't be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// What is there is not what was written.
    #[error(
        "{}: {damage}. A witness that has forgotten what it cosigned could cosign a fork, so it does not go on. Bring back \
         the file, or retire this witness: make one with a new key and a new name, and let the trust root name that one",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// The file system said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// More logs than one witness follows.
    #[error("a witness follows at most {LOGS_MAX} logs")]
    TooManyLogs,
}

impl StateError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    pub(crate) fn damaged(path: PathBuf, damage: Damage) -> Self {
        Self::Damaged { path, damage }
    }
}

/// The folder. One process has it: its lock is the caller's.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    known: BTreeSet<String>,
}

impl State {
    /// Writes the state of a witness that follows no log yet. The folder and its `logs` must be there.
    ///
    /// # Errors
    /// Of the file system.
    pub fn begin(folder: &Path, disk: &dyn Disk) -> Result<(), StateError> {
        let index = record::write_index(&BTreeSet::new());
        replace(disk, folder, INDEX, &index).map_err(StateError::io(&folder.join(INDEX)))
    }

    /// Reads everything: the state, and of each log the checkpoint, as bytes, if there is one.
    ///
    /// # Errors
    /// [`StateError`], and nothing may be cosigned then.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<(Self, Records), StateError> {
        let mut state = Self {
            folder: folder.to_owned(),
            disk,
            known: BTreeSet::new(),
        };
        let path = folder.join(INDEX);
        let bytes = state
            .read(&path)?
            .ok_or_else(|| StateError::damaged(path.clone(), Damage::Missing))?;
        let index = record::read_index(&bytes)
            .map_err(|damage| StateError::damaged(path.clone(), damage))?;
        let mut records = BTreeMap::new();
        for origin in &index {
            let path = state.path(origin);
            let bytes = state
                .read(&path)?
                .ok_or_else(|| StateError::damaged(path.clone(), Damage::Missing))?;
            let record =
                Record::read(&bytes).map_err(|damage| StateError::damaged(path.clone(), damage))?;
            if record.origin != *origin {
                let damage = Damage::Content(format!("is of another log, {:?}", record.origin));
                return Err(StateError::damaged(path, damage));
            }
            records.insert(record.origin, record.newest);
        }
        state.known = index;
        state.strangers(&mut records)?;
        Ok((state, records))
    }

    /// Files that the index does not name: a crash came between the two writes. What such a file knows counts.
    fn strangers(&mut self, records: &mut Records) -> Result<(), StateError> {
        let folder = self.folder.join(LOGS);
        let names = self.disk.names(&folder).map_err(StateError::io(&folder))?;
        for name in names.into_iter().filter(|name| !name.starts_with('.')) {
            let path = folder.join(&name);
            if self.known.iter().any(|origin| file_name(origin) == name) {
                continue;
            }
            let Some(bytes) = self.read(&path)? else {
                continue;
            };
            let record =
                Record::read(&bytes).map_err(|damage| StateError::damaged(path.clone(), damage))?;
            if file_name(&record.origin) != name {
                let damage = Damage::Content(format!("is of another log, {:?}", record.origin));
                return Err(StateError::damaged(path, damage));
            }
            if record.newest.is_some() {
                // Only what the index names is ever cosigned: the index is older than this file.
                let index = self.folder.join(INDEX);
                let damage = Damage::Content(format!("does not name the log {:?}", record.origin));
                return Err(StateError::damaged(index, damage));
            }
            records.insert(record.origin, record.newest);
        }
        Ok(())
    }

    /// Begins to follow a log, durably; nothing changes if it is followed already.
    ///
    /// # Errors
    /// [`StateError`]; the log is not followed then.
    pub fn follow(&mut self, origin: &str) -> Result<(), StateError> {
        if self.known.contains(origin) {
            return Ok(());
        }
        if self.known.len() >= LOGS_MAX {
            return Err(StateError::TooManyLogs);
        }
        // The record first: an index that names a log without a record is damage.
        self.write(&Record {
            origin: origin.to_owned(),
            newest: None,
        })
        .map_err(StateError::io(&self.path(origin)))?;
        let mut known = self.known.clone();
        known.insert(origin.to_owned());
        replace(
            self.disk.as_ref(),
            &self.folder,
            INDEX,
            &record::write_index(&known),
        )
        .map_err(StateError::io(&self.folder.join(INDEX)))?;
        self.known = known;
        Ok(())
    }

    /// Makes a log's newest checkpoint durable. Only after it has returned may its cosignature be shown.
    ///
    /// # Errors
    /// Of the file system. The old or the new checkpoint is there then.
    pub fn store(&self, origin: &str, checkpoint: &[u8]) -> io::Result<()> {
        self.write(&Record {
            origin: origin.to_owned(),
            newest: Some(checkpoint.to_vec()),
        })
    }

    /// Where a log's file lies.
    #[must_use]
    pub fn path(&self, origin: &str) -> PathBuf {
        self.folder.join(LOGS).join(file_name(origin))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let name = file_name(&record.origin);
        let folder = self.folder.join(LOGS);
        replace(self.disk.as_ref(), &folder, &name, &record.write())
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StateError> {
        match self.disk.read(path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(StateError::damaged(path.to_owned(), Damage::TooLarge))
            }
            Err(error) => Err(StateError::io(path)(error)),
        }
    }
}

fn file_name(origin: &str) -> String {
    Digest::of(origin.as_bytes()).to_string()
}

#[cfg(test)]
mod tests;
