//! An S3 store whose conditional writes are atomic, as a handle.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use object_store::{ObjectStore, aws::AmazonS3Builder};
use tempfile::TempDir;

use crate::{
    install_tls, port,
    process::{Process, Spec},
    tool::Tool,
};

const START_LIMIT: Duration = Duration::from_secs(60);
const REGION: &str = "us-east-1";
const ACCESS_KEY: &str = "testkey";
const SECRET_KEY: &str = "testsecret";

/// A running server with one bucket; it ends, and its data goes, when this is dropped.
#[derive(Debug)]
pub struct S3 {
    /// The process, for a crash in the middle of something.
    pub process: Process,
    address: SocketAddr,
    bucket: String,
    _folder: TempDir,
}

impl S3 {
    /// Starts a server with an empty bucket.
    ///
    /// # Errors
    /// If the program can't be built or does not start. Its folder needs a file system with user attributes (ext4, xfs,
    /// btrfs, a tmpfs of Linux 6.6 or newer).
    pub async fn start(bucket: &str) -> anyhow::Result<S3> {
        install_tls();
        let program = tokio::task::spawn_blocking(|| Tool::Versitygw.path()).await??;
        let folder = tempfile::Builder::new()
            .prefix("countersign-s3-")
            .tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join(bucket))?; // a folder at the top is a bucket
        let address = port::free()?;
        let mut process = Spec::new("versitygw", program, folder.path())
            .args(["--port", &address.to_string(), "posix"])
            .arg(&data)
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY)
            .start()?;
        process.listening(address, START_LIMIT).await?;
        Ok(S3 {
            process,
            address,
            bucket: bucket.to_owned(),
            _folder: folder,
        })
    }

    /// The server's URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What a program needs in its environment to use it.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
    }

    /// The bucket as an object store.
    ///
    /// # Errors
    /// If it can't be configured.
    pub fn store(&self) -> anyhow::Result<Arc<dyn ObjectStore>> {
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_virtual_hosted_style_request(false)
            .with_bucket_name(&self.bucket)
            .with_region(REGION)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build()
            .context("configure the object store")?;
        Ok(Arc::new(store))
    }
}
