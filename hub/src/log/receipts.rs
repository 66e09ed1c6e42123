//! What clusters said, as it stands in the log: filed by receipt key and `seq`.

use bytes::Bytes;
use countersign_ledger::Digest;
use countersign_ledger::dsse::Envelope;
use countersign_ledger::statement::Statement;

use super::{Log, ReadError};
use crate::store::index::{Filed, Spoken};
use crate::store::{BlobError, blob_path};

/// How a receipt or drift record is filed. Only envelopes with one signature, that of the cluster's receipt key, are taken
/// in, so that its hint says who spoke when the log is read back.
pub(crate) fn filed(envelope: &Envelope, statement: &Statement) -> Filed {
    let [signature] = envelope.signatures() else {
        return Filed::Other;
    };
    let seq = match statement {
        Statement::Receipt(receipt) => receipt.seq,
        Statement::Drift(drift) => drift.seq,
        Statement::Source(_)
        | Statement::Desired(_)
        | Statement::Enrolment(_)
        | Statement::Revocation(_)
        | Statement::TrustEntry(_)
        | Statement::Override(_)
        | Statement::Infrastructure(_)
        | Statement::Reproduction(_) => return Filed::Other,
    };
    Filed::Receipt {
        speaker: signature.keyid.clone(),
        spoken: Spoken {
            seq,
            leaf: envelope.leaf_hash(),
            envelope: envelope.digest(),
        },
        names: names(statement),
    }
}

/// Blobs that a receipt or drift record names.
pub(crate) fn names(statement: &Statement) -> Vec<Digest> {
    let names = match statement {
        Statement::Receipt(receipt) => [
            receipt.results,
            receipt.attack.as_ref().map(|attack| attack.evidence),
        ],
        Statement::Drift(drift) => [drift.samples, None],
        Statement::Source(_)
        | Statement::Desired(_)
        | Statement::Enrolment(_)
        | Statement::Revocation(_)
        | Statement::TrustEntry(_)
        | Statement::Override(_)
        | Statement::Infrastructure(_)
        | Statement::Reproduction(_) => [None, None],
    };
    names.into_iter().flatten().collect()
}

impl Log {
    /// The newest that a receipt key said.
    pub(crate) fn newest_spoken(&self, speaker: &str) -> Result<Option<Spoken>, ReadError> {
        Ok(self.index.newest_spoken(speaker)?)
    }

    /// What a receipt key said under `seq`.
    pub(crate) fn spoken(&self, speaker: &str, seq: u64) -> Result<Option<Spoken>, ReadError> {
        Ok(self.index.spoken(speaker, seq)?)
    }

    /// The entry with this leaf hash.
    pub(crate) async fn entry_of(&self, leaf: &Digest) -> Result<Option<Bytes>, ReadError> {
        match self.find(leaf)? {
            Some(index) => self.entry(index).await,
            None => Ok(None),
        }
    }

    /// Whether a blob lies in the store.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, ReadError> {
        Ok(self.store.exists(&blob_path(digest)).await?)
    }

    /// Keeps a blob that an entry is going to name.
    pub(crate) async fn keep_blob(&self, bytes: Bytes) -> Result<Digest, BlobError> {
        self.store.put_blob(bytes).await
    }
}
