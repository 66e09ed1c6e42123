//! The claims read back: after a start of any kind, what the store says is what holds.
//!
//! | a crash after | leaves | after it |
//! |---|---|---|
//! | the staging object | a batch that nothing names | it was never acknowledged, and can be appended again |
//! | the claim | all of it | it is filed here, as it would have been |
//! | some tiles | tiles that no published checkpoint needs yet | they are written again, with the same bytes |
//! | all tiles | a checkpoint that is claimed and not published | it is published |

use bytes::Bytes;
use countersign_ledger::claim::Claim;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::statement::Statement;
use countersign_ledger::tlog::Frontier;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::{Digest, bundle};

use super::chain::{Chain, GrowError, grow};
use super::error::{LogOpenError, RecordError};
use super::signed;
use super::signed::Signed;
use super::{enrolments, receipts};
use crate::store::index::{Filed, FiledClaim, Index};
use crate::store::{Store, staging_path};

/// What becomes of entries that are read back: who knows what they say judges them.
pub(crate) trait Replay: Send {
    /// Takes the entries of claim `number`: all of them, or nothing.
    fn take(&mut self, number: u64, entries: &[Bytes]) -> Result<Vec<Filed>, RecordError>;
}

/// Takes any entries; what clusters said and which keys they say it with is filed.
pub(crate) struct Anything;

impl Replay for Anything {
    fn take(&mut self, _: u64, entries: &[Bytes]) -> Result<Vec<Filed>, RecordError> {
        Ok(entries.iter().map(|entry| filed(entry)).collect())
    }
}

fn filed(entry: &[u8]) -> Filed {
    let Ok(envelope) = Envelope::parse(entry, &Limits::entry()) else {
        return Filed::Other;
    };
    match Statement::parse(envelope.payload()) {
        Ok(Statement::Enrolment(said)) => enrolments::enrolled(&said, envelope.leaf_hash()),
        Ok(Statement::Revocation(said)) => enrolments::revoked(&said, envelope.leaf_hash()),
        Ok(statement) => receipts::filed(&envelope, &statement),
        Err(_) => Filed::Other,
    }
}

/// Where the index ends. A store that lost or changed a claim that the index has seen is refused: whoever means it
/// (another store) deletes the index.
pub(crate) async fn resume(
    store: &Store,
    index: &Index,
    keys: &[Vkey],
) -> Result<Chain, LogOpenError> {
    let Some((number, digest)) = index.last_claim()? else {
        return Ok(Chain::default());
    };
    match store.get(&Claim::path(number)).await? {
        None => return Err(RecordError::SetBack { number }.into()),
        Some(bytes) if Digest::of(&bytes) != digest => {
            return Err(RecordError::Rewritten { number }.into());
        }
        Some(_) => {}
    }
    let frontier = index.frontier()?.unwrap_or_default();
    let Ok(frontier) = Frontier::from_bytes(&frontier) else {
        tracing::warn!("the index is damaged; it is made anew");
        index.clear()?;
        return Ok(Chain::default());
    };
    let signed = match index.newest_note()? {
        None => None,
        Some((claim, note)) => {
            let checkpoint =
                signed::open(keys, &note).map_err(|problem| RecordError::Checkpoint {
                    number: claim,
                    problem,
                })?;
            Some(
                Signed {
                    size: checkpoint.size,
                    root: checkpoint.root,
                    note,
                    claim,
                }
                .into(),
            )
        }
    };
    Ok(Chain {
        next: number.saturating_add(1),
        last: Some(digest),
        frontier,
        signed,
    })
}

/// Reads all claims that `chain` does not have yet, and files them.
pub(crate) async fn replay(
    store: &Store,
    index: &Index,
    keys: &[Vkey],
    mut chain: Chain,
    into: &mut dyn Replay,
) -> Result<Chain, LogOpenError> {
    let after = chain
        .next
        .checked_sub(1)
        .map(|number| format!("{number:020}"))
        .unwrap_or_default();
    for name in store.list("claims", &after).await? {
        let number = chain.next;
        let path = Claim::path(number);
        let Some(later) = name.parse::<u64>().ok().filter(|_| path.ends_with(&name)) else {
            return Err(RecordError::Gap {
                number,
                later: name.parse().unwrap_or(u64::MAX),
            }
            .into());
        };
        let Some(bytes) = store.get(&path).await? else {
            return Err(RecordError::Gap { number, later }.into());
        };
        let claim = chain.read(&bytes)?;
        let staging = claim.staging;
        let Some(staged) = store.get(&staging_path(&staging)).await? else {
            return Err(RecordError::StagingMissing { number, staging }.into());
        };
        let entries = entries(number, &staging, &staged)?;
        let hashes: Vec<Digest> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut grown = match grow(&chain.frontier, &hashes, |hash| index.leaf(hash)) {
            Ok(grown) => grown,
            Err(GrowError::Index(fault)) => return Err(fault.into()),
            Err(GrowError::Full) => return Err(RecordError::Order { number }.into()),
        };
        place(&mut grown.leaves, &hashes);
        let signed = chain
            .check(&claim, &grown.frontier, keys)
            .map_err(|problem| RecordError::Checkpoint { number, problem })?;
        let filed = into.take(number, &entries)?;
        let digest = Digest::of(&bytes);
        index.file(&FiledClaim {
            number,
            digest: &digest,
            staging: &staging,
            note: signed.as_ref().map(|signed| signed.note.as_ref()),
            leaves: &grown.leaves,
            nodes: &grown.nodes,
            frontier: &grown.frontier.to_bytes(),
            entries: &filed,
            blobs: &[],
        })?;
        chain.advance(&digest, grown.frontier, signed);
    }
    Ok(chain)
}

/// The entries of a claim's staging object.
pub(crate) fn entries(
    number: u64,
    want: &Digest,
    staged: &Bytes,
) -> Result<Vec<Bytes>, RecordError> {
    let got = Digest::of(staged);
    if got != *want {
        return Err(RecordError::StagingTampered { number, got });
    }
    let bundle = bundle::decode(staged).map_err(|error| RecordError::Bundle { number, error })?;
    Ok(bundle
        .into_iter()
        .map(|entry| staged.slice_ref(entry))
        .collect())
}

/// Where each new leaf lies in a staging object that may hold others too.
fn place(leaves: &mut [crate::store::index::Leaf], hashes: &[Digest]) {
    let mut from = 0_usize;
    for leaf in leaves {
        let rest = hashes.get(from..).unwrap_or_default();
        let Some(at) = rest.iter().position(|hash| *hash == leaf.hash) else {
            continue;
        };
        leaf.at = u32::try_from(from + at).unwrap_or(u32::MAX);
        from += at + 1;
    }
}
