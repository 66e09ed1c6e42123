//! Blobs by digest, to the cluster whose heads name them.

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1 as wire;
use countersign_proto::limits::{BLOB_BYTES_MAX, DIGESTS_PER_REQUEST_MAX};
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Code, Status};

use super::heads::SealedFault;
use super::limits::BLOB_READS_AT_ONCE;
use super::refuse::{fault, refuse};
use super::state::{Cluster, State};

/// Reads a request: digests of the right length, not too many, all of them this cluster's.
pub(crate) fn parse(
    cluster: &Cluster,
    request: &wire::BlobsRequest,
) -> Result<Vec<Digest>, Status> {
    if request.digests.len() > DIGESTS_PER_REQUEST_MAX {
        return Err(Status::invalid_argument(format!(
            "at most {DIGESTS_PER_REQUEST_MAX} digests a request, got {}",
            request.digests.len()
        )));
    }
    request
        .digests
        .iter()
        .map(|digest| {
            let name = <[u8; 32]>::try_from(digest.as_ref())
                .map(Digest::from_bytes)
                .map_err(|_| Status::invalid_argument("a digest has 32 bytes"))?;
            if cluster.newest.may_read(&name) {
                Ok(name)
            } else {
                Err(refuse(
                    Code::FailedPrecondition,
                    "BLOB_NOT_NAMED",
                    format!("no newest manifest of this cluster names blob {}", name),
                ))
            }
        })
        .collect()
}

/// The blobs, in the order asked for.
pub(crate) fn send(
    state: Arc<State>,
    names: Vec<Digest>,
) -> BoxStream<'static, Result<wire::Blob, Status>> {
    stream::iter(names)
        .map(move |name| {
            let state = state.clone();
            async move { read(&state, name).await }
        })
        .buffered(BLOB_READS_AT_ONCE)
        .boxed()
}

/// Reads one blob; what the store holds is believed only if it hashes to its name.
pub(crate) async fn read(state: &State, name: Digest) -> Result<wire::Blob, Status> {
    let content: Bytes = state
        .sealed
        .blob(&name)
        .await
        .map_err(|error| unread(state, &error))?
        .ok_or_else(|| damaged(state, &name, "is missing"))?;
    if Digest::of(&content) != name {
        return Err(unread(state, &SealedFault::Damaged(name)));
    }
    if content.len() > BLOB_BYTES_MAX {
        return Err(damaged(state, &name, "is larger than any blob may be"));
    }
    state.metrics.blobs_sent.inc();
    state.metrics.blob_bytes_sent.inc_by(content.len() as u64);
    Ok(wire::Blob {
        digest: Bytes::copy_from_slice(name.as_bytes()),
        content,
    })
}

/// How a call ends whose answer can't be read: what is damaged stays so until a person looks.
pub(crate) fn unread(state: &State, error: &SealedFault) -> Status {
    match error {
        SealedFault::Unreadable(_) => fault(error),
        SealedFault::Damaged(name) => damaged(state, name, "has other content than its name says"),
    }
}

fn damaged(state: &State, name: &Digest, what: &str) -> Status {
    state.metrics.blobs_damaged.inc();
    let text = format!("blob {} {what}; restore it from a copy of the store", name);
    state.alarm("BLOB_DAMAGED", text.clone());
    refuse(Code::DataLoss, "BLOB_DAMAGED", text)
}
