//! The queue's folder: files are replaced whole, and a name is on the disk before anything follows it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use countersign_ledger::key::PublicKey;

use super::Base;
use crate::saved;

/// The file of the envelopes, and the one beside it.
pub(super) const LOG: &str = "queue.log";
pub(super) const BASE: &str = "base.json";

/// What is kept beside the envelopes; none before the chain has begun.
pub(super) fn read_base(folder: &Path) -> io::Result<Option<Base>> {
    match fs::read(folder.join(BASE)) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an earlier key signed and could not send stays for a person.
pub(super) fn set_aside(folder: &Path, key: &PublicKey) -> io::Result<()> {
    let aside = folder.join(format!("of-{}", key.id()));
    saved::private_dir(&aside)?;
    for name in [LOG, BASE] {
        match fs::rename(folder.join(name), aside.join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_folder(folder)
}

/// A file under another name, synced, then under its own.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let scratch = folder.join("scratch");
    let mut file = saved::private(OpenOptions::new().write(true).create(true).truncate(true))
        .open(&scratch)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&scratch, folder.join(name))?;
    sync_folder(folder)
}

/// The names in it are durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
