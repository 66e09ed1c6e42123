//! The calls to the hub, each with its end.

use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::verify::Seen;
use countersign_proto::agent::v1 as proto;

use super::REQUEST_BYTES;
use crate::pull::hub;
use crate::receipt::queue::Waiting;

/// Blobs of one request.
const BLOBS_PER_CALL: usize = 256;
/// An answer waits for witnesses at the hub; one that takes longer is not coming.
pub(super) const CALL_MAX: Duration = Duration::from_secs(20);

/// Hands in envelopes; or none, to ask how the log stands.
pub(super) async fn ask(
    client: &mut hub::Client,
    envelopes: Vec<Bytes>,
    seen: Option<&Seen>,
) -> Result<proto::ReceiptsResponse, hub::HubFault> {
    let request = proto::ReceiptsRequest {
        envelopes,
        tree_size: seen.map_or(0, |seen| seen.size),
    };
    let answer = tokio::time::timeout(CALL_MAX, client.receipts(request))
        .await
        .map_err(|_| late())??;
    Ok(answer.into_inner())
}

/// No answer came in time.
pub(super) fn late() -> tonic::Status {
    tonic::Status::deadline_exceeded("the hub did not answer receipts in time")
}

/// Blobs go first: the hub takes no envelope that names one it does not have.
pub(super) async fn put_blobs(
    client: &mut hub::Client,
    waiting: &[Waiting],
) -> Result<(), hub::HubFault> {
    let mut blobs: Vec<proto::Blob> = Vec::new();
    let mut bytes = 0;
    let all = waiting.iter().flat_map(|waiting| &waiting.item.blobs);
    for content in all {
        if !blobs.is_empty()
            && (blobs.len() >= BLOBS_PER_CALL || bytes + content.len() > REQUEST_BYTES)
        {
            put(client, std::mem::take(&mut blobs)).await?;
            bytes = 0;
        }
        bytes += content.len();
        blobs.push(proto::Blob {
            digest: Bytes::copy_from_slice(Digest::of(content).as_bytes()),
            content: content.clone(),
        });
    }
    if blobs.is_empty() {
        return Ok(());
    }
    put(client, blobs).await
}

async fn put(client: &mut hub::Client, blobs: Vec<proto::Blob>) -> Result<(), hub::HubFault> {
    let request = proto::PutBlobsRequest { blobs };
    tokio::time::timeout(CALL_MAX, client.put_blobs(request))
        .await
        .map_err(|_| late())??;
    Ok(())
}
