//! Brings the queue to the hub's log, and lets an envelope go only for a proof.
//!
//! Each answer brings a checkpoint that must follow the last one that was seen here, and be one history with what the stream
//! of heads showed. What the hub refuses stays: signed envelopes are never numbered anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::{PublicKey, RingVerifier, SignFault};
use countersign_ledger::refusal::Refusal;
use countersign_ledger::statement::Statement;
use countersign_ledger::tlog::merkle;
use countersign_ledger::verify::{self, Known, Seen, VerifiedCheckpoint};
use countersign_proto::agent::v1 as proto;
use countersign_proto::limits::RECEIPTS_PER_REQUEST_MAX;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::enrol::{self, EnrolRefused, Own};
use super::outbox::Outbox;
use super::queue::Waiting;
use crate::clock;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::pull::{hub, wire};

/// Bytes of one request, about; the wire takes twice that.
const REQUEST_BYTES: usize = 2 << 20;
/// Blobs of one request.
const BLOBS_PER_CALL: usize = 256;
/// An answer waits for witnesses at the hub; one that takes longer is not coming.
const CALL_MAX: Duration = Duration::from_secs(20);
/// Pauses between tries.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a refusal the same comes again.
const PAUSE_REFUSED: Duration = Duration::from_secs(60);
/// Asked so often to enrol: for the payload, with it, and once more if the hub would say something else by then.
const ENROL_TRIES: usize = 3;
/// Asked so often for a checkpoint of one size from two places: the log grows between the calls.
const LINK_TRIES: usize = 3;

/// Sends what is recorded.
pub struct Sender {
    /// What is recorded.
    pub outbox: Arc<Outbox>,
    /// To count, and to tell refusals.
    pub engine: Arc<Engine>,
    /// The receipt key.
    pub keys: Arc<Keys>,
    /// What the agent sees of its cluster.
    pub identity: proto::ClusterIdentity,
    /// What the agent believes.
    pub known: watch::Receiver<Known>,
    /// The channel to the hub, while there is one.
    pub channel: watch::Receiver<Option<Channel>>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Why a round ended without a proof.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fault(#[from] hub::HubFault),
    #[error("{code}: {0}", code = .0.code())]
    Refused(#[from] Refusal),
    /// What the hub offered as enrolment, or showed of it, is none of ours.
    #[error("{code}: {0}", code = .0.code())]
    Enrolment(#[from] EnrolRefused),
    /// The receipt key did not sign.
    #[error(transparent)]
    Sign(#[from] SignFault),
    /// The hub says that this does not belong into the chain.
    #[error("{code}: {text}")]
    Chain { code: &'static str, text: String },
    #[error("the queue: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the hub brought no checkpoint that covers the receipts yet")]
    Uncovered,
}

/// Runs until `stop`.
pub async fn run(sender: Sender, stop: CancellationToken) {
    let mut channel = sender.channel.clone();
    let mut linked = None;
    let mut enrolled = false;
    loop {
        let open = channel.borrow_and_update().clone();
        let Some(open) = open else {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = channel.changed() => if changed.is_err() { return },
            }
            continue;
        };
        let mut client = hub::client(open);
        let mut pause = PAUSE_MIN;
        // The first request asks even if there is nothing to send: for a nonce, and where the chain stands.
        let mut asked = false;
        loop {
            let round = async {
                if !enrolled {
                    enrolled = sender.enrol(&mut client).await?;
                }
                if asked && sender.outbox.queue().is_empty() {
                    sender.outbox.added().await;
                }
                sender.round(&mut client, &mut linked).await
            };
            let done = tokio::select! {
                () = stop.cancelled() => return,
                changed = channel.changed() => {
                    if changed.is_err() { return }
                    break;
                }
                done = round => done,
            };
            let wait = match done {
                Ok(()) => {
                    (asked, pause) = (true, PAUSE_MIN);
                    continue;
                }
                Err(failure) => {
                    // The hub's log may be another one than that which showed it: it is asked again.
                    enrolled &= !failure.is_unenrolled();
                    sender.failed(&failure, &mut pause)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = channel.changed() => {
                    if changed.is_err() { return }
                    break;
                }
                () = tokio::time::sleep(clock::jittered(wait)) => {}
            }
        }
    }
}

impl Failure {
    /// The hub does not find the receipt key in its log.
    fn is_unenrolled(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.reason() == Some("RECEIPT_UNENROLLED"))
    }
}

impl Sender {
    /// Tells a failure; how long to wait after it.
    fn failed(&self, failure: &Failure, pause: &mut Duration) -> Duration {
        let wait = *pause;
        *pause = (*pause * 2).min(PAUSE_MAX);
        match failure {
            Failure::Refused(refusal) => {
                self.keep_evidence(refusal);
                self.engine.refused_by(refusal);
                PAUSE_REFUSED
            }
            Failure::Chain { code, text } => {
                self.engine.refused_once(code, text, text);
                PAUSE_REFUSED
            }
            Failure::Enrolment(refused) => {
                let text = refused.to_string();
                self.engine.refused_once(refused.code(), &text, &text);
                PAUSE_REFUSED
            }
            Failure::Fault(hub::HubFault::Status {
                code: tonic::Code::Unimplemented,
                ..
            }) => {
                tracing::debug!(%failure, "receipts");
                PAUSE_REFUSED
            }
            Failure::Fault(_) | Failure::Uncovered => {
                tracing::info!(%failure, "receipts wait");
                wait
            }
            Failure::Disk(_) | Failure::Sign(_) => {
                tracing::error!(%failure, "receipts");
                wait
            }
        }
    }

    fn keep_evidence(&self, refusal: &Refusal) {
        let Some(bytes) = refusal.evidence().and_then(|fork| fork.bytes().ok()) else {
            return;
        };
        if let Err(error) = self.engine.saved.keep_evidence(&bytes) {
            tracing::error!(%error, "the evidence of a fork can't be kept");
        }
    }

    /// Sees to it that the receipt key stands in the log; whether it does. Not where the fleet enrols nobody.
    async fn enrol(&self, client: &mut hub::Client) -> Result<bool, Failure> {
        let known = self.known.borrow().clone();
        let own = Own {
            fleet: known.roots.newest().fleet().to_owned(),
            cluster: known.cluster.clone(),
            uid: self.identity.uid.clone(),
            ca_fingerprint: <[u8; 32]>::try_from(self.identity.ca_fingerprint.as_ref())
                .map(Digest::from_bytes)
                .map_err(|_| EnrolRefused::Mismatch("CA"))?,
            receipt_key: self.keys.receipt(),
            recipient: self.keys.recipient(),
        };
        let seen = self.outbox.seen().or_else(|| known.seen.clone());
        let mut request = proto::EnrolRequest {
            tree_size: seen.as_ref().map_or(0, |seen| seen.size),
            ..proto::EnrolRequest::default()
        };
        for _ in 0..ENROL_TRIES {
            let asked = tokio::time::timeout(CALL_MAX, client.enrol(request.clone())).await;
            let answer = match asked.map_err(|_| late()).and_then(|answer| answer) {
                Ok(answer) => answer.into_inner(),
                // A hub from before, or one of a fleet that enrols nobody.
                Err(status) if status.code() == tonic::Code::Unimplemented => return Ok(true),
                Err(status) => return Err(hub::HubFault::from(status).into()),
            };
            let Some(entry) = answer.entry else {
                enrol::offered(&answer.payload, &own)?;
                let signature = self.keys.sign_payload(&answer.payload)?;
                request.payload = answer.payload;
                request.signature = Bytes::copy_from_slice(&signature);
                continue;
            };
            let checkpoint = checked(&known, seen, &answer.checkpoint, &answer.consistency)?;
            let (Some(checkpoint), Some(proof)) = (checkpoint, entry.proof) else {
                return Err(Failure::Uncovered);
            };
            let said = enrol::stands(
                &entry.envelope,
                proof.index,
                &wire::hashes(&proof.hashes).unwrap_or_default(),
                &checkpoint,
                &own,
                known.roots.newest(),
                &RingVerifier,
            )?;
            self.outbox.saw(checkpoint.seen().clone());
            tracing::info!(
                index = proof.index,
                number = said.number,
                "the receipt key stands in the log"
            );
            return Ok(true);
        }
        Err(Failure::Uncovered)
    }

    /// One request with what waits, up to its proof.
    async fn round(
        &self,
        client: &mut hub::Client,
        linked: &mut Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        let waiting = self
            .outbox
            .waiting(RECEIPTS_PER_REQUEST_MAX, REQUEST_BYTES)
            .await?;
        put_blobs(client, &waiting).await?;
        let known = self.known.borrow().clone();
        let seen = self.outbox.seen().or_else(|| known.seen.clone());
        let envelopes = waiting
            .iter()
            .map(|waiting| waiting.item.envelope.clone())
            .collect();
        let response = ask(client, envelopes, seen.as_ref()).await?;
        let checkpoint = checked(&known, seen, &response.checkpoint, &response.consistency)?;
        if let Some(checkpoint) = &checkpoint {
            self.link(client, &known, checkpoint, linked).await?;
            self.outbox.saw(checkpoint.seen().clone());
        }
        self.outbox.set_nonce(hex(&response.nonce));
        self.agree(&known, &response).await?;
        if let Some(checkpoint) = &checkpoint {
            self.prove(&waiting, &response, checkpoint).await?;
        }
        if !response.refused_code.is_empty() {
            return Err(refused(&response));
        }
        let unproven = waiting.len() > response.proofs.len();
        if unproven {
            return Err(Failure::Uncovered);
        }
        Ok(())
    }

    /// Each proof leads from the envelope that was sent to the checkpoint; what is proven leaves the queue.
    async fn prove(
        &self,
        waiting: &[Waiting],
        response: &proto::ReceiptsResponse,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<(), Failure> {
        let mut proven = None;
        let mut wrong = None;
        for (waiting, proof) in waiting.iter().zip(&response.proofs) {
            let (index, size) = (proof.index, checkpoint.size());
            let leaf = leaf_hash(&waiting.item.envelope);
            let hashes = wire::hashes(&proof.hashes).unwrap_or_default();
            match merkle::verify_inclusion(index, size, &leaf, &hashes, checkpoint.root()) {
                Ok(()) => proven = Some(waiting.seq),
                Err(error) => {
                    wrong = Some(Refusal::NotInLog {
                        index,
                        size,
                        problem: error.to_string(),
                    });
                    break;
                }
            }
        }
        if let Some(seq) = proven {
            let count = waiting.iter().filter(|waiting| waiting.seq <= seq).count();
            self.outbox.proven(seq).await?;
            self.engine.floor.proven(self.keys.receipt(), seq);
            self.engine.metrics.receipts_proven.inc_by(count as u64);
            let left = self.outbox.queue().len();
            self.engine.metrics.receipts_waiting(left);
        }
        wrong.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Where the chain stands by the hub's word, against ours. A volume that is new, or was set back, goes on from the newest
    /// envelope in the log, which bears our own signature; nothing else moves our chain.
    async fn agree(
        &self,
        known: &Known,
        response: &proto::ReceiptsResponse,
    ) -> Result<(), Failure> {
        let (begun, empty, next) = {
            let queue = self.outbox.queue();
            (queue.has_begun(), queue.is_empty(), queue.next().seq)
        };
        let theirs = response.next_seq;
        if begun && (theirs <= next || !empty) {
            return Ok(());
        }
        let floor = self.engine.floor.seq(&self.keys.receipt());
        if theirs <= floor {
            return Err(Failure::Chain {
                code: "RECEIPT_CHAIN_SET_BACK",
                text: format!(
                    "the hub wants receipt {theirs} next, but {floor} was proven to be in the log: its log is of an older day, or hides what this cluster said"
                ),
            });
        }
        if theirs <= 1 {
            self.outbox.begin(0, None).await?;
            return Ok(());
        }
        let newest = self.own(known, &response.newest);
        let Some((seq, digest)) = newest.filter(|(seq, _)| seq.checked_add(1) == Some(theirs))
        else {
            return Err(Failure::Chain {
                code: "RECEIPT_CHAIN_UNPROVEN",
                text: format!(
                    "the hub wants receipt {theirs} next and shows no envelope of ours before it"
                ),
            });
        };
        if begun {
            let text = format!(
                "the log has receipts of this key up to {seq}, this volume up to {}: it was set back, or the key was copied",
                next.saturating_sub(1)
            );
            self.engine.refused("RECEIPT_SET_BACK", &text);
        }
        self.outbox.begin(seq, Some(digest)).await?;
        Ok(())
    }

    /// The `seq` and digest of an envelope that this agent signed.
    fn own(&self, known: &Known, bytes: &[u8]) -> Option<(u64, Digest)> {
        let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
        let key: PublicKey = self.keys.receipt();
        if envelope.signed_by([&key], &RingVerifier).is_empty() {
            return None;
        }
        let (fleet, cluster, seq) = match Statement::parse(envelope.payload()).ok()? {
            Statement::Receipt(receipt) => (receipt.fleet, receipt.cluster, receipt.seq),
            Statement::Drift(drift) => (drift.fleet, drift.cluster, drift.seq),
            _ => return None,
        };
        let ours = fleet == known.roots.newest().fleet() && cluster == known.cluster;
        ours.then(|| (seq, envelope.digest()))
    }

    /// What the stream of heads showed of the log and what is shown here must be one history: both are led to one checkpoint.
    async fn link(
        &self,
        client: &mut hub::Client,
        known: &Known,
        checkpoint: &VerifiedCheckpoint,
        linked: &mut Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        let Some(heads) = &known.seen else {
            return Ok(());
        };
        if linked.as_ref() == Some(&heads.note) {
            return Ok(());
        }
        let mut here = checkpoint.seen().clone();
        for _ in 0..LINK_TRIES {
            let there = ask(client, Vec::new(), Some(heads)).await?;
            let (note, consistency) = (&there.checkpoint, &there.consistency);
            let Some(there) = checked(known, Some(heads.clone()), note, consistency)? else {
                return Ok(());
            };
            if there.size() == here.size {
                same(known, &here, &there)?;
                *linked = Some(heads.note.clone());
                return Ok(());
            }
            let response = ask(client, Vec::new(), Some(&here)).await?;
            let (note, consistency) = (&response.checkpoint, &response.consistency);
            let Some(newer) = checked(known, Some(here.clone()), note, consistency)? else {
                return Ok(());
            };
            here = newer.seen().clone();
            if there.size() == here.size {
                same(known, &here, &there)?;
                *linked = Some(heads.note.clone());
                return Ok(());
            }
        }
        // The log grows faster than it is asked; the next round tries again.
        Ok(())
    }
}

/// Two checkpoints of one size have one root.
fn same(known: &Known, here: &Seen, there: &VerifiedCheckpoint) -> Result<(), Refusal> {
    let known = Known {
        seen: Some(here.clone()),
        ..known.clone()
    };
    verify::checkpoint(&known, &there.seen().note, &[], now(), &RingVerifier).map(|_| ())
}

/// The checkpoint of an answer; it must follow `seen`.
fn checked(
    known: &Known,
    seen: Option<Seen>,
    note: &[u8],
    consistency: &[Bytes],
) -> Result<Option<VerifiedCheckpoint>, Refusal> {
    if note.is_empty() {
        return Ok(None);
    }
    let known = Known {
        seen,
        ..known.clone()
    };
    // One that is no hash leaves no proof: a wrong one and none are refused alike.
    let consistency = wire::hashes(consistency).unwrap_or_default();
    verify::checkpoint(&known, note, &consistency, now(), &RingVerifier).map(Some)
}

fn now() -> Option<u64> {
    Some(u64::try_from(clock::unix()).unwrap_or_default())
}

async fn ask(
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

fn late() -> tonic::Status {
    tonic::Status::deadline_exceeded("the hub did not answer receipts in time")
}

/// Blobs go first: the hub takes no envelope that names one it does not have.
async fn put_blobs(client: &mut hub::Client, waiting: &[Waiting]) -> Result<(), hub::HubFault> {
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

fn refused(response: &proto::ReceiptsResponse) -> Failure {
    let code = match response.refused_code.as_str() {
        "RECEIPT_EQUIVOCATION" => "RECEIPT_EQUIVOCATION",
        "RECEIPT_GAP" => "RECEIPT_GAP",
        "RECEIPT_PREVIOUS_MISMATCH" => "RECEIPT_PREVIOUS_MISMATCH",
        "RECEIPT_REPLAYED" => "RECEIPT_REPLAYED",
        _ => "RECEIPT_REFUSED",
    };
    let told: String = response.refused.chars().take(512).collect();
    Failure::Chain {
        code,
        text: format!("the hub does not take a receipt: {told}"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let own = bytes.iter().take(32);
    own.map(|byte| format!("{byte:02x}")).collect()
}
