//! What clusters countersign: receipts and drift records are judged, appended to the log, and proven to be in it.
//!
//! The chain of a receipt key has one end, so a cluster's requests are judged one after the other. What was appended once
//! keeps its place however often it comes; what contradicts it is kept beside it and raises an alarm.

mod judging;
mod proofs;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::PublicKey;
use countersign_ledger::receipt::{Chain, Equivocation, ReceiptRefusal, Speaker};
use countersign_proto::agent::v1 as wire;
use countersign_proto::limits::RECEIPTS_PER_REQUEST_MAX;
use tonic::{Code, Status};

use super::enrol::Enrolling;
use super::identity::Peer;
use super::limits::{PUT_BLOBS_PER_REQUEST_MAX, RECEIPT_BLOB_BYTES_MAX};
use super::nonce::Shows;
use super::refuse::{fault, refuse};
use super::state::{Cluster, State};
use crate::log::Log;
use judging::{Judging, No};

pub(super) use proofs::{covering, hashes};

/// Takes receipts in, and proves that they are in the log.
pub(crate) async fn receipts(
    state: Arc<State>,
    peer: Arc<Peer>,
    cluster: Arc<Cluster>,
    request: wire::ReceiptsRequest,
) -> Result<wire::ReceiptsResponse, Status> {
    let log = ready(&state, &peer, request.tree_size)?.clone();
    if request.envelopes.len() > RECEIPTS_PER_REQUEST_MAX {
        return Err(Status::invalid_argument(format!(
            "at most {RECEIPTS_PER_REQUEST_MAX} receipts a request, got {}",
            request.envelopes.len()
        )));
    }
    let wire::ReceiptsRequest {
        envelopes,
        tree_size,
    } = request;
    // A task of its own: an agent that goes away half-way must not let the next request look at a chain whose end is being
    // written.
    let taking = {
        let (state, peer, log) = (state.clone(), peer.clone(), log.clone());
        tokio::spawn(async move {
            let _turn = cluster.receipts.lock().await;
            enrolled(&state, &peer)?;
            let taken = take(&state, &peer, &log, &envelopes).await?;
            for (nonce, leaf) in &taken.nonces {
                cluster.questions.answered(nonce, *leaf);
            }
            Ok::<_, Status>(taken)
        })
    };
    let taken = taking.await.map_err(|error| fault(&error))??;
    proofs::answer(&state, &peer, &log, taken, tree_size).await
}

/// The log, if it is there and has all that the agent has seen of it.
pub(super) fn ready<'s>(state: &'s State, peer: &Peer, tree_size: u64) -> Result<&'s Log, Status> {
    let log = log(state)?;
    if !state.is_ready() {
        return Err(refuse(
            Code::Unavailable,
            "NOT_READY",
            "the hub is reading what was sealed; ask again",
        ));
    }
    let claimed = log
        .claimed()
        .borrow()
        .as_ref()
        .map_or(0, |signed| signed.size);
    if tree_size > claimed {
        let text =
            format!("the agent has seen {tree_size} entries of the log, this hub has {claimed}");
        state.alarm_on(&peer.cluster, "LOG_BEHIND_AGENT", text.clone());
        return Err(refuse(Code::FailedPrecondition, "LOG_BEHIND_AGENT", text));
    }
    Ok(log)
}

/// Does the caller's receipt key speak for its cluster, by the log's own word? Asked while the chain is held, so that nothing is
/// appended behind a revocation. A fleet without an agent CA enrols nobody: there a registration is enough.
fn enrolled(state: &State, peer: &Peer) -> Result<(), Status> {
    if state.registry.revoked(&peer.key).is_some() {
        return Err(super::revoke::revoked());
    }
    let Some(enrolling) = Enrolling::of(state) else {
        return Ok(());
    };
    let speaks = enrolling.speaks(&peer.cluster, &peer.key);
    if speaks.map_err(|error| fault(&error))? {
        return Ok(());
    }
    state.metrics.receipt_refused("RECEIPT_UNENROLLED");
    Err(refuse(
        Code::FailedPrecondition,
        "RECEIPT_UNENROLLED",
        "the receipt key of this cluster is not enrolled in the log; call Enrol first",
    ))
}

/// Keeps blobs that receipts are going to name.
pub(crate) async fn put_blobs(
    state: &State,
    request: wire::PutBlobsRequest,
) -> Result<wire::PutBlobsResponse, Status> {
    let log = log(state)?;
    if request.blobs.len() > PUT_BLOBS_PER_REQUEST_MAX {
        return Err(Status::invalid_argument(format!(
            "at most {PUT_BLOBS_PER_REQUEST_MAX} blobs a request, got {}",
            request.blobs.len()
        )));
    }
    for blob in &request.blobs {
        let length = blob.content.len();
        if length > RECEIPT_BLOB_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "a blob of a receipt has at most {RECEIPT_BLOB_BYTES_MAX} bytes, got {length}"
            )));
        }
        if blob.digest.as_ref() != Digest::of(&blob.content).as_bytes() {
            return Err(refuse(
                Code::InvalidArgument,
                "BLOB_TAMPERED",
                "a blob has other content than its name says",
            ));
        }
    }
    for blob in request.blobs {
        // A copy: the message's buffer holds its neighbours too.
        let content = Bytes::copy_from_slice(&blob.content);
        log.keep_blob(content)
            .await
            .map_err(|error| fault(&error))?;
    }
    Ok(wire::PutBlobsResponse {})
}

fn log(state: &State) -> Result<&Log, Status> {
    state
        .log
        .as_ref()
        .ok_or_else(|| Status::unimplemented("this fleet has no log that could take receipts"))
}

/// What became of a request's envelopes.
struct Outcome {
    /// Leaf hashes of the accepted prefix, in order.
    leaves: Vec<Digest>,
    /// Why the next one was not taken.
    refused: Option<(&'static str, String)>,
    /// The seq that comes next.
    next_seq: u64,
    /// The newest envelope of the chain.
    newest: Option<Bytes>,
    /// Nonces that new receipts carry, with the leaf hash of each.
    nonces: Vec<(String, Digest)>,
}

/// Judges `envelopes` and appends those that belong into the chain.
async fn take(
    state: &State,
    peer: &Peer,
    log: &Log,
    envelopes: &[Bytes],
) -> Result<Outcome, Status> {
    let speaker = Speaker {
        fleet: state.fleet.clone(),
        cluster: peer.cluster.clone(),
        key: PublicKey(peer.key),
    };
    let id = speaker.key.id().to_string();
    let had = log.newest_spoken(&id).map_err(|error| fault(&error))?;
    let chain = match &had {
        None => Chain::new(speaker),
        Some(newest) => Chain::resume(speaker, newest.seq, newest.envelope),
    };
    let mut judging = Judging::new(log, id, chain);
    let mut refused = None;
    for bytes in envelopes {
        if let Err(no) = judging.offer(bytes).await? {
            refused = Some(no);
            break;
        }
    }
    let Judging {
        chain,
        mut new,
        entries,
        leaves,
        nonces,
        ..
    } = judging;
    if !entries.is_empty() {
        let count = entries.len() as u64;
        log.append_read(entries, Vec::new())
            .await
            .map_err(|error| fault(&error))?;
        state.metrics.receipts.inc_by(count);
        shown(state, peer, &nonces);
    }
    if let Some(no) = &refused {
        tell(state, peer, no).await;
    }
    let newest = match (new.pop_last(), had) {
        (Some((_, bytes)), _) => Some(bytes),
        (None, Some(had)) => log
            .entry_of(&had.leaf)
            .await
            .map_err(|error| fault(&error))?,
        (None, None) => None,
    };
    Ok(Outcome {
        leaves,
        refused: refused.as_ref().map(No::told),
        next_seq: chain.next_seq(),
        newest,
        nonces,
    })
}

/// Counts what the nonces of receipts that were taken show, and tells a person of one that is not this cluster's.
fn shown(state: &State, peer: &Peer, nonces: &[(String, Digest)]) {
    let now = state.now();
    for (nonce, _) in nonces {
        let shows = state.nonces.judge(&peer.cluster, nonce, now);
        state.metrics.nonce(shows.label());
        if shows == Shows::Unknown {
            let text = format!(
                "a receipt carries the nonce {nonce}, which this hub never gave its cluster: it was written for another hub, or before this one's CA"
            );
            state.alarm_on(&peer.cluster, "RECEIPT_NONCE_UNKNOWN", text);
        }
    }
}

/// Counts a refusal; one that shows a lie is kept, and a person is told.
async fn tell(state: &State, peer: &Peer, no: &No) {
    let (code, text) = no.told();
    state.metrics.receipt_refused(code);
    match no {
        No::Receipt(ReceiptRefusal::Equivocation { seq, evidence }) => {
            let kept = keep(state, peer, *seq, evidence).await;
            let kept = kept.unwrap_or_else(|error| format!("not kept: {error}"));
            state.alarm_on(
                &peer.cluster,
                code,
                format!("{text}: its receipt key was copied, or its volume set back ({kept})"),
            );
        }
        No::BlobMissing(_) => tracing::debug!(cluster = peer.cluster, code, text, "receipt"),
        No::Receipt(_) | No::Signatures => {
            state.alarm_on(&peer.cluster, code, text);
        }
    }
}

/// Keeps both sides of a contradiction where anybody who holds the key's public half can check them.
async fn keep(
    state: &State,
    peer: &Peer,
    seq: u64,
    evidence: &Equivocation,
) -> Result<String, super::records::RecordFault> {
    let record = serde_json::json!({
        "cluster": peer.cluster,
        "key": PublicKey(peer.key).to_string(),
        "ours": STANDARD.encode(&evidence.ours),
        "seq": seq,
        "theirs": STANDARD.encode(&evidence.theirs),
    });
    let path = format!(
        "equivocations/{}/{seq:020}-{}.json",
        peer.cluster,
        Digest::of(&evidence.theirs)
    );
    state.records.create(&path, &record).await?;
    Ok(path)
}
