//! Where a log's files come from: a folder, a bucket, or a server of static files. Nothing that comes from here is
//! trusted; whatever an answer rests on is hashed up to the checkpoint's root.

mod bucket;
mod web;

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use countersign_ledger::digest::Digest;

use crate::exit::Failure;
use crate::output::safe;

/// Which log to read.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// The log: a folder, s3://BUCKET/PREFIX, or https://HOST/PATH; "checkpoint" and "tile/" lie in it.
    #[arg(value_name = "LOG")]
    pub log: String,
    /// The certificate authority that counts for https, as PEM; the system's, if none.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl SourceArgs {
    /// The files that the arguments name. Nothing is read yet.
    pub fn open(&self) -> Result<Box<dyn Files>, Failure> {
        Ok(open(&self.log, self.ca.as_deref())?)
    }
}

/// Files by their path in the log.
pub trait Files: Sync + Send {
    /// The file's bytes; nothing if it isn't there. More than `max` bytes are refused.
    fn get(&self, path: &str, max: usize) -> Result<Option<Bytes>, Fault>;
    /// What it is, for people.
    fn place(&self) -> String;
    /// How many files it pays to ask for at once.
    fn at_once(&self) -> usize {
        16
    }
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Reading failed: trying again may help.
    #[error("{path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// More bytes than such a file may have.
    #[error("{path}: has more than the {max} bytes that such a file can have")]
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

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let text = safe(&fault.to_string());
        match fault {
            Fault::Unreadable { .. } => Self::Fault(text),
            Fault::TooLarge { .. } => Self::Negative(text),
        }
    }
}

impl From<NoSource> for Failure {
    fn from(none: NoSource) -> Self {
        Self::Mistake(safe(&none.to_string()))
    }
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
            path: self.0.join(path).display().to_string(),
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
        let length = file.metadata().map_or(0, |known| known.len());
        whole(file, path, length, max)
            .map_err(|error| fault(&error))?
            .map(Some)
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn at_once(&self) -> usize {
        1
    }
}

/// All of it, if that is no more than `max` bytes. `length` is what it says of itself.
fn whole(
    from: impl Read,
    path: &str,
    length: u64,
    max: usize,
) -> std::io::Result<Result<Bytes, Fault>> {
    let expected = usize::try_from(length).unwrap_or(max).min(max);
    let mut bytes = Vec::with_capacity(expected + 1);
    from.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(within(path, bytes.into(), max))
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

    #[test]
    fn a_file_without_a_certificate_is_no_authority() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("ca.pem");
        std::fs::write(&empty, b"none\n").unwrap();
        let opened = open("https://hub.example/log", Some(&empty));
        assert!(matches!(opened.err(), Some(NoSource::Client { .. })));
    }
}
