//! The few calls of a file system that the state is made of, as a trait, so that tests fail each of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::limits::FILE_BYTES_MAX;

/// A file system.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// The content of a file; none if it isn't there.
    ///
    /// # Errors
    /// Of the file system; a file above the limit is one of kind `FileTooLarge`.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Names of the files in a folder.
    ///
    /// # Errors
    /// Of the file system.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Writes a file for its owner's eyes, over what was there. It may be lost until it is synced.
    ///
    /// # Errors
    /// Of the file system.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content of a file durable.
    ///
    /// # Errors
    /// Of the file system.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, over what had it. It may be lost until the folder is synced.
    ///
    /// # Errors
    /// Of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Of the file system.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// Replaces a file so that a crash leaves the old or the new one, never half; on return the new one is durable.
///
/// # Errors
/// Of the file system. Then either may be there.
pub fn replace(disk: &dyn Disk, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let scratch = scratch(folder, name);
    disk.write(&scratch, bytes)?;
    disk.sync_file(&scratch)?;
    disk.rename(&scratch, &folder.join(name))?;
    disk.sync_folder(folder)
}

/// Where a file is written before it has its name. One process writes in the folder, so one name is enough.
fn scratch(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.new"))
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?
            .write_all(bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Written through another handle of the same file: the kernel syncs the file, not the handle.
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}
