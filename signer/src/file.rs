//! A key that lies in a file which its owner alone may use.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use countersign_ledger::key::{FileKey, NotAKey, PublicKey, Sign as _, SignFault};
use futures::future::BoxFuture;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use crate::Signer;
use crate::encrypted::{self, EncryptedKeyError};
use crate::passphrase::{self, Env, PassphraseError, Prompt};

/// A key that lies in a file.
#[derive(Debug)]
pub struct FileSigner {
    key: FileKey,
}

/// What to do if the key file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: a new key would be one that no trust root lists.
    Refuse,
    /// Make one.
    Create,
}

/// Why a key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can not be read or made.
    #[error("key {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than its owner may read or change it.
    #[error("key {}: has mode {mode:04o}; others may use it: chmod 600 it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a plain file.
    #[error("key {}: is no plain file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// No key.
    #[error("key {}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NotAKey,
    },
    /// It has a passphrase, and there is none to be had.
    #[error("key {}: {source}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PassphraseError,
    },
    /// It has a passphrase, and does not open.
    #[error("key {}: {source}", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EncryptedKeyError,
    },
}

/// Bytes of a key file that are read; a real one has about 120.
const KEY_FILE_BYTES_MAX: u64 = 4_096;

impl FileSigner {
    /// Reads the key file at `path`; one with a passphrase is refused.
    pub fn open(path: &Path, missing: Missing) -> Result<Self, KeyFileError> {
        Self::open_with(path, missing, &|_| None, None)
    }

    /// Reads the key file at `path`, with the passphrase that the environment or a person gives if it needs one.
    pub fn open_with(
        path: &Path,
        missing: Missing,
        env: Env<'_>,
        prompt: Option<Prompt>,
    ) -> Result<Self, KeyFileError> {
        match File::open(path) {
            Ok(file) => Self::read(path, file, env, prompt),
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && missing == Missing::Create =>
            {
                Self::create(path)
            }
            Err(source) => Err(KeyFileError::File {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Uses a key that is at hand.
    #[must_use]
    pub fn new(key: FileKey) -> Self {
        Self { key }
    }

    /// What is checked is the open file, so that it can not be another one when it is read.
    fn read(
        path: &Path,
        file: File,
        env: Env<'_>,
        prompt: Option<Prompt>,
    ) -> Result<Self, KeyFileError> {
        let wrap = |source| KeyFileError::File {
            path: path.to_owned(),
            source,
        };
        let metadata = file.metadata().map_err(wrap)?;
        if !metadata.is_file() {
            return Err(KeyFileError::Kind {
                path: path.to_owned(),
            });
        }
        let mode = metadata.mode() & 0o7777;
        if is_open_to_others(mode) {
            return Err(KeyFileError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(KEY_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(wrap)?;
        if text.trim_start().starts_with(encrypted::PEM_BEGIN) {
            let what = path.display().to_string();
            let passphrase = passphrase::existing(env, prompt, &what).map_err(|source| {
                KeyFileError::Passphrase {
                    path: path.to_owned(),
                    source,
                }
            })?;
            let key =
                encrypted::open(&text, &passphrase).map_err(|source| KeyFileError::Encrypted {
                    path: path.to_owned(),
                    source,
                })?;
            return Ok(Self { key });
        }
        let key = FileKey::from_pem(&text).map_err(|source| KeyFileError::Key {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { key })
    }

    fn create(path: &Path) -> Result<Self, KeyFileError> {
        let key = FileKey::generate(&SystemRandom::new()).map_err(|source| KeyFileError::Key {
            path: path.to_owned(),
            source,
        })?;
        write_key_file(path, &key.to_pem()).map_err(|source| KeyFileError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { key })
    }
}

/// Writes a new key file that only its owner may read, durably; never over another file.
pub fn write_key_file(path: &Path, pem: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

impl Signer for FileSigner {
    fn public(&self) -> PublicKey {
        self.key.public()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignFault>> {
        Box::pin(async move { self.key.sign(message) })
    }
}

/// Whether more than its owner may use a file of this mode. 0440 passes: no umask makes it, a Secret that is mounted for
/// the pod's group has it, and its owner can't be the pod's user.
#[must_use]
pub const fn is_open_to_others(mode: u32) -> bool {
    mode & 0o077 != 0 && mode & 0o7777 != 0o440
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use countersign_ledger::key::{RingVerifier, Verify as _};

    use super::*;

    #[tokio::test]
    async fn a_key_file_is_made_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealer-prod.key");
        let made = FileSigner::open(&path, Missing::Create).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let read = FileSigner::open(&path, Missing::Create).unwrap();
        assert_eq!(read.public(), made.public());
        let signature = read.sign(b"x").await.unwrap();
        assert!(RingVerifier.verify(&made.public(), b"x", &signature));
    }

    #[test]
    fn a_key_file_that_is_missing_is_not_made_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealer-prod.key");
        assert!(matches!(
            FileSigner::open(&path, Missing::Refuse),
            Err(KeyFileError::File { .. })
        ));
        assert!(!path.exists());
    }

    #[test]
    fn a_key_file_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealer-prod.key");
        FileSigner::open(&path, Missing::Create).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o660, 0o666, 0o444, 0o550] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = FileSigner::open(&path, Missing::Refuse).unwrap_err();
            assert!(
                matches!(refused, KeyFileError::Mode { mode: got, .. } if got == mode),
                "{refused}"
            );
        }
        // What a mounted Secret has: its owner is another one, and the group is the pod's own.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        FileSigner::open(&path, Missing::Refuse).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(FileSigner::open(&path, Missing::Refuse).is_ok());
    }

    #[test]
    fn a_key_with_a_passphrase_opens_by_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        write_key_file(&path, include_str!("testdata/openssl-scrypt.key")).unwrap();
        let say = |word: &'static str| {
            move |name: &str| (name == passphrase::PASSPHRASE).then(|| word.to_owned())
        };
        let open = |env: Env<'_>| FileSigner::open_with(&path, Missing::Refuse, env, None);
        let key = FileKey::from_seed(&[7; 32]).unwrap();
        assert_eq!(open(&say("swordfish")).unwrap().public(), key.public());
        let wrong = open(&say("sardine")).unwrap_err();
        assert!(
            matches!(wrong, KeyFileError::Encrypted { .. })
                && !wrong.to_string().contains("sardine"),
            "{wrong}"
        );
        assert!(matches!(
            open(&|_| None),
            Err(KeyFileError::Passphrase { .. })
        ));
    }

    #[test]
    fn a_folder_and_a_file_without_key_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let kind = FileSigner::open(folder.path(), Missing::Refuse).unwrap_err();
        assert!(matches!(kind, KeyFileError::Kind { .. }), "{kind}");
        let path = folder.path().join("x.key");
        write_key_file(&path, "nothing").unwrap();
        assert!(matches!(
            FileSigner::open(&path, Missing::Refuse),
            Err(KeyFileError::Key { .. })
        ));
        assert!(write_key_file(&path, "again").is_err());
    }
}
