//! From a registered agent to a receipt key in the log, and from there to one that speaks no more.
//!
//! [`offer`] is pure: what an enrolment says. Here it is asked for, signed twice (the agent CA's key and the receipt key,
//! which shows that the cluster holds it), appended and proven. The record of a registration or of a revocation is written
//! first; what the log lacks of it is appended by [`settle`], at each start and after each change:
//!
//! | a crash after | leaves | after it |
//! |---|---|---|
//! | the registration | an old key that the log still lists, and the hub takes no more | `settle` revokes it |
//! | a person's revocation | the same | `settle` revokes it |
//! | the claim of an enrolment | an agent without an answer | it asks again and gets the entry |

mod offer;

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{self, Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{PublicKey, RingVerifier, SignFault, Verify as _};
use countersign_ledger::statement::{Enrolment, Revocation, Statement, StatementError};
use countersign_proto::agent::v1 as wire;
use tonic::{Code, Status};

use self::offer::{Newest, Offer};
use super::identity::Peer;
use super::receipts::{self, covering};
use super::refuse::{fault, refuse};
use super::registry::{Registration, Revoked};
use super::state::{Cluster, State};
use crate::log::{Entry, Log, LogError, ReadError, enrolments};
use crate::seal::Signer;

/// Why the log does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum EnrolFault {
    /// What the log has can not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log took nothing.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The statement can not be written.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The key did not sign.
    #[error("the agent CA's key did not sign: {0}")]
    Sign(#[from] SignFault),
    /// An entry that was filed as an enrolment is none.
    #[error("the entry with leaf hash {0} is no enrolment")]
    NoEnrolment(Digest),
}

/// What enrolling needs; none where the fleet has no log, or no key that says who may speak.
pub(super) struct Enrolling<'s> {
    log: &'s Log,
    agent_ca: &'s dyn Signer,
    fleet: &'s str,
}

impl<'s> Enrolling<'s> {
    pub(super) fn of(state: &'s State) -> Option<Self> {
        Some(Self {
            log: state.log.as_ref()?,
            agent_ca: state.agent_ca.as_deref()?,
            fleet: &state.fleet,
        })
    }

    /// The newest enrolment of a cluster.
    async fn newest(&self, cluster: &str) -> Result<Option<Newest>, EnrolFault> {
        let Some(enrolled) = self.log.enrolled(cluster)? else {
            return Ok(None);
        };
        let none = || EnrolFault::NoEnrolment(enrolled.leaf);
        let entry = self.log.entry_of(&enrolled.leaf).await?.ok_or_else(none)?;
        let said = said(&entry).ok_or_else(none)?;
        Ok(Some(Newest {
            revoked: self.log.revoked(&said.receipt_key)?.is_some(),
            said,
            leaf: enrolled.leaf,
        }))
    }

    async fn offer(&self, registered: &Registration) -> Result<Offer, Status> {
        let newest = self.newest(&registered.cluster).await;
        let newest = newest.map_err(|error| fault(&error))?;
        offer::offer(self.fleet, registered, newest.as_ref())
            .map_err(|no| refuse(Code::FailedPrecondition, "NO_IDENTITY", no.to_string()))
    }

    /// The entry of a revocation, signed.
    async fn revocation(&self, said: &Revocation) -> Result<Entry, EnrolFault> {
        let payload = said.payload()?;
        let envelope = self.sign(&payload, None).await?;
        Ok(Entry {
            bytes: Bytes::copy_from_slice(envelope.bytes()),
            filed: enrolments::revoked(said, envelope.leaf_hash()),
        })
    }

    /// Signs, before the receipt key's signature where there is one.
    async fn sign(
        &self,
        payload: &[u8],
        receipt: Option<(PublicKey, [u8; 64])>,
    ) -> Result<Envelope, SignFault> {
        let ours = self
            .agent_ca
            .sign(&dsse::pae(PAYLOAD_TYPE, payload))
            .await?;
        let mut signatures = vec![(self.agent_ca.public(), ours)];
        signatures.extend(receipt);
        Ok(Envelope::assemble(PAYLOAD_TYPE, payload, &signatures))
    }

    /// Appends the enrolment, and before it, in the same claim, the end of the key that it replaces; its leaf hash.
    async fn append(
        &self,
        enrolment: &Enrolment,
        revocation: Option<&Revocation>,
        receipt: (PublicKey, [u8; 64]),
    ) -> Result<Digest, EnrolFault> {
        let mut entries = Vec::new();
        if let Some(revocation) = revocation {
            entries.push(self.revocation(revocation).await?);
        }
        let payload = offer::payload(enrolment)?;
        let envelope = self.sign(&payload, Some(receipt)).await?;
        let leaf = envelope.leaf_hash();
        entries.push(Entry {
            bytes: Bytes::copy_from_slice(envelope.bytes()),
            filed: enrolments::enrolled(enrolment, leaf),
        });
        self.log.append_read(entries, Vec::new()).await?;
        Ok(leaf)
    }

    async fn settle_revoked(&self, record: &Revoked) -> Result<(), EnrolFault> {
        if self.log.revoked(&PublicKey(record.key))?.is_some() {
            return Ok(());
        }
        self.end(&offer::revocation(self.fleet, record)).await
    }

    async fn settle_replaced(&self, registered: &Registration) -> Result<(), EnrolFault> {
        let Some(enrolled) = self.log.enrolled(&registered.cluster)? else {
            return Ok(());
        };
        let old = (enrolled.key, self.log.revoked(&enrolled.key)?.is_some());
        match offer::replaced(self.fleet, registered, Some(old)) {
            Some(said) => self.end(&said).await,
            None => Ok(()),
        }
    }

    async fn end(&self, said: &Revocation) -> Result<(), EnrolFault> {
        let entry = self.revocation(said).await?;
        self.log.append_read(vec![entry], Vec::new()).await?;
        Ok(())
    }

    /// Whether the log has `key` as the one that speaks for `cluster`.
    pub(super) fn speaks(&self, cluster: &str, key: &[u8; 32]) -> Result<bool, ReadError> {
        let key = PublicKey(*key);
        let newest = self.log.enrolled(cluster)?;
        Ok(newest.is_some_and(|newest| newest.key == key) && self.log.revoked(&key)?.is_none())
    }
}

fn said(entry: &[u8]) -> Option<Enrolment> {
    let envelope = Envelope::parse(entry, &Limits::entry()).ok()?;
    match Statement::parse(envelope.payload()).ok()? {
        Statement::Enrolment(said) => Some(said),
        _ => None,
    }
}

/// Appends the revocations that the log lacks: of keys that a person revoked, and of enrolled keys that were replaced.
///
/// # Errors
/// [`EnrolFault`]; asking again goes on where it ended.
pub async fn settle(state: &State) -> Result<(), EnrolFault> {
    let Some(enrolling) = Enrolling::of(state) else {
        return Ok(());
    };
    for record in state.registry.all_revoked() {
        enrolling.settle_revoked(&record).await?;
    }
    for registered in state.registry.all() {
        enrolling.settle_replaced(&registered).await?;
    }
    Ok(())
}

/// As [`settle`], for one cluster whose agent was registered or revoked a moment ago.
pub(super) async fn settle_one(state: &State, cluster: &str) -> Result<(), EnrolFault> {
    let (Some(enrolling), Some(registered)) = (Enrolling::of(state), state.registration(cluster))
    else {
        return Ok(());
    };
    if let Some(record) = state.registry.revoked(&registered.key) {
        enrolling.settle_revoked(&record).await?;
    }
    enrolling.settle_replaced(&registered).await
}

/// Puts the caller's receipt key into the log, or shows that it is there.
///
/// # Cancel safety
/// May be dropped at any point; the agent asks again.
pub(crate) async fn enrol(
    state: Arc<State>,
    peer: Arc<Peer>,
    cluster: Arc<Cluster>,
    request: wire::EnrolRequest,
) -> Result<wire::EnrolResponse, Status> {
    let outcome = attempt(state.clone(), peer, cluster, request).await;
    state.metrics.enrolment(match &outcome {
        Ok(answer) if answer.entry.is_some() => "OK",
        Ok(_) => "OFFERED",
        Err(status) if status.code() == Code::Unavailable => "FAULT",
        Err(_) => "REFUSED",
    });
    outcome
}

async fn attempt(
    state: Arc<State>,
    peer: Arc<Peer>,
    cluster: Arc<Cluster>,
    request: wire::EnrolRequest,
) -> Result<wire::EnrolResponse, Status> {
    if Enrolling::of(&state).is_none() {
        return Err(refuse(
            Code::Unimplemented,
            "NO_AGENT_CA",
            "this fleet has no log, or its trust root no key of an agent CA: nobody is enrolled",
        ));
    }
    let log = receipts::ready(&state, &peer, request.tree_size)?.clone();
    let tree_size = request.tree_size;
    // A task of its own: an agent that goes away half-way must not let the next request see a log that is being written.
    let entering = {
        let (state, peer) = (state.clone(), peer.clone());
        tokio::spawn(async move {
            let _turn = cluster.receipts.lock().await;
            enter(&state, &peer, &request).await
        })
    };
    match entering.await.map_err(|error| fault(&error))?? {
        Entered::Offered(payload) => Ok(wire::EnrolResponse {
            payload: payload.into(),
            ..wire::EnrolResponse::default()
        }),
        Entered::Stands(leaf) => proven(&state, &peer, &log, leaf, tree_size).await,
    }
}

enum Entered {
    Offered(Vec<u8>),
    Stands(Digest),
}

async fn enter(
    state: &State,
    peer: &Peer,
    request: &wire::EnrolRequest,
) -> Result<Entered, Status> {
    let unknown = || refuse(Code::Unauthenticated, "NO_CERTIFICATE", "not registered");
    let enrolling = Enrolling::of(state).ok_or_else(unknown)?;
    let registered = state
        .registration(&peer.cluster)
        .filter(|registered| registered.key == peer.key)
        .ok_or_else(unknown)?;
    if state.registry.revoked(&peer.key).is_some() {
        return Err(super::revoke::revoked());
    }
    let (enrolment, revocation) = match enrolling.offer(&registered).await? {
        Offer::Stands(leaf) => return Ok(Entered::Stands(leaf)),
        Offer::Append {
            enrolment,
            revocation,
        } => (enrolment, revocation),
    };
    let payload = offer::payload(&enrolment).map_err(|error| fault(&error))?;
    if request.payload.is_empty() || request.payload != payload {
        // Not what is offered now, or nothing: this is.
        return Ok(Entered::Offered(payload));
    }
    let key = PublicKey(peer.key);
    let signature = <[u8; 64]>::try_from(request.signature.as_ref()).ok();
    let message = dsse::pae(PAYLOAD_TYPE, &payload);
    let Some(signature) = signature.filter(|it| RingVerifier.verify(&key, &message, it)) else {
        return Err(refuse(
            Code::PermissionDenied,
            "ENROLMENT_UNPROVEN",
            "the enrolment is not signed by the receipt key that it names",
        ));
    };
    let leaf = enrolling
        .append(&enrolment, revocation.as_ref(), (key, signature))
        .await
        .map_err(|error| fault(&error))?;
    tracing::info!(
        cluster = peer.cluster,
        number = enrolment.number,
        key = registered.key_digest(),
        "receipt key enrolled"
    );
    Ok(Entered::Stands(leaf))
}

/// The entry, under a checkpoint that this cluster takes.
async fn proven(
    state: &State,
    peer: &Peer,
    log: &Log,
    leaf: Digest,
    tree_size: u64,
) -> Result<wire::EnrolResponse, Status> {
    let missing = || Status::internal("an entry has no place in the log");
    let index = log.find(&leaf).map_err(|error| fault(&error))?;
    let index = index.ok_or_else(missing)?;
    let envelope = log.entry(index).await.map_err(|error| fault(&error))?;
    let mut entry = wire::LogEntry {
        envelope: envelope.ok_or_else(missing)?,
        proof: None,
    };
    let mut response = wire::EnrolResponse::default();
    if let Some(signed) = covering(state, peer, log, tree_size.max(index + 1)).await {
        let proof = log.inclusion(index, signed.size);
        entry.proof = Some(wire::LogProof {
            index,
            hashes: receipts::hashes(&proof.map_err(|error| fault(&error))?),
        });
        if tree_size > 0 {
            let proof = log.consistency(tree_size, signed.size);
            response.consistency = receipts::hashes(&proof.map_err(|error| fault(&error))?);
        }
        response.checkpoint = signed.note.clone();
    }
    response.entry = Some(entry);
    Ok(response)
}

#[cfg(test)]
mod tests;
