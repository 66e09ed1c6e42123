//! The answer to a request: proofs of what is in the log, under a checkpoint that the cluster takes.

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1 as wire;
use tonic::Status;

use super::Outcome;
use crate::log::{Log, Signed};
use crate::serve::heads::Taken;
use crate::serve::identity::Peer;
use crate::serve::limits::COVERED_MAX;
use crate::serve::refuse::fault;
use crate::serve::state::State;

/// Proofs under a checkpoint that this cluster takes.
pub(super) async fn answer(
    state: &State,
    peer: &Peer,
    log: &Log,
    taken: Outcome,
    tree_size: u64,
) -> Result<wire::ReceiptsResponse, Status> {
    let nonce = state.nonces.give(&peer.cluster, state.now());
    let (refused_code, refused) = taken.refused.unwrap_or_default();
    let mut response = wire::ReceiptsResponse {
        nonce: Bytes::copy_from_slice(nonce.as_bytes()),
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
pub(in crate::serve) async fn covering(
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

pub(in crate::serve) fn hashes(proof: &[Digest]) -> Vec<Bytes> {
    proof
        .iter()
        .map(|hash| Bytes::copy_from_slice(hash.as_bytes()))
        .collect()
}
