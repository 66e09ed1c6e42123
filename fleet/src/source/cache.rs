//! What was fetched, by digest: a file each, checked whenever it is used.
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::SourceError;
use super::lock::Sha256;

/// A folder of files that are named by their SHA-256. It may be deleted at any time.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

fn fault(error: &dyn std::fmt::Display) -> SourceError {
    SourceError::Cache {
        why: error.to_string(),
    }
}

impl Cache {
    /// In this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, digest: &Sha256) -> PathBuf {
        self.folder.join(digest.hex())
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
        let (folder, path) = (self.folder.clone(), self.path(digest));
        let write = move || -> std::io::Result<()> {
            use std::os::unix::fs::DirBuilderExt as _;
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            file.write_all(&content)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
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
        let file = cache.folder().join(digest.hex());
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
}
