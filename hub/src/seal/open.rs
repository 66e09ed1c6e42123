//! How a sealer begins: its keys are those of the trust root, and its record is that of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_ledger::Digest;
use countersign_ledger::claim::Claim;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::limits::SIGNATURES_MAX;
use countersign_ledger::trust::Roots;

use super::recovery::{Record, RecordError};
use super::{OpenError, Signer};
use crate::store::index::Index;
use crate::store::{Store, staging_path};

/// Each environment of the trust root has a key here, and each key here is one of the trust root.
pub(super) fn check_signers(
    roots: &Roots,
    signers: &BTreeMap<String, Arc<dyn Signer>>,
) -> Result<(), OpenError> {
    let root = roots.newest();
    let sealers = &root.document().sealers;
    if sealers.len() > SIGNATURES_MAX {
        return Err(OpenError::TooManyEnvironments {
            got: sealers.len(),
            max: SIGNATURES_MAX,
        });
    }
    for environment in sealers.keys() {
        if !signers.contains_key(environment) {
            return Err(OpenError::SignerMissing(environment.clone()));
        }
    }
    for (environment, signer) in signers {
        let key = signer.public();
        if !root.sealers(environment).any(|listed| *listed == key) {
            return Err(OpenError::SignerUnknown {
                environment: environment.clone(),
                key,
            });
        }
    }
    Ok(())
}

/// Reads all claims that the index does not have yet.
pub(super) async fn recover(
    store: &Store,
    index: &Index,
    roots: &Roots,
) -> Result<Record, OpenError> {
    let mut record = resume(store, index).await?;
    let after = record
        .next
        .checked_sub(1)
        .map(|number| format!("{number:020}"))
        .unwrap_or_default();
    for name in store.list("claims", &after).await? {
        let number = record.next;
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
        let staging = record.read_claim(&bytes)?.staging;
        let Some(staged) = store.get(&staging_path(&staging)).await? else {
            return Err(RecordError::StagingMissing { number, staging }.into());
        };
        let replayed = record.replay(&bytes, &staged, roots, &RingVerifier)?;
        index.file(replayed.number, &replayed.digest, &replayed.entries, &[])?;
    }
    Ok(record)
}

/// The record as the index has it. A store that lost or changed a claim that the index has seen is refused: whoever
/// means it (another store) deletes the index.
async fn resume(store: &Store, index: &Index) -> Result<Record, OpenError> {
    let Some((number, digest)) = index.last_claim()? else {
        return Ok(Record::default());
    };
    match store.get(&Claim::path(number)).await? {
        None => return Err(RecordError::SetBack { number }.into()),
        Some(bytes) if Digest::of(&bytes) != digest => {
            return Err(RecordError::Rewritten { number }.into());
        }
        Some(_) => {}
    }
    match Record::resume(Some((number, digest)), index.heads()?) {
        Ok(record) => Ok(record),
        Err(problem) => {
            tracing::warn!(%problem, "the index is damaged; it is made anew");
            index.clear()?;
            Ok(Record::default())
        }
    }
}
