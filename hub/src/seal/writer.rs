//! The order of writes: blobs, staging object, claim. Before the claim nothing has happened; after it, all of it.

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::Digest;
use futures::{StreamExt as _, TryStreamExt as _};

use super::SealError;
use crate::log::chain::Chain;
use crate::log::{Entry, Log, sequencer};
use crate::store::{BlobError, Index, Store, StoreFault};

/// Blobs written at once: a local disk groups their fsyncs, S3 answers in parallel.
const WRITES_MAX: usize = 32;

/// Writes blobs, in any order.
pub(super) async fn put_blobs(store: &Store, blobs: Vec<Bytes>) -> Result<(), BlobError> {
    let writes = futures::stream::iter(blobs.into_iter().map(|bytes| store.put_blob(bytes)));
    writes
        .buffer_unordered(WRITES_MAX)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// Those of `blobs` that are not in the store.
pub(super) async fn missing(
    store: &Store,
    blobs: Vec<Digest>,
) -> Result<Option<Digest>, StoreFault> {
    let asked = futures::stream::iter(blobs.into_iter().map(|digest| async move {
        store
            .exists(&crate::store::blob_path(&digest))
            .await
            .map(|there| (!there).then_some(digest))
    }));
    let missing = asked
        .buffer_unordered(WRITES_MAX)
        .try_filter_map(|missing| async move { Ok(missing) });
    futures::pin_mut!(missing);
    missing.try_next().await
}

/// What makes a batch part of the record: the log, or in a fleet without one the claims alone.
pub(super) enum Writer {
    /// The log.
    Log(Log),
    /// Claims without checkpoint.
    Claims(Claims),
}

/// Writes claims of a fleet without a log.
pub(super) struct Claims {
    pub(super) store: Store,
    pub(super) index: Arc<Index>,
    pub(super) chain: Chain,
}

impl Writer {
    /// The number of the next claim, if nobody else writes one before.
    pub(super) fn next(&self) -> u64 {
        match self {
            Self::Log(log) => log
                .claimed()
                .borrow()
                .as_ref()
                .map_or(0, |signed| signed.claim.saturating_add(1)),
            Self::Claims(claims) => claims.chain.next,
        }
    }

    /// Makes `entries` part of the record; the claim, if one was needed.
    pub(super) async fn append(
        &mut self,
        entries: Vec<Entry>,
        blobs: Vec<Digest>,
    ) -> Result<Option<u64>, SealError> {
        match self {
            Self::Log(log) => Ok(log.append_read(entries, blobs).await?.claim),
            Self::Claims(claims) => claims.append(entries, blobs).await,
        }
    }
}

impl Claims {
    async fn append(
        &mut self,
        entries: Vec<Entry>,
        blobs: Vec<Digest>,
    ) -> Result<Option<u64>, SealError> {
        let planned = sequencer::plan(&self.index, &self.chain.frontier, vec![(entries, blobs)])?;
        if planned.grown.leaves.is_empty() {
            return Ok(None);
        }
        sequencer::stage(&self.store, &planned.digest, planned.staging.clone()).await?;
        let claim = self.chain.claim(planned.digest, None);
        let bytes = Bytes::from(claim.bytes());
        let digest = Digest::of(&bytes);
        sequencer::claim(&self.store, claim.number, bytes).await?;
        let filed = self
            .index
            .file(&planned.filing(claim.number, &digest, None));
        filed.map_err(|fault| SealError::NotFiled {
            number: claim.number,
            fault: Arc::new(fault),
        })?;
        self.chain.advance(&digest, planned.grown.frontier, None);
        Ok(Some(claim.number))
    }
}
