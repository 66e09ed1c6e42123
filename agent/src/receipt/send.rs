//! Brings the queue to the hub's log, and lets an envelope go only for a proof.
//!
//! Each answer brings a checkpoint that must follow the last one that was seen here, and be one history with what the stream
//! of heads showed. What the hub refuses stays: signed envelopes are never numbered anew.
//!
//! [`run`] goes round; [`stand`] enrols the key first, [`calls`] asks, [`link`] and [`chain`] check what came.

mod calls;
mod chain;
mod link;
mod stand;

use std::sync::Arc;
use std::time::Duration;

use countersign_ledger::digest::leaf_hash;
use countersign_ledger::key::SignFault;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::tlog::merkle;
use countersign_ledger::verify::{Known, VerifiedCheckpoint};
use countersign_proto::agent::v1 as proto;
use countersign_proto::limits::RECEIPTS_PER_REQUEST_MAX;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::enrol::EnrolRefused;
use super::outbox::Outbox;
use super::queue::Waiting;
use crate::clock;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::pull::{hub, wire};
use calls::{ask, put_blobs};
use chain::refused;
use link::checked;

/// Bytes of one request, about; the wire takes twice that.
const REQUEST_BYTES: usize = 2 << 20;
/// Pauses between tries.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a refusal the same comes again.
const PAUSE_REFUSED: Duration = Duration::from_secs(60);

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
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let own = bytes.iter().take(32);
    own.map(|byte| format!("{byte:02x}")).collect()
}
