//! A pin → its bytes: from the folder of what was fetched, else over the web. What comes from either is checked.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::archive::ARCHIVE_BYTES_MAX;
use super::cache::Cache;
use super::error::SourceError;
use super::helm;
use super::lock::{ChartPin, CommitHex, LockedArtifact, LockedChart, LockedRepository, Sha256};
use super::oci::{self, MANIFEST_BYTES_MAX};
use super::web::Web;
use crate::desired::Sources;
use crate::failure::AppFailure;
use crate::tree::SharedTree;

/// Brings commits of other repositories.
pub trait GitSources: Send + Sync {
    /// The tree of a pinned commit.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped; what was fetched by then may be kept.
    fn tree(
        &self,
        pin: &LockedRepository,
    ) -> impl Future<Output = Result<SharedTree, SourceError>> + Send;
}

/// Says which commit a branch or tag is now; for locks alone.
pub trait GitRefs: GitSources {
    /// The commit.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped.
    fn commit(
        &self,
        url: &str,
        reference: &str,
    ) -> impl Future<Output = Result<CommitHex, SourceError>> + Send;
}

/// Fetches what is pinned.
#[derive(Debug)]
pub struct Fetcher<W, G> {
    web: W,
    git: G,
    cache: Cache,
    /// One download a digest at a time: the next who wants it finds it in the folder.
    under_way: Mutex<BTreeMap<Sha256, Arc<tokio::sync::Mutex<()>>>>,
}

impl<W: Web, G: GitSources> Fetcher<W, G> {
    /// Fetches by `web` and `git` into `cache`.
    pub fn new(web: W, git: G, cache: Cache) -> Self {
        Self {
            web,
            git,
            cache,
            under_way: Mutex::default(),
        }
    }

    /// How web servers are asked.
    pub fn web(&self) -> &W {
        &self.web
    }

    /// How repositories are asked.
    pub fn git(&self) -> &G {
        &self.git
    }

    fn turn(&self, digest: &Sha256) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds have done their work.
        all.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(all.entry(digest.clone()).or_default())
    }

    /// A chart's archive.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped.
    pub async fn archive(&self, pin: &ChartPin) -> Result<Bytes, SourceError> {
        let turn = self.turn(pin.digest());
        let _turn = turn.lock().await;
        match pin {
            ChartPin::Chart(pin) => {
                if let Some(known) = self.cache.get(&pin.digest, ARCHIVE_BYTES_MAX).await? {
                    return Ok(known);
                }
                let content = helm::download(&self.web, pin).await?;
                self.cache.put(&pin.digest, content.clone()).await?;
                Ok(content)
            }
            ChartPin::Artifact(pin) => self.layer(pin).await,
        }
    }

    async fn layer(&self, pin: &LockedArtifact) -> Result<Bytes, SourceError> {
        let mut visit = oci::Visit::new(&self.web, &pin.url)?;
        let manifest = match self.cache.get(&pin.digest, MANIFEST_BYTES_MAX).await? {
            Some(known) => known,
            None => {
                let manifest = visit.manifest(pin).await?;
                self.cache.put(&pin.digest, manifest.clone()).await?;
                manifest
            }
        };
        let layer = oci::chart_layer(&manifest, &format!("chart {} {}", pin.url, pin.version))?;
        if let Some(known) = self.cache.get(&layer.digest, ARCHIVE_BYTES_MAX).await? {
            return Ok(known);
        }
        let content = visit.layer(&layer).await?;
        self.cache.put(&layer.digest, content.clone()).await?;
        Ok(content)
    }

    /// Keeps something of this digest.
    pub(super) async fn keep(&self, digest: &Sha256, content: Bytes) -> Result<(), SourceError> {
        self.cache.put(digest, content).await
    }
}

impl<W: Web, G: GitSources> Sources for Fetcher<W, G> {
    async fn chart(&self, pin: &LockedChart) -> Result<Bytes, AppFailure> {
        Ok(self.archive(&ChartPin::Chart(pin.clone())).await?)
    }

    async fn artifact(&self, pin: &LockedArtifact) -> Result<Bytes, AppFailure> {
        Ok(self.archive(&ChartPin::Artifact(pin.clone())).await?)
    }

    async fn repository(&self, pin: &LockedRepository) -> Result<SharedTree, AppFailure> {
        Ok(self.git.tree(pin).await?)
    }
}
