//! What was sealed, read back: for agents who follow, and for the next commit, which carries parts of the last one on.

use bytes::Bytes;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::manifest::{Apps, Line, Section, SectionList};
use countersign_ledger::statement::{Source, Statement};
use countersign_ledger::{Digest, Refusal};

use super::{Heads, SealError, Sealer, batch};
use crate::store::BlobError;
use crate::store::index::IndexFault;

/// A sealed manifest, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// Its section list.
    pub list: SectionList,
    /// All lines.
    pub lines: Vec<Line>,
    /// The apps.
    pub apps: Apps,
}

impl Stored {
    /// All blobs that it names, itself included.
    #[must_use]
    pub fn names(&self) -> Vec<Digest> {
        batch::names(self.digest, &self.list, self.lines.iter())
    }
}

impl Sealer {
    /// The heads of all clusters.
    pub async fn heads(&self) -> Heads {
        self.state.lock().await.record.heads.clone()
    }

    /// Envelopes of `cluster` above a generation, ascending, at most `max`.
    pub fn chain(&self, cluster: &str, above: u64, max: usize) -> Result<Vec<Bytes>, IndexFault> {
        self.index.chain(cluster, above, max)
    }

    /// A blob by its digest.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError> {
        self.store.blob(digest).await
    }

    /// The section list with this digest, the manifest's.
    pub async fn section_list(&self, manifest: &Digest) -> Result<Option<SectionList>, SealError> {
        let Some(bytes) = self.store.blob(manifest).await? else {
            return Ok(None);
        };
        Ok(Some(SectionList::parse(&bytes).map_err(Refusal::from)?))
    }

    /// The whole manifest with this digest: what a cluster's head says that it runs.
    pub async fn manifest(&self, manifest: &Digest) -> Result<Option<Stored>, SealError> {
        let Some(list) = self.section_list(manifest).await? else {
            return Ok(None);
        };
        let missing = |digest: Digest| SealError::Head(Refusal::BlobMissing { digest });
        let apps = self
            .store
            .blob(&list.apps)
            .await?
            .ok_or_else(|| missing(list.apps))?;
        let apps = Apps::parse(&apps).map_err(Refusal::from)?;
        let mut lines = Vec::new();
        for named in &list.sections {
            let bytes = self
                .store
                .blob(&named.digest)
                .await?
                .ok_or_else(|| missing(named.digest))?;
            lines.extend(
                Section::parse(&named.prefix, &bytes)
                    .map_err(Refusal::from)?
                    .into_lines(),
            );
        }
        Ok(Some(Stored {
            digest: *manifest,
            list,
            lines,
            apps,
        }))
    }

    /// The newest `source` entry: the commit that the hub saw last.
    pub fn last_source(&self) -> Result<Option<Source>, SealError> {
        let Some((_, bytes)) = self.index.last_source()? else {
            return Ok(None);
        };
        let envelope = Envelope::parse(&bytes, &Limits::entry()).map_err(Refusal::from)?;
        match Statement::parse(envelope.payload()).map_err(Refusal::from)? {
            Statement::Source(source) => Ok(Some(source)),
            Statement::Desired(_)
            | Statement::Receipt(_)
            | Statement::Drift(_)
            | Statement::Enrolment(_)
            | Statement::Revocation(_)
            | Statement::TrustEntry(_)
            | Statement::Override(_)
            | Statement::Infrastructure(_)
            | Statement::Reproduction(_) => Ok(None),
        }
    }
}
