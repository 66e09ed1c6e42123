//! Ed25519 by ring, and keys as files: PEM, PKCS#8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::{PublicKey, Sign, SignFault, Verify};

/// Ed25519 verification by ring.
#[derive(Debug, Clone, Copy, Default)]
pub struct RingVerifier;

impl Verify for RingVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(message, signature)
            .is_ok()
    }
}

/// Why bytes are no private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Not a PEM file of a private key.
    #[error("must be one PEM block \"PRIVATE KEY\"")]
    Pem,
    /// PEM, but no Ed25519 key.
    #[error("must be an Ed25519 private key (PKCS#8)")]
    Ed25519,
    /// The random number generator failed.
    #[error("no randomness")]
    Random,
}

/// A private key that lies in a file. The text and the seed are wiped when dropped; ring's expanded key is not.
pub struct FileKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
}

/// PKCS#8 version 1 of an Ed25519 key (RFC 8410) up to its seed.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// Bytes of a key file that is read; a real one has about 120.
const PEM_BYTES_MAX: usize = 4_096;

impl FileKey {
    /// A new key from `random`.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NotAKey> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut()).map_err(|_| NotAKey::Random)?;
        Self::from_seed(&seed)
    }

    /// The key of a seed (RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, NotAKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NotAKey::Ed25519)?;
        Ok(Self {
            pair,
            seed: Zeroizing::new(*seed),
        })
    }

    /// Reads a PEM file as [`FileKey::to_pem`], `openssl genpkey` and others write it.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        if text.len() > PEM_BYTES_MAX {
            return Err(NotAKey::Pem);
        }
        let body = text
            .trim()
            .strip_prefix(PEM_BEGIN)
            .and_then(|rest| rest.strip_suffix(PEM_END))
            .ok_or(NotAKey::Pem)?;
        let mut body = Zeroizing::new(body.to_owned());
        body.retain(|c| !c.is_ascii_whitespace());
        let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| NotAKey::Pem)?);
        Self::from_pkcs8(&der)
    }

    /// Reads PKCS#8 of version 1 (seed) or 2 (seed and public key, which must match).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, NotAKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| NotAKey::Ed25519)?;
        // ring has checked the structure: in both versions the seed follows the same twelve bytes of algorithm and tag.
        let algorithm = &PKCS8_HEAD[5..];
        let start = der
            .windows(algorithm.len())
            .position(|window| window == algorithm)
            .ok_or(NotAKey::Ed25519)?;
        let seed = der
            .get(start + algorithm.len()..)
            .and_then(|rest| rest.first_chunk::<32>())
            .ok_or(NotAKey::Ed25519)?;
        let key = Self::from_seed(seed)?;
        if key.pair.public_key().as_ref() == pair.public_key().as_ref() {
            Ok(key)
        } else {
            Err(NotAKey::Ed25519)
        }
    }

    /// The key as PKCS#8 of version 1.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<[u8; 48]> {
        let mut der = Zeroizing::new([0; 48]);
        der[..16].copy_from_slice(&PKCS8_HEAD);
        der[16..].copy_from_slice(self.seed.as_ref());
        der
    }

    /// The key as a PEM file.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(STANDARD.encode(self.to_pkcs8().as_ref()));
        Zeroizing::new(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", body.as_str()))
    }
}

impl Sign for FileKey {
    fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFault> {
        let signature = self.pair.sign(message);
        signature
            .as_ref()
            .try_into()
            .map_err(|_| SignFault("signature of another length".into()))
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileKey({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file() {
        let key = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
        let read = FileKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(read.public(), key.public());
        let signature = read.sign(b"message").unwrap();
        assert!(RingVerifier.verify(&key.public(), b"message", &signature));
        assert!(!RingVerifier.verify(&key.public(), b"massage", &signature));
        assert!(!RingVerifier.verify(&key.public(), b"message", &signature[..63]));
    }

    #[test]
    fn the_key_of_rfc_8032_has_its_public_half() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
            .parse::<crate::Digest>()
            .unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
            .parse::<crate::Digest>()
            .unwrap();
        assert_eq!(
            FileKey::from_seed(seed.as_bytes()).unwrap().public(),
            PublicKey(*public.as_bytes())
        );
    }

    #[test]
    fn pkcs8_of_version_2_is_read_too() {
        let der = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let key = FileKey::from_pkcs8(der.as_ref()).unwrap();
        assert_eq!(key.public().0.as_slice(), pair.public_key().as_ref());
    }

    #[test]
    fn other_files_are_no_keys_and_nothing_of_a_key_is_shown() {
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert!(FileKey::from_pem(text).is_err());
        }
        let key = FileKey::from_seed(&[7; 32]).unwrap();
        assert!(!format!("{key:?}").contains("07"));
        assert_eq!(format!("{key:?}"), format!("FileKey({})", key.public()));
    }
}
