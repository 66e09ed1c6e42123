//! Where everything lies that can not be made again: objects that are written once and never changed.
//!
//! In: bytes under a path that is new. Out: the same bytes, or that somebody else was first. One operation decides
//! anything, create-if-absent: a local folder and every S3 store have it alike. One object is replaced, the log's
//! [`CHECKPOINT`]: it says how far the log is published and decides nothing. [`index`] is what can be made again.

mod backend;
#[cfg(test)]
pub(crate) mod failing;
pub mod index;
mod location;

pub use backend::{Backend, Objects, Written};
pub use index::Index;
pub use location::{Bucket, Location, LocationError};

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::Digest;

/// The store could not be asked, or did not answer: trying again may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store: {path}: {problem}")]
pub struct StoreFault {
    /// What was asked for.
    pub path: String,
    /// What went wrong.
    pub problem: String,
}

/// Why a blob could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] StoreFault),
    /// What lies under the name has another digest: the store is damaged, or somebody changed it.
    #[error("store: {path}: has the digest {got}")]
    Tampered {
        /// Where it lies.
        path: String,
        /// The digest of what lies there.
        got: Digest,
    },
}

/// Whose bytes lie under a path after a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// Ours: written now, or by an attempt whose answer was lost.
    Ours,
    /// Other bytes were there before.
    Theirs(Bytes),
}

/// The object store.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Store {
    /// The store at `location`; a local folder is made if it is missing.
    pub fn open(location: &Location) -> Result<Self, LocationError> {
        Ok(Self::new(Objects::open(location)?))
    }

    /// A store on `backend`.
    pub fn new(backend: impl Backend) -> Self {
        Self {
            backend: Arc::new(backend),
        }
    }

    /// A store that is gone with the process, for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Objects::in_memory())
    }

    /// The bytes under `path`, if there are any.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreFault> {
        self.backend.get(path).await
    }

    /// Whether anything lies under `path`.
    pub async fn exists(&self, path: &str) -> Result<bool, StoreFault> {
        self.backend.exists(path).await
    }

    /// Names directly in `folder` that sort after `after`, sorted.
    pub async fn list(&self, folder: &str, after: &str) -> Result<Vec<String>, StoreFault> {
        self.backend.list(folder, after).await
    }

    /// Writes `bytes` under `path` unless something lies there; durable when it returns.
    ///
    /// An answer that was lost is found by reading back. If nothing can be read back either, the write may still
    /// happen later: the caller must not go on as if it had not.
    ///
    /// # Cancel safety
    /// Dropped while it runs, the write may or may not happen.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreFault> {
        let fault = match self.backend.create(path, bytes.clone()).await {
            Ok(Written::Now) => return Ok(Created::Ours),
            Ok(Written::NotNew) => None,
            Err(fault) => Some(fault),
        };
        match (self.backend.get(path).await?, fault) {
            (Some(there), _) if there == bytes => Ok(Created::Ours),
            (Some(there), _) => Ok(Created::Theirs(there)),
            (None, Some(fault)) => Err(fault),
            (None, None) => Err(StoreFault {
                path: path.to_owned(),
                problem: "is there and can not be read".to_owned(),
            }),
        }
    }

    /// Writes `bytes` under `path`, in place of what lies there; durable when it returns. For [`CHECKPOINT`] alone: all
    /// else is written once.
    ///
    /// # Cancel safety
    /// Dropped while it runs, the write may or may not happen; a reader sees the old bytes or the new ones.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreFault> {
        self.backend.put(path, bytes).await
    }

    /// Removes a partial tile or bundle whose full one is there: the only things that are ever removed.
    ///
    /// # Cancel safety
    /// Dropped while it runs, it may or may not be removed.
    pub(crate) async fn remove_partial(&self, path: &str) -> Result<(), StoreFault> {
        self.backend.remove(path).await
    }

    /// Writes a blob under its digest, which it returns.
    ///
    /// # Cancel safety
    /// Dropped while it runs, the blob may or may not be written; it can be written again.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Digest, BlobError> {
        let digest = Digest::of(&bytes);
        let path = blob_path(&digest);
        match self.create(&path, bytes).await? {
            Created::Ours => Ok(digest),
            Created::Theirs(there) => Err(BlobError::Tampered {
                path,
                got: Digest::of(&there),
            }),
        }
    }

    /// The blob `digest`, if it is there; its bytes have that digest.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError> {
        self.named(blob_path(digest), digest).await
    }

    /// The object under `path`, whose bytes must have `digest`.
    pub(crate) async fn named(
        &self,
        path: String,
        digest: &Digest,
    ) -> Result<Option<Bytes>, BlobError> {
        let Some(bytes) = self.get(&path).await? else {
            return Ok(None);
        };
        let got = Digest::of(&bytes);
        if got == *digest {
            Ok(Some(bytes))
        } else {
            Err(BlobError::Tampered { path, got })
        }
    }
}

/// Where the log's newest published checkpoint lies.
pub const CHECKPOINT: &str = "checkpoint";

/// Where a blob lies.
#[must_use]
pub fn blob_path(digest: &Digest) -> String {
    let name = digest.to_string();
    format!("blobs/{}/{name}", name.get(..2).unwrap_or_default())
}

/// Where a staging object lies.
#[must_use]
pub fn staging_path(digest: &Digest) -> String {
    format!("staging/{digest}")
}

/// Where the trust root of `version` lies.
#[must_use]
pub fn trust_path(version: u64) -> String {
    format!("trust/{version}.json")
}

#[cfg(test)]
mod tests;
