//! The few things that are asked of a store, and their one real answer: the `object_store` crate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    RetryConfig,
};
use secrecy::ExposeSecret as _;

use super::location::Bucket;
use super::{Location, LocationError, StoreFault};

/// How long one request may take; a claim that hangs longer is read back.
const REQUEST_MAX: Duration = Duration::from_secs(20);
/// How long a request is tried again.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What became of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was written now.
    Now,
    /// Something was there.
    NotNew,
}

/// What is asked of a store.
pub trait Backend: Send + Sync + 'static {
    /// The bytes under `path`.
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreFault>>;
    /// Whether anything lies under `path`.
    fn exists<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bool, StoreFault>>;
    /// Writes `bytes` under `path` unless something lies there; durable when it answers.
    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Written, StoreFault>>;
    /// Writes `bytes` under `path`, in place of what lies there; durable when it answers, and never seen half-written.
    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreFault>>;
    /// Removes what lies under `path`; nothing lying there is no fault.
    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), StoreFault>>;
    /// Names directly in `folder` that sort after `after`, sorted.
    fn list<'a>(
        &'a self,
        folder: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreFault>>;
}

/// A local folder, a bucket, or memory.
pub struct Objects {
    objects: Arc<dyn ObjectStore>,
}

impl Objects {
    /// Opens `location`; a folder is made if it is missing.
    pub fn open(location: &Location) -> Result<Self, LocationError> {
        let objects: Arc<dyn ObjectStore> = match location {
            Location::Folder(path) => {
                std::fs::create_dir_all(path).map_err(|source| LocationError::Folder {
                    path: path.clone(),
                    source,
                })?;
                Arc::new(LocalFileSystem::new_with_prefix(path)?.with_fsync(true))
            }
            Location::Bucket(bucket) => {
                Arc::new(PrefixStore::new(client(bucket)?, bucket.prefix.as_str()))
            }
        };
        Ok(Self { objects })
    }

    /// The objects as they are, for records that are not part of the signed ones.
    #[must_use]
    pub fn raw(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// A store in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            objects: Arc::new(InMemory::new()),
        }
    }
}

fn client(bucket: &Bucket) -> Result<AmazonS3, LocationError> {
    let retry = RetryConfig {
        max_retries: 5,
        retry_timeout: RETRY_MAX,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&bucket.bucket)
        .with_client_options(ClientOptions::new().with_timeout(REQUEST_MAX))
        .with_retry(retry);
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(region) = &bucket.region {
        builder = builder.with_region(region);
    }
    if let Some((id, secret)) = &bucket.credentials {
        builder = builder
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret());
    }
    Ok(builder.build()?)
}

fn fault(path: &str, error: &Error) -> StoreFault {
    StoreFault {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

fn parse(path: &str) -> Result<Path, StoreFault> {
    Path::parse(path).map_err(|error| StoreFault {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

impl Backend for Objects {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            let found = match self.objects.get(&parse(path)?).await {
                Ok(found) => found,
                Err(Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(fault(path, &error)),
            };
            found
                .bytes()
                .await
                .map(Some)
                .map_err(|error| fault(path, &error))
        })
    }

    fn exists<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bool, StoreFault>> {
        Box::pin(async move {
            match self.objects.head(&parse(path)?).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(fault(path, &error)),
            }
        })
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Written, StoreFault>> {
        Box::pin(async move {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            match self
                .objects
                .put_opts(&parse(path)?, PutPayload::from(bytes), options)
                .await
            {
                Ok(_) => Ok(Written::Now),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    Ok(Written::NotNew)
                }
                Err(error) => Err(fault(path, &error)),
            }
        })
    }

    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            match self.objects.put(&parse(path)?, bytes.into()).await {
                Ok(_) => Ok(()),
                Err(error) => Err(fault(path, &error)),
            }
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            match self.objects.delete(&parse(path)?).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(fault(path, &error)),
            }
        })
    }

    fn list<'a>(
        &'a self,
        folder: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreFault>> {
        Box::pin(async move {
            let prefix = parse(folder)?;
            let found = if after.is_empty() {
                self.objects.list(Some(&prefix))
            } else {
                self.objects
                    .list_with_offset(Some(&prefix), &parse(&format!("{folder}/{after}"))?)
            };
            let names = found.try_filter_map(|meta| async move {
                Ok(meta.location.filename().map(str::to_owned))
            });
            let mut names: Vec<String> = names
                .try_collect()
                .await
                .map_err(|error| fault(folder, &error))?;
            names.sort();
            Ok(names)
        })
    }
}
