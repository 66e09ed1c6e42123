//! The keys of an issuer (RFC 7517): RSA and P-256, for RS256 and ES256. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_ledger::json::{self, Limits};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;

/// Bytes of a key set: an API server has one key or two.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Keys in a set.
const KEYS_MAX: usize = 64;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// By its name in JOSE; none but these two.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A key that verifies with one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name; empty if it has none.
    pub kid: String,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { point: Vec<u8> },
}

/// Why a text is no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAKeySet {
    /// Not JSON.
    #[error("the key set {0}")]
    Json(#[from] json::JsonError),
    /// No list of keys.
    #[error("the key set has no list \"keys\", or a longer one than {KEYS_MAX}")]
    Shape,
    /// None of its keys is for RS256 or ES256.
    #[error("the key set has no key for RS256 or ES256")]
    Useless,
}

impl Key {
    /// What it verifies with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256 { .. } => Algorithm::Es256,
        }
    }

    /// Is `signature` over `message` by this key?
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Material::P256 { point } => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

/// Reads a key set; keys of other kinds, or for other use, are passed over.
pub fn parse(bytes: &[u8]) -> Result<Vec<Key>, NotAKeySet> {
    let value = json::parse(bytes, &Limits::document(JWKS_BYTES_MAX))?;
    let listed = value.get("keys").and_then(Value::as_array);
    let listed = listed.filter(|keys| keys.len() <= KEYS_MAX);
    let keys: Vec<Key> = listed
        .ok_or(NotAKeySet::Shape)?
        .iter()
        .filter_map(key)
        .collect();
    if keys.is_empty() {
        Err(NotAKeySet::Useless)
    } else {
        Ok(keys)
    }
}

fn key(value: &Value) -> Option<Key> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|used| used != "sig") {
        return None;
    }
    let material = match text("kty")? {
        "RSA" => Material::Rsa {
            n: unpadded(bytes("n")?),
            e: unpadded(bytes("e")?),
        },
        "EC" if text("crv") == Some("P-256") => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if (x.len(), y.len()) != (32, 32) {
                return None;
            }
            Material::P256 {
                point: [&[4], x.as_slice(), y.as_slice()].concat(),
            }
        }
        _ => return None,
    };
    let key = Key {
        kid: text("kid").unwrap_or_default().to_owned(),
        material,
    };
    // A key that is said to be for another algorithm is for none of ours.
    let said = text("alg").is_none_or(|alg| alg == key.algorithm().name());
    said.then_some(key)
}

/// Big-endian without leading zeros, as ring wants it.
fn unpadded(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default().to_vec()
}
