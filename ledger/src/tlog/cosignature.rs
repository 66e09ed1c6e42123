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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{FileKey, RingVerifier};

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_message_is_that_of_the_specification() {
        assert_eq!(
            message(1_679_315_147, TEXT),
            format!("cosignature/v1\ntime 1679315147\n{TEXT}").into_bytes()
        );
    }

    #[test]
    fn a_cosignature_is_of_its_key_its_text_and_its_time() {
        let key = FileKey::from_seed(&[3; 32]).unwrap();
        let signature = sign("witness.example/w1", &key, 1_679_315_147, TEXT).unwrap();
        let public = key.public();
        let check = |text: &str, bytes: &[u8]| verify(&public, text, bytes, &RingVerifier);
        assert_eq!(check(TEXT, &signature.bytes), Some(1_679_315_147));
        assert_eq!(check("other\n", &signature.bytes), None);
        assert_eq!(check(TEXT, &signature.bytes[..71]), None);
        assert_eq!(
            check(TEXT, &[signature.bytes.as_slice(), &[0]].concat()),
            None
        );
        assert_eq!(check(TEXT, &[]), None);
        let other = FileKey::from_seed(&[4; 32]).unwrap().public();
        assert_eq!(verify(&other, TEXT, &signature.bytes, &RingVerifier), None);
        // A log's own signature over the text is no cosignature.
        let plain = key.sign(TEXT.as_bytes()).unwrap();
        assert_eq!(
            check(TEXT, &[0_u64.to_be_bytes().as_slice(), &plain].concat()),
            None
        );
    }

    #[test]
    fn no_time_is_past_2_to_the_63() {
        let key = FileKey::from_seed(&[3; 32]).unwrap();
        let last = i64::MAX.cast_unsigned();
        assert!(sign("w", &key, last, TEXT).is_ok());
        assert_eq!(
            sign("w", &key, last + 1, TEXT),
            Err(NoteSignError::Time { time: last + 1 })
        );
        let mut bytes = (last + 1).to_be_bytes().to_vec();
        bytes.extend(key.sign(&message(last + 1, TEXT)).unwrap());
        assert_eq!(verify(&key.public(), TEXT, &bytes, &RingVerifier), None);
    }
}
