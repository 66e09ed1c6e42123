//! Sees to it that the receipt key stands in the log before anything is sent under it.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_proto::agent::v1 as proto;

use super::calls::{CALL_MAX, late};
use super::link::checked;
use super::{Failure, Sender};
use crate::pull::{hub, wire};
use crate::receipt::enrol::{self, EnrolRefused, Own};

/// Asked so often to enrol: for the payload, with it, and once more if the hub would say something else by then.
const ENROL_TRIES: usize = 3;

impl Sender {
    /// Sees to it that the receipt key stands in the log; whether it does. Not where the fleet enrols nobody.
    pub(super) async fn enrol(&self, client: &mut hub::Client) -> Result<bool, Failure> {
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
}
