//! The commitment to a Secret's content: an HMAC under a salt that stands only inside the ciphertext, so that the line
//! in the manifest binds the content and helps nobody to guess it.

use std::fmt;

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::refusal::Refusal;

/// Bytes of the salt before the content.
pub const SALT_BYTES: usize = 32;

/// HMAC-SHA-256 of a Secret's canonical JSON under its salt. Written as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(Digest);

impl Commitment {
    /// The commitment to `content` under `salt`.
    #[must_use]
    pub fn to(salt: &[u8; SALT_BYTES], content: &[u8]) -> Self {
        Self(Digest::from_bytes(
            mac(salt, content).finalize().into_bytes().into(),
        ))
    }

    /// A commitment that was made elsewhere.
    #[must_use]
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }

    /// Checks what came out of the ciphertext, and returns the Secret's canonical JSON. Constant in time.
    pub fn open<'p>(&self, plaintext: &'p [u8]) -> Result<&'p [u8], Refusal> {
        let (salt, content) = plaintext
            .split_first_chunk::<SALT_BYTES>()
            .ok_or(Refusal::SecretTampered)?;
        mac(salt, content)
            .verify_slice(self.0.as_bytes())
            .map_err(|_| Refusal::SecretTampered)?;
        Ok(content)
    }
}

/// What is encrypted: the salt, then the content.
#[must_use]
pub fn plaintext(salt: &[u8; SALT_BYTES], content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SALT_BYTES + content.len()));
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(content);
    bytes
}

/// HMAC takes a key of any length (RFC 2104); the error that its type allows can not occur for a fixed 32 bytes.
fn mac(salt: &[u8; SALT_BYTES], content: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..SALT_BYTES].copy_from_slice(salt);
    // A key shorter than the block is padded with zeros: the same HMAC, by the constructor that can not fail.
    let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block.into());
    mac.update(content);
    mac
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_opens_only_with_its_salt_and_content() {
        let commitment = Commitment::to(&[7; 32], b"{}");
        assert_eq!(commitment.open(&plaintext(&[7; 32], b"{}")).unwrap(), b"{}");
        for other in [
            plaintext(&[8; 32], b"{}"),
            plaintext(&[7; 32], b"[]"),
            Zeroizing::new(vec![7; 31]),
        ] {
            assert_eq!(commitment.open(&other), Err(Refusal::SecretTampered));
        }
        assert_ne!(Commitment::to(&[8; 32], b"{}"), commitment);
    }

    #[test]
    fn the_hmac_is_that_of_rfc_2104() {
        // Computed with `openssl mac -digest SHA256 -macopt hexkey:0b…0b HMAC`.
        let want = "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7";
        assert_eq!(Commitment::to(&[0x0b; 32], b"Hi There").to_string(), want);
    }
}
