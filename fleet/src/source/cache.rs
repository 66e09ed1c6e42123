//! What was fetched, by digest: a file each, checked whenever it is used.
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::SourceError;
use super::evict;
use super::lock::Sha256;

/// Bytes of all that is kept; what was not used for longest goes. A chart has some 100 KiB.
pub const CACHE_BYTES_MAX: u64 = 1 << 30;

/// A folder of files that are named by their SHA-256. It may be deleted at any time.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    bytes_max: u64,
}

fn fault(error: &dyn std::fmt::Display) -> SourceError {
    SourceError::Cache {
        why: error.to_string(),
    }
}

/// Folder of the archives: other things lie beside them.
const ARCHIVES: &str = "archives";

impl Cache {
    /// In this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: CACHE_BYTES_MAX,
        }
    }

    /// The same with another bound.
    #[must_use]
    pub fn of_at_most(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, digest: &Sha256) -> PathBuf {
        self.folder.join(ARCHIVES).join(digest.hex())
    }

    /// What is there under this digest. A file with other content is removed and counts as absent.
    ///
    /// # Errors
    /// [`SourceError::Cache`]
    /// # Cancel safety
    /// May be dropped.
    pub async fn get(&self, digest: &Sha256, bytes_max: u64) -> Result<Option<Bytes>, SourceError> {
        let (path, digest) = (self.path(digest), digest.clone());
        let read = move || {
            match std::fs::metadata(&path) {
                Ok(known) if known.is_file() && known.len() <= bytes_max => {}
                Ok(_) => {
                    let _ = std::fs::remove_file(&path);
                    return Ok(None);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(fault(&error)),
            }
            let content = std::fs::read(&path).map_err(|error| fault(&error))?;
            if Sha256::of(&content) == digest {
                evict::used(&path);
                return Ok(Some(Bytes::from(content)));
            }
            tracing::warn!(%digest, "a fetched source was damaged on disk; it is fetched again");
            std::fs::remove_file(&path).map_err(|error| fault(&error))?;
            Ok(None)
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| fault(&error))?
    }

    /// Keeps what has this digest: whole or not at all.
    ///
    /// # Errors
    /// [`SourceError::Cache`]
    /// # Cancel safety
    /// May be dropped; the file is written or not.
    pub async fn put(&self, digest: &Sha256, content: Bytes) -> Result<(), SourceError> {
        let (folder, path) = (self.folder.join(ARCHIVES), self.path(digest));
        let bytes_max = self.bytes_max;
        let write = move || -> std::io::Result<()> {
            use std::os::unix::fs::DirBuilderExt as _;
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            file.write_all(&content)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            evict::evict(&folder, bytes_max, Some(&path));
            Ok(())
        };
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|error| fault(&error))?
            .map_err(|error| fault(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_changed_on_disk_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("sources"));
        let digest = Sha256::of(b"chart");
        assert_eq!(cache.get(&digest, 100).await.unwrap(), None);
        cache
            .put(&digest, Bytes::from_static(b"chart"))
            .await
            .unwrap();
        assert_eq!(cache.get(&digest, 100).await.unwrap().unwrap(), "chart");
        let file = cache.path(&digest);
        std::fs::write(&file, "shark").unwrap();
        assert_eq!(cache.get(&digest, 100).await.unwrap(), None);
        assert!(!file.exists());
        cache
            .put(&digest, Bytes::from_static(b"chart"))
            .await
            .unwrap();
        assert_eq!(
            cache.get(&digest, 4).await.unwrap(),
            None,
            "too large to be it"
        );
    }

    #[tokio::test]
    async fn what_was_not_used_for_longest_goes_when_it_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path()).of_at_most(100);
        let put = async |byte: u8| {
            let content = Bytes::from(vec![byte; 40]);
            let digest = Sha256::of(&content);
            cache.put(&digest, content).await.unwrap();
            digest
        };
        let there = async |digest: &Sha256| cache.get(digest, 100).await.unwrap().is_some();
        let (first, second) = (put(1).await, put(2).await);
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        for digest in [&first, &second] {
            let file = std::fs::File::options()
                .append(true)
                .open(cache.path(digest));
            file.unwrap().set_modified(past).unwrap();
        }
        assert!(there(&first).await);
        let third = put(3).await;
        assert!(!there(&second).await, "nobody used it since");
        assert!(there(&first).await || there(&third).await);
        assert!(there(&third).await, "what was just fetched is needed");
    }
}
