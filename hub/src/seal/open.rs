//! How a sealer begins: its keys are those of the trust root, and its record is that of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::limits::SIGNATURES_MAX;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::trust::Roots;

use super::recovery::Record;
use super::{OpenError, Signer};
use crate::log::RecordError;
use crate::log::chain::Chain;
use crate::log::replay::{self, Replay};
use crate::store::Store;
use crate::store::index::{Filed, Index};

/// Each key here is one of the trust root, and there is one. An environment without waits; the others are sealed for.
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
    if let Some(environment) = sealers.keys().next()
        && signers.is_empty()
    {
        return Err(OpenError::SignerMissing(environment.clone()));
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

/// Takes entries into a record as they are read back.
struct Recorder<'r> {
    record: Record,
    roots: &'r Roots,
}

impl Replay for Recorder<'_> {
    fn take(&mut self, number: u64, entries: &[Bytes]) -> Result<Vec<Filed>, RecordError> {
        self.record.take(number, entries, self.roots, &RingVerifier)
    }
}

/// Reads all claims that the index does not have yet.
pub(super) async fn recover(
    store: &Store,
    index: &Index,
    roots: &Roots,
    keys: &[Vkey],
) -> Result<(Record, Chain), OpenError> {
    let mut chain = replay::resume(store, index, keys).await?;
    let record = match Record::resume(index.heads()?) {
        Ok(record) => record,
        Err(problem) => {
            tracing::warn!(%problem, "the index is damaged; it is made anew");
            index.clear()?;
            chain = Chain::default();
            Record::default()
        }
    };
    let mut recorder = Recorder { record, roots };
    let chain = replay::replay(store, index, keys, chain, &mut recorder).await?;
    Ok((recorder.record, chain))
}
