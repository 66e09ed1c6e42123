//! What clusters countersign: receipts and drift records are judged, appended to the log, and proven to be in it.
//!
//! The chain of a receipt key has one end, so a cluster's requests are judged one after the other. What was appended once
//! keeps its place however often it comes; what contradicts it is kept beside it and raises an alarm.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::receipt::{Chain, Equivocation, Offer, ReceiptRefusal, Speaker};
use countersign_ledger::statement::Statement;
use countersign_proto::agent::v1 as wire;
use countersign_proto::limits::RECEIPTS_PER_REQUEST_MAX;
use ring::rand::SecureRandom as _;
use tonic::{Code, Status};

use super::enrol::Enrolling;
use super::heads::Taken;
use super::identity::Peer;
use super::limits::{COVERED_MAX, PUT_BLOBS_PER_REQUEST_MAX, RECEIPT_BLOB_BYTES_MAX};
use super::refuse::{fault, refuse};
use super::state::{Cluster, State};
use crate::log::{Entry, Log, Signed, receipts};

/// Bytes of a nonce.
const NONCE_BYTES: usize = 16;

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
    answer(&state, &peer, &log, taken, tree_size).await
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

/// The chain of a receipt key, as the log has it, and what a request adds.
struct Judging<'a> {
    log: &'a Log,
    speaker: String,
    chain: Chain,
    /// Taken from this request, by seq.
    new: BTreeMap<u64, Bytes>,
    entries: Vec<Entry>,
    leaves: Vec<Digest>,
    nonces: Vec<(String, Digest)>,
}

/// Why an envelope is not taken.
enum No {
    Receipt(ReceiptRefusal),
    /// It bears other signatures beside that of the receipt key.
    Signatures,
    /// It names a blob that is not here.
    BlobMissing(Digest),
}

impl No {
    fn told(&self) -> (&'static str, String) {
        match self {
            Self::Receipt(refusal) => (refusal.code(), refusal.to_string()),
            Self::Signatures => (
                "RECEIPT_SIGNATURES",
                "a receipt bears one signature, that of the cluster's receipt key".to_owned(),
            ),
            Self::BlobMissing(digest) => (
                "BLOB_MISSING",
                format!("the receipt names blob {digest}, which is not here"),
            ),
        }
    }
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
    let mut judging = Judging {
        log,
        speaker: id,
        chain,
        new: BTreeMap::new(),
        entries: Vec::new(),
        leaves: Vec::new(),
        nonces: Vec::new(),
    };
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

impl Judging<'_> {
    async fn offer(&mut self, bytes: &Bytes) -> Result<Result<(), No>, Status> {
        let before = self.chain.clone();
        let here = |seq| self.new.get(&seq).cloned();
        let mut offer = self.chain.offer(bytes, here, &RingVerifier);
        if let Err(ReceiptRefusal::Replayed { got, .. }) = &offer
            && let Some(said) = self.said(*got).await?
        {
            offer = self.chain.offer(bytes, |_| Some(said), &RingVerifier);
        }
        let spoken = match offer {
            Ok(Offer::Next(spoken)) => spoken,
            Ok(Offer::Again { seq }) => {
                let leaf = match self.new.get(&seq) {
                    Some(bytes) => Some(leaf_hash(bytes)),
                    None => {
                        let known = self.log.spoken(&self.speaker, seq);
                        known.map_err(|error| fault(&error))?.map(|it| it.leaf)
                    }
                };
                self.leaves.extend(leaf);
                return Ok(Ok(()));
            }
            Err(refusal) => return Ok(Err(No::Receipt(refusal))),
        };
        if let Err(no) = self.next(bytes, &spoken.statement).await? {
            self.chain = before;
            return Ok(Err(no));
        }
        self.new.insert(spoken.seq, bytes.clone());
        Ok(Ok(()))
    }

    async fn next(
        &mut self,
        bytes: &Bytes,
        statement: &Statement,
    ) -> Result<Result<(), No>, Status> {
        let envelope = match Envelope::parse(bytes, &Limits::entry()) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Err(No::Receipt(error.into()))),
        };
        match envelope.signatures() {
            [one] if one.keyid == self.speaker => {}
            _ => return Ok(Err(No::Signatures)),
        }
        for name in receipts::names(statement) {
            let here = self.log.has_blob(&name).await;
            if !here.map_err(|error| fault(&error))? {
                return Ok(Err(No::BlobMissing(name)));
            }
        }
        self.leaves.push(envelope.leaf_hash());
        if let Statement::Receipt(receipt) = statement {
            self.nonces
                .push((receipt.nonce.clone(), envelope.leaf_hash()));
        }
        self.entries.push(Entry {
            bytes: bytes.clone(),
            filed: receipts::filed(&envelope, statement),
        });
        Ok(Ok(()))
    }

    /// What was said under an earlier `seq`, out of the log.
    async fn said(&self, seq: u64) -> Result<Option<Bytes>, Status> {
        let known = self.log.spoken(&self.speaker, seq);
        match known.map_err(|error| fault(&error))? {
            Some(known) => self
                .log
                .entry_of(&known.leaf)
                .await
                .map_err(|error| fault(&error)),
            None => Ok(None),
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

/// Proofs under a checkpoint that this cluster takes.
async fn answer(
    state: &State,
    peer: &Peer,
    log: &Log,
    taken: Outcome,
    tree_size: u64,
) -> Result<wire::ReceiptsResponse, Status> {
    let mut nonce = [0; NONCE_BYTES];
    ring::rand::SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|error| fault(&error))?;
    let (refused_code, refused) = taken.refused.unwrap_or_default();
    let mut response = wire::ReceiptsResponse {
        nonce: Bytes::copy_from_slice(&nonce),
        refused_code: refused_code.to_owned(),
        refused,
        next_seq: taken.next_seq,
        newest: taken.newest.unwrap_or_default(),
        ..wire::ReceiptsResponse::default()
    };
    let mut indexes = Vec::with_capacity(taken.leaves.len());
    for leaf in &taken.leaves {
        let index = log.find(leaf).map_err(|error| fault(&error))?;
        indexes.push(index.ok_or_else(|| Status::internal("an entry has no place in the log"))?);
    }
    let least = indexes.iter().max().map_or(0, |index| index + 1);
    let Some(signed) = covering(state, peer, log, least.max(tree_size)).await else {
        return Ok(response);
    };
    for index in indexes {
        let proof = log
            .inclusion(index, signed.size)
            .map_err(|error| fault(&error))?;
        response.proofs.push(wire::LogProof {
            index,
            hashes: hashes(&proof),
        });
    }
    if tree_size > 0 {
        let proof = log.consistency(tree_size, signed.size);
        response.consistency = hashes(&proof.map_err(|error| fault(&error))?);
    }
    response.checkpoint = signed.note.clone();
    Ok(response)
}

/// The newest checkpoint that this cluster takes, once it covers `size` entries.
pub(super) async fn covering(
    state: &State,
    peer: &Peer,
    log: &Log,
    size: u64,
) -> Option<Arc<Signed>> {
    let trust = state.trust();
    let level = trust.clusters.get(&peer.cluster);
    let mut checkpoints = match Taken::at(level.map_or("", |member| member.level.as_str())) {
        Taken::Claimed => log.claimed(),
        Taken::Published => log.published(),
    };
    let covers =
        |signed: &Option<Arc<Signed>>| signed.as_ref().is_some_and(|signed| signed.size >= size);
    if size == 0 {
        return checkpoints.borrow().clone();
    }
    let found = tokio::time::timeout(COVERED_MAX, checkpoints.wait_for(covers)).await;
    found.ok()?.ok()?.clone()
}

pub(super) fn hashes(proof: &[Digest]) -> Vec<Bytes> {
    proof
        .iter()
        .map(|hash| Bytes::copy_from_slice(hash.as_bytes()))
        .collect()
}
