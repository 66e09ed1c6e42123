//! Cosignatures (`tlog-cosignature`, version 1): a witness's word that, at a time, a checkpoint was the largest
//! consistent one it had seen of this log.

use crate::key::{PublicKey, Sign, Verify};
use crate::tlog::note::{KeyKind, NoteSignError, Signature, Vkey};

/// Bytes of a cosignature: eight of time, 64 of Ed25519.
pub const COSIGNATURE_BYTES: usize = 72;

/// The bytes that a witness signs: a heading, the time, and the checkpoint's whole text.
#[must_use]
pub fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// The cosignature line of witness `name` on the text of a checkpoint, at `time` in seconds since 1970.
pub fn sign(name: &str, key: &dyn Sign, time: u64, text: &str) -> Result<Signature, NoteSignError> {
    let vkey = Vkey::new(name, KeyKind::Cosignature, key.public())?;
    if i64::try_from(time).is_err() {
        return Err(NoteSignError::Time { time });
    }
    let signature = key.sign(&message(time, text))?;
    let mut bytes = time.to_be_bytes().to_vec();
    bytes.extend_from_slice(&signature);
    Ok(Signature {
        name: name.to_owned(),
        id: vkey.id(),
        bytes,
    })
}

/// The time that a cosignature says, if it is `key`'s on the text of a checkpoint.
#[must_use]
pub fn verify(key: &PublicKey, text: &str, bytes: &[u8], verifier: &dyn Verify) -> Option<u64> {
    if bytes.len() != COSIGNATURE_BYTES {
        return None;
    }
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    // C2SP: a time must not exceed 2^63 - 1.
    i64::try_from(time).ok()?;
    verifier
        .verify(key, &message(time, text), signature)
        .then_some(time)
}
