//! What the hub itself appends: that a trust root is in effect.

use bytes::Bytes;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::dsse::{self, Envelope, PAYLOAD_TYPE};
use countersign_ledger::key::SignFault;
use countersign_ledger::statement::{StatementError, TrustEntry};
use countersign_ledger::trust::Roots;

use super::error::{LogError, ReadError};
use super::{Appended, Entry, Log};
use crate::seal::Signer;
use crate::store::index::Filed;

/// Why a trust root has no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
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
    #[error(transparent)]
    Sign(#[from] SignFault),
}

/// Appends a `trust/v1` entry for each trust root that has none yet, in order, as one; nothing if all have.
///
/// # Errors
/// [`EntryError`]; nothing is appended then.
pub async fn trust_roots(
    log: &Log,
    roots: &Roots,
    agent_ca: &dyn Signer,
) -> Result<Option<Appended>, EntryError> {
    let had = log.trust_version()?;
    let (mut entries, mut previous) = (Vec::new(), None);
    for root in roots.iter() {
        if root.version() > had {
            let statement = TrustEntry {
                root: root.digest(),
                fleet: root.fleet().to_owned(),
                version: root.version(),
                previous,
            };
            let bytes = signed(&statement.payload()?, agent_ca).await?;
            entries.push(Entry {
                filed: Filed::Trust {
                    version: root.version(),
                    leaf: leaf_hash(&bytes),
                },
                bytes,
            });
        }
        previous = Some(root.digest());
    }
    if entries.is_empty() {
        return Ok(None);
    }
    Ok(Some(log.append_read(entries, Vec::new()).await?))
}

impl Log {
    /// The trust roots' entries: index and exact bytes of each, in the order of the log.
    pub(crate) async fn trust_entries(&self) -> Result<Vec<(u64, Bytes)>, ReadError> {
        let mut found = Vec::new();
        for leaf in self.index.trust_entries()? {
            if let Some(index) = self.find(&leaf)?
                && let Some(bytes) = self.entry(index).await?
            {
                found.push((index, bytes));
            }
        }
        Ok(found)
    }
}

async fn signed(payload: &[u8], signer: &dyn Signer) -> Result<Bytes, SignFault> {
    let signature = signer.sign(&dsse::pae(PAYLOAD_TYPE, payload)).await?;
    let envelope = Envelope::assemble(PAYLOAD_TYPE, payload, &[(signer.public(), signature)]);
    Ok(Bytes::copy_from_slice(envelope.bytes()))
}
