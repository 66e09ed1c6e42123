//! A new folder for keys: never over older ones, and each key file its owner's alone from the moment that it exists.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::exit::Failure;

pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, or takes an empty one.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::file(path, &e);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(Failure::Mistake(format!(
                "{}: is not empty; keys are never written over others, name a new folder",
                path.display()
            )));
        }
        Ok(Self(path.to_owned()))
    }

    pub(super) fn folder(&self, name: &str) -> Result<(), Failure> {
        let path = self.0.join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| Failure::file(&path, &e))
    }

    pub(super) fn secret(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.write(name, bytes, 0o600)
    }

    pub(super) fn public(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.write(name, bytes, 0o644)
    }

    /// The files' names are on the disk too.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        for folder in [self.0.join("hub/keys"), self.0.join("hub"), self.0.clone()] {
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|e| Failure::file(&folder, &e))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Failure> {
        let path = self.0.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(|e| Failure::file(&path, &e))
    }
}

/// Writes a key file that does not exist yet, its owner's alone.
pub(super) fn secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|e| Failure::file(path, &e))
}

/// Writes a public file whole or not at all, over an older one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    staged(path, bytes)?
        .persist(path)
        .map(drop)
        .map_err(|e| Failure::file(path, &e.error))
}

/// Writes a public file whole or not at all; false if there is one already.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    match staged(path, bytes)?.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Failure::file(path, &e.error)),
    }
}

fn staged(path: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || {
        let mut file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|e| Failure::file(path, &e))
}
