//! Small JSON records of the serving side in the object store: written once, never changed, read by every replica.
//!
//! Registrations (`agents/`), join tokens (`join/`) and permits (`permits/`) are such records. A write that ended
//! without an answer is read back and compared, so that "done but reported as failed" counts as done.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits::RECORD_BYTES_MAX;

/// The store did not answer, or holds what is no record: try again, or look at the store.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] object_store::Error),
    /// A record can't be read.
    #[error("store: {path} is not a record of this hub: {source}")]
    Unreadable {
        /// Where it lies.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record is larger than any that is written.
    #[error("store: {path} has {bytes} bytes; records have at most {RECORD_BYTES_MAX}")]
    TooLarge {
        /// Where it lies.
        path: String,
        /// Its size.
        bytes: u64,
    },
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The record is there now.
    Created,
    /// Another record of that name was there before; it stays.
    Taken,
}

/// The records of one store.
#[derive(Debug, Clone)]
pub struct Records(Arc<dyn ObjectStore>);

impl Records {
    /// The records in that store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }

    /// Writes a record unless one of that name exists.
    pub async fn create<T: Serialize + Sync>(
        &self,
        path: &str,
        record: &T,
    ) -> Result<Written, RecordFault> {
        let bytes =
            Bytes::from(
                serde_json::to_vec(record).map_err(|source| RecordFault::Unreadable {
                    path: path.to_owned(),
                    source,
                })?,
            );
        self.create_bytes(path, bytes).await
    }

    /// Writes a record's bytes unless one of that name exists.
    pub async fn create_bytes(&self, path: &str, bytes: Bytes) -> Result<Written, RecordFault> {
        let options = PutOptions::from(PutMode::Create);
        let outcome = self
            .0
            .put_opts(&Path::from(path), bytes.clone().into(), options)
            .await;
        match outcome {
            Ok(_) => Ok(Written::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Written::Taken),
            Err(fault) => match self.read_bytes(path).await {
                Ok(Some(found)) if found == bytes => Ok(Written::Created),
                Ok(Some(_)) => Ok(Written::Taken),
                Ok(None) | Err(_) => Err(fault.into()),
            },
        }
    }

    /// A record's bytes, or none if there is no such record.
    pub async fn read_bytes(&self, path: &str) -> Result<Option<Bytes>, RecordFault> {
        let got = match self.0.get(&Path::from(path)).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        if got.meta.size > RECORD_BYTES_MAX as u64 {
            return Err(RecordFault::TooLarge {
                path: path.to_owned(),
                bytes: got.meta.size,
            });
        }
        Ok(Some(got.bytes().await?))
    }

    /// A record, or none if there is no such record.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, RecordFault> {
        let Some(bytes) = self.read_bytes(path).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| RecordFault::Unreadable {
                path: path.to_owned(),
                source,
            })
    }

    /// Paths of all records below a folder, in order.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, RecordFault> {
        let mut paths: Vec<String> = self
            .0
            .list(Some(&Path::from(folder)))
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await?;
        paths.sort();
        Ok(paths)
    }

    /// Removes a record that counts no longer.
    pub async fn remove(&self, path: &str) -> Result<(), RecordFault> {
        match self.0.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}
