//! The folder of a witness: its key, its name, its state. One process has it at a time.
//!
//! ```text
//! DIR/witness.key    the key, for its owner's eyes
//! DIR/witness.vkey   its public half with the witness's name, as a trust root's witness policy takes it
//! DIR/lock  DIR/index  DIR/logs/…   see [`crate::state`]
//! ```
//!
//! Key and state lie together on purpose: who loses one loses both, and a witness without memory never signs under the old
//! key.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use countersign_ledger::key::{FileKey, NotAKey, Sign as _};
use countersign_ledger::tlog::note::{KeyKind, Vkey, VkeyError};

use crate::state::disk::{RealDisk, replace};
use crate::state::{LOGS, State, StateError};

const KEY: &str = "witness.key";
const VKEY: &str = "witness.vkey";
const LOCK: &str = "lock";

/// The folder can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Something is there already.
    #[error("{}: is not empty; name a new folder, as a witness's key is never written over another", .0.display())]
    NotEmpty(PathBuf),
    /// Another process uses it.
    #[error("{}: another witness runs on this folder", .0.display())]
    InUse(PathBuf),
    /// A file that makes a witness is not there.
    #[error("{}: is missing; `countersign witness init` makes a witness's folder", .0.display())]
    NotMade(PathBuf),
    /// The name can't stand in a signature line.
    #[error("name {name:?}: {error}")]
    Name {
        /// As given.
        name: String,
        /// Why not.
        error: VkeyError,
    },
    /// The key's file.
    #[error("{}: {error}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: NotAKey,
    },
    /// The file with the public half is no key, or not of this key.
    #[error("{}: {problem}", path.display())]
    Vkey {
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file system said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// The folder, locked for this process.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    key: FileKey,
    vkey: Vkey,
    _lock: File,
}

impl Home {
    /// Makes the folder of a new witness that follows no log yet. The key is written last: a folder without it is not made.
    ///
    /// # Errors
    /// [`HomeError`]; a folder that is not empty is never touched.
    pub fn make(folder: &Path, name: &str, key: &FileKey) -> Result<Vkey, HomeError> {
        let vkey = Vkey::new(name, KeyKind::Cosignature, key.public()).map_err(|error| {
            HomeError::Name {
                name: name.to_owned(),
                error,
            }
        })?;
        private_folder(folder).map_err(io_at(folder))?;
        if !is_empty(folder).map_err(io_at(folder))? {
            return Err(HomeError::NotEmpty(folder.to_owned()));
        }
        let logs = folder.join(LOGS);
        private_folder(&logs).map_err(io_at(&logs))?;
        State::begin(folder, &RealDisk)?;
        let write = |name: &str, bytes: &[u8]| {
            replace(&RealDisk, folder, name, bytes).map_err(io_at(&folder.join(name)))
        };
        write(VKEY, format!("{vkey}\n").as_bytes())?;
        write(KEY, key.to_pem().as_bytes())?;
        Ok(vkey)
    }

    /// Takes the folder for this process.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn open(folder: &Path) -> Result<Self, HomeError> {
        let key_path = folder.join(KEY);
        let text = match fs::read_to_string(&key_path) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::NotMade(key_path));
            }
            Err(error) => return Err(io_at(&key_path)(error)),
        };
        let key = FileKey::from_pem(&text).map_err(|error| HomeError::Key {
            path: key_path,
            error,
        })?;
        let vkey = read_vkey(&folder.join(VKEY), &key)?;
        let lock_path = folder.join(LOCK);
        let lock = File::create(&lock_path).map_err(io_at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HomeError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io_at(&lock_path)(error)),
        }
        Ok(Self {
            folder: folder.to_owned(),
            key,
            vkey,
            _lock: lock,
        })
    }

    /// Takes the folder, and makes it with a key from `random` first if there is none or an empty one.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn open_or_make(
        folder: &Path,
        name: &str,
        random: &dyn ring::rand::SecureRandom,
    ) -> Result<Self, HomeError> {
        let fresh = match is_empty(folder) {
            Ok(empty) => empty,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(io_at(folder)(error)),
        };
        if fresh {
            let key = FileKey::generate(random).map_err(|error| HomeError::Key {
                path: folder.join(KEY),
                error,
            })?;
            Self::make(folder, name, &key)?;
        }
        let home = Self::open(folder)?;
        if home.vkey.name() != name {
            return Err(HomeError::Vkey {
                path: folder.join(VKEY),
                problem: format!(
                    "this witness is named {:?}; its name is final, as its key stands for it",
                    home.vkey.name()
                ),
            });
        }
        Ok(home)
    }

    /// The witness's key as others know it.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    pub(crate) const fn key(&self) -> &FileKey {
        &self.key
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn read_vkey(path: &Path, key: &FileKey) -> Result<Vkey, HomeError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HomeError::NotMade(path.to_owned()));
        }
        Err(error) => return Err(io_at(path)(error)),
    };
    let bad = |problem: String| HomeError::Vkey {
        path: path.to_owned(),
        problem,
    };
    let vkey: Vkey = text
        .trim_end()
        .parse()
        .map_err(|error: VkeyError| bad(error.to_string()))?;
    if vkey.kind() != KeyKind::Cosignature || *vkey.key() != key.public() {
        return Err(bad(format!("is not the public half of {KEY}")));
    }
    Ok(vkey)
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    |error| HomeError::Io {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests;
