//! Where a store is: a folder, or a bucket.

use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

/// Where a store is.
#[derive(Debug, Clone)]
pub enum Location {
    /// A local folder.
    Folder(PathBuf),
    /// A bucket of S3 or its kin.
    Bucket(Bucket),
}

/// A bucket, and a prefix in it. What is left out comes from the environment (`AWS_ENDPOINT`, `AWS_REGION`,
/// `AWS_ACCESS_KEY_ID`, …) or the machine's role.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix, without a slash at either end; may be empty.
    pub prefix: String,
    /// Another endpoint than AWS; `http://` only for a store on this machine or network.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Access key and secret key.
    pub credentials: Option<(SecretString, SecretString)>,
}

/// Why a store can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// No location.
    #[error("store: {0:?} must be a folder or s3://BUCKET/PREFIX")]
    Unreadable(String),
    /// The folder can not be made.
    #[error("store: {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client can not be made.
    #[error("store: {0}")]
    Client(#[from] object_store::Error),
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let unreadable = || LocationError::Unreadable(text.to_owned());
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(unreadable());
            }
            let prefix = prefix.trim_matches('/').to_owned();
            return Ok(Self::Bucket(Bucket {
                bucket: bucket.to_owned(),
                prefix,
                ..Bucket::default()
            }));
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            return Err(unreadable());
        }
        Ok(Self::Folder(PathBuf::from(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_told_apart() {
        for (text, want) in [
            ("data/store", "data/store"),
            ("file:///var/lib/store", "/var/lib/store"),
        ] {
            let Location::Folder(path) = text.parse().unwrap() else {
                panic!("{text}")
            };
            assert_eq!(path, PathBuf::from(want));
        }
        for (text, want) in [
            ("s3://ledger", ("ledger", "")),
            ("s3://ledger/a/b/", ("ledger", "a/b")),
        ] {
            let Location::Bucket(bucket) = text.parse().unwrap() else {
                panic!("{text}")
            };
            assert_eq!((bucket.bucket.as_str(), bucket.prefix.as_str()), want);
        }
        for text in ["", "s3://", "s3:///a", "gs://bucket"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
