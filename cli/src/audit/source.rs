//! Where a log's files come from: a folder, a bucket, or a server of static files. Nothing that comes from here is
//! trusted; whatever an answer rests on is hashed up to the checkpoint's root.

mod bucket;
mod web;

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use countersign_ledger::digest::Digest;

/// Files by their path in the log.
pub trait Files: Sync + Send {
    /// The file's bytes; nothing if it isn't there. More than `max` bytes are a fault.
    fn get(&self, path: &str, max: usize) -> Result<Option<Bytes>, Fault>;
    /// What it is, for people.
    fn place(&self) -> String;
}

/// A file that could not be read: trying again may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Reading failed.
    #[error("{path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// More bytes than such a file may have.
    #[error("{path}: has more than {max} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// The limit.
        max: usize,
    },
}

/// Why there is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSource {
    /// Neither a folder nor an address.
    #[error("{0:?} must be a folder, s3://BUCKET/PREFIX, or a URL with http:// or https://")]
    Place(String),
    /// The client can't be made.
    #[error("{place}: {why}")]
    Client {
        /// The place.
        place: String,
        /// Why.
        why: String,
    },
}

/// Opens the place that a person named. `ca` is a file with the one certificate authority that counts for HTTPS.
pub fn open(place: &str, ca: Option<&Path>) -> Result<Box<dyn Files>, NoSource> {
    if let Some(rest) = place.strip_prefix("s3://") {
        return Ok(Box::new(bucket::Bucket::open(place, rest)?));
    }
    if place.starts_with("http://") || place.starts_with("https://") {
        return Ok(Box::new(web::Web::open(place, ca)?));
    }
    let path = place.strip_prefix("file://").unwrap_or(place);
    if path.is_empty() || path.contains("://") || !Path::new(path).is_dir() {
        return Err(NoSource::Place(place.to_owned()));
    }
    Ok(Box::new(Folder(PathBuf::from(path))))
}

/// The paths under which a blob may lie: the store's, and the hub's address.
pub fn blob_paths(digest: &Digest) -> [String; 2] {
    let hex = digest.to_string();
    let (head, _) = hex.split_at(2);
    [format!("blobs/{head}/{hex}"), format!("blobs/{hex}")]
}

/// A folder: a store, or a copy of one.
pub struct Folder(pub PathBuf);

impl Files for Folder {
    fn get(&self, path: &str, max: usize) -> Result<Option<Bytes>, Fault> {
        let fault = |error: &std::io::Error| Fault::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let file = match std::fs::File::open(self.0.join(path)) {
            Ok(file) => file,
            // A partial tile's folder may be a file's name elsewhere.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(fault(&error)),
        };
        let mut bytes = Vec::new();
        file.take(max as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fault(&error))?;
        within(path, bytes.into(), max).map(Some)
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

fn within(path: &str, bytes: Bytes, max: usize) -> Result<Bytes, Fault> {
    if bytes.len() > max {
        return Err(Fault::TooLarge {
            path: path.to_owned(),
            max,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_what_is_missing_and_what_is_too_large() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("checkpoint"), b"12345").unwrap();
        let files = open(folder.path().to_str().unwrap(), None).unwrap();
        assert_eq!(files.get("checkpoint", 5).unwrap().unwrap(), &b"12345"[..]);
        assert_eq!(files.get("tile/0/000", 5), Ok(None));
        assert_eq!(files.get("checkpoint/x", 5), Ok(None));
        let large = files.get("checkpoint", 4);
        assert!(
            matches!(large, Err(Fault::TooLarge { max: 4, .. })),
            "{large:?}"
        );
    }

    #[test]
    fn other_places_are_refused() {
        for place in ["", "gs://bucket", "/no/such/folder", "s3://"] {
            assert!(open(place, None).is_err(), "{place}");
        }
    }
}
