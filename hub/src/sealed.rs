//! What was sealed, as the serving side wants it: heads with the blobs that an agent needs next.

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::Digest;
use futures::future::BoxFuture;

use crate::seal::{Head, SealError, Sealed as Batched, Sealer};
use crate::serve::{self, SealedFault};
use crate::store::BlobError;

/// The record, read back.
pub struct Record(pub Arc<Sealer>);

impl serve::Sealed for Record {
    fn envelopes<'a>(
        &'a self,
        cluster: &'a str,
        above: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, SealedFault>> {
        Box::pin(async move {
            self.0
                .chain(cluster, above, limit)
                .map_err(|fault| SealedFault::Unreadable(fault.to_string()))
        })
    }

    fn blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Option<Bytes>, SealedFault>> {
        Box::pin(async move {
            self.0.blob(digest).await.map_err(|error| match error {
                BlobError::Tampered { .. } => SealedFault::Damaged(*digest),
                BlobError::Fault(fault) => SealedFault::Unreadable(fault.to_string()),
            })
        })
    }
}

/// A head that was sealed just now.
#[must_use]
pub fn fresh(sealed: Batched) -> serve::Head {
    head(&sealed.head, sealed.likely, sealed.names)
}

/// A head from before the start, with what a newcomer needs first.
///
/// # Errors
/// [`SealError`] if its manifest can't be read.
pub async fn reread(sealer: &Sealer, newest: &Head) -> Result<Option<serve::Head>, SealError> {
    let Some(stored) = sealer.manifest(&newest.desired.manifest).await? else {
        return Ok(None);
    };
    Ok(Some(head(newest, Vec::new(), stored.names())))
}

fn head(newest: &Head, likely: Vec<(Digest, Bytes)>, names: Vec<Digest>) -> serve::Head {
    serve::Head::new(
        newest.desired.generation,
        newest.envelope.clone(),
        newest.desired.manifest,
        likely,
        names,
    )
}
