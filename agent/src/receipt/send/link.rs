//! One history: what is shown here of the log, and what the stream of heads showed.

use bytes::Bytes;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::verify::{self, Known, Seen, VerifiedCheckpoint};

use super::calls::ask;
use super::{Failure, Sender};
use crate::clock;
use crate::pull::{hub, wire};

/// Asked so often for a checkpoint of one size from two places: the log grows between the calls.
const LINK_TRIES: usize = 3;

impl Sender {
    /// What the stream of heads showed of the log and what is shown here must be one history: both are led to one checkpoint.
    pub(super) async fn link(
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
pub(super) fn checked(
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
