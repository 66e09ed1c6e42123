//! Signed checkpoints of our log: made by its key, read by its vkeys.

use bytes::Bytes;
use countersign_ledger::Digest;
use countersign_ledger::key::{RingVerifier, SignFault};
use countersign_ledger::tlog::note::{self, KeyKind, Signature, Vkey, VkeyError};
use countersign_ledger::tlog::{Checkpoint, Note};

use super::error::CheckpointProblem;
use crate::seal::Signer;

/// The log's name and key, from the fleet's name: `countersign.dev/fleet/<fleet>`.
#[must_use]
pub fn origin(fleet: &str) -> String {
    format!("countersign.dev/fleet/{fleet}")
}

/// The vkey of a log's key.
///
/// # Errors
/// [`VkeyError`] if the fleet's name can't stand in a key's name.
pub fn vkey(fleet: &str, signer: &dyn Signer) -> Result<Vkey, VkeyError> {
    Vkey::new(&origin(fleet), KeyKind::Ed25519, signer.public())
}

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Entries of the tree.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The signed note, exact bytes; cosignatures included once it is published under a witness policy.
    pub note: Bytes,
    /// The claim that it stands in.
    pub claim: u64,
}

/// What is signed for a tree.
pub(super) fn text(origin: &str, size: u64, root: Digest) -> String {
    let origin = origin.to_owned();
    Checkpoint { origin, size, root }.text()
}

/// Signs `text` with the log's key.
pub(super) async fn sign(signer: &dyn Signer, key: &Vkey, text: &str) -> Result<Bytes, SignFault> {
    let signature = signer.sign(text.as_bytes()).await?;
    let mut note = Note::new(text).map_err(|error| SignFault(error.to_string()))?;
    note.add(Signature {
        name: key.name().to_owned(),
        id: key.id(),
        bytes: signature.to_vec(),
    });
    let bytes = note.bytes();
    // A signature that does not verify would be a claim that nobody can read back.
    note::open(&bytes, std::slice::from_ref(key), &RingVerifier)
        .map_err(|error| SignFault(error.to_string()))?;
    Ok(bytes.into())
}

/// Reads a signed checkpoint of one of `keys`.
pub(super) fn open(keys: &[Vkey], bytes: &[u8]) -> Result<Checkpoint, CheckpointProblem> {
    let want = keys.first().ok_or(CheckpointProblem::LogNotListed)?.name();
    let opened = note::open(bytes, keys, &RingVerifier)?;
    let checkpoint = Checkpoint::parse(opened.text())?;
    if checkpoint.origin == want {
        Ok(checkpoint)
    } else {
        Err(CheckpointProblem::Origin {
            want: want.to_owned(),
            got: checkpoint.origin,
        })
    }
}
