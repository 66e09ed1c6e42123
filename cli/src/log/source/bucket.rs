//! A bucket of S3 or its kin; how it is reached comes from the environment (`AWS_ENDPOINT`, `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, …) or the machine's role.

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStoreExt as _};
use tokio::runtime::Runtime;

use super::{Fault, Files, NoSource, within};

/// A bucket.
pub struct Bucket {
    place: String,
    objects: PrefixStore<AmazonS3>,
    runtime: Runtime,
}

impl Bucket {
    /// The bucket `rest` is `BUCKET/PREFIX`.
    pub fn open(place: &str, rest: &str) -> Result<Self, NoSource> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(NoSource::Place(place.to_owned()));
        }
        let refused = |why: String| NoSource::Client {
            place: place.to_owned(),
            why,
        };
        let on_this_network =
            std::env::var("AWS_ENDPOINT").is_ok_and(|endpoint| endpoint.starts_with("http://"));
        let client = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_allow_http(on_this_network)
            .build()
            .map_err(|e| refused(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| refused(e.to_string()))?;
        Ok(Self {
            place: place.to_owned(),
            objects: PrefixStore::new(client, prefix.trim_matches('/')),
            runtime,
        })
    }
}

impl Files for Bucket {
    fn get(&self, path: &str, max: usize) -> Result<Option<Bytes>, Fault> {
        let fault = |error: &Error| Fault::Unreadable {
            path: format!("{}/{path}", self.place),
            why: error.to_string(),
        };
        let name = Path::from(path);
        let object = match self.runtime.block_on(self.objects.get(&name)) {
            Ok(object) => object,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(fault(&error)),
        };
        if object.meta.size > max as u64 {
            return Err(Fault::TooLarge {
                path: path.to_owned(),
                max,
            });
        }
        let bytes = self.runtime.block_on(object.bytes());
        within(path, bytes.map_err(|e| fault(&e))?, max).map(Some)
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}
