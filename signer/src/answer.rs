//! What a service answered is looked at before it is used: a signature must be of the key that was opened. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::key::{PublicKey, RingVerifier, Verify as _};

/// Longest answer that is read, bytes; real ones have some hundred.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) up to the key.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not the agreed form.
    #[error("the answer has no usable {0}")]
    Form(&'static str),
    /// Larger than any real one.
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    Large,
    /// A signature of another key, or over something else.
    #[error("the signature is not of this key")]
    Signature,
}

/// 32 bytes in base64.
pub(crate) fn raw_key(text: &str) -> Result<PublicKey, Wrong> {
    text.parse().map_err(|_| Wrong::Form("public key"))
}

/// A SubjectPublicKeyInfo in base64.
pub(crate) fn spki(text: &str) -> Result<PublicKey, Wrong> {
    let wrong = Wrong::Form("Ed25519 public key");
    let der = STANDARD.decode(text).map_err(|_| wrong.clone())?;
    let key = der.strip_prefix(&SPKI_HEAD).ok_or_else(|| wrong.clone())?;
    key.try_into().map(PublicKey).map_err(|_| wrong)
}

/// A signature in base64, which must be right.
pub(crate) fn signature(text: &str, key: &PublicKey, message: &[u8]) -> Result<[u8; 64], Wrong> {
    let form = Wrong::Form("signature");
    let bytes = STANDARD.decode(text).map_err(|_| form.clone())?;
    let signature: [u8; 64] = bytes.try_into().map_err(|_| form)?;
    if RingVerifier.verify(key, message, &signature) {
        Ok(signature)
    } else {
        Err(Wrong::Signature)
    }
}

/// Reads an answer up to the limit.
pub(crate) async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, Body> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Body::Cut)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Body::Wrong(Wrong::Large));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Why an answer was not read.
pub(crate) enum Body {
    Cut(reqwest::Error),
    Wrong(Wrong),
}

#[cfg(test)]
mod tests {
    use countersign_ledger::key::{FileKey, Sign as _};

    use super::*;

    #[test]
    fn a_signature_of_another_key_or_message_is_no_signature() {
        let key = FileKey::from_seed(&[7; 32]).unwrap();
        let text = STANDARD.encode(key.sign(b"message").unwrap());
        assert!(signature(&text, &key.public(), b"message").is_ok());
        assert_eq!(
            signature(&text, &key.public(), b"massage"),
            Err(Wrong::Signature)
        );
        let other = FileKey::from_seed(&[8; 32]).unwrap();
        assert_eq!(
            signature(&text, &other.public(), b"message"),
            Err(Wrong::Signature)
        );
        assert_eq!(
            signature("AAAA", &key.public(), b"message"),
            Err(Wrong::Form("signature"))
        );
    }

    #[test]
    fn a_public_key_of_another_kind_is_none() {
        let key = FileKey::from_seed(&[7; 32]).unwrap().public();
        let mut der = SPKI_HEAD.to_vec();
        der.extend_from_slice(&key.0);
        assert_eq!(spki(&STANDARD.encode(&der)), Ok(key));
        der[8] = 0x6e; // X25519
        assert!(spki(&STANDARD.encode(&der)).is_err());
    }
}
