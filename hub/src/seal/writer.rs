//! The order of writes: blobs, staging object, claim. Before the claim nothing has happened; after it, all of it.

use bytes::Bytes;
use countersign_ledger::Digest;
use futures::{StreamExt as _, TryStreamExt as _};

use super::SealError;
use crate::store::{BlobError, Created, Store, StoreFault, staging_path};

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

/// Writes a staging object.
pub(super) async fn stage(store: &Store, staging: Bytes) -> Result<(), BlobError> {
    let path = staging_path(&Digest::of(&staging));
    match store.create(&path, staging).await? {
        Created::Ours => Ok(()),
        Created::Theirs(there) => Err(BlobError::Tampered {
            path,
            got: Digest::of(&there),
        }),
    }
}

/// Writes claim `number`: from here on the batch is part of the record.
pub(super) async fn claim(store: &Store, number: u64, claim: Bytes) -> Result<(), SealError> {
    match store
        .create(&countersign_ledger::claim::Claim::path(number), claim)
        .await
    {
        Ok(Created::Ours) => Ok(()),
        Ok(Created::Theirs(_)) => Err(SealError::ClaimLost { number }),
        Err(fault) => Err(SealError::ClaimUnknown { number, fault }),
    }
}
