//! The DSSE envelope: a payload, its type, and signatures over both. Its exact bytes are the truth.
//!
//! Key ids are hints and are never looked at. Fields that we do not know are ignored, as DSSE asks; a key that stands
//! twice is not.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::{Value, json};

use crate::digest::{Digest, leaf_hash};
use crate::json::{self, JsonError};
use crate::key::{PublicKey, Sign, SignFault, Verify};
use crate::limits;

/// The payload type of all entries: an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// How much of an envelope is taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the envelope.
    pub bytes: usize,
    /// Signatures on it.
    pub signatures: usize,
}

impl Limits {
    /// For a log entry.
    #[must_use]
    pub const fn entry() -> Self {
        Self {
            bytes: limits::ENVELOPE_BYTES_MAX,
            signatures: limits::SIGNATURES_MAX,
        }
    }

    /// For a trust root.
    #[must_use]
    pub const fn trust_root() -> Self {
        Self {
            bytes: limits::TRUST_ROOT_BYTES_MAX,
            signatures: limits::TRUST_ROOT_SIGNATURES_MAX,
        }
    }
}

/// A signature as it stands in an envelope; not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// A hint which key made it.
    pub keyid: String,
    /// The signature.
    pub sig: Vec<u8>,
}

/// An envelope that was read or made; nothing about it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
    bytes: Vec<u8>,
}

/// Why bytes are no envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON as we take it.
    #[error("envelope {0}")]
    Json(#[from] JsonError),
    /// A field is missing or of another type.
    #[error("envelope: {field} is missing or no {kind}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        kind: &'static str,
    },
    /// More signatures than allowed.
    #[error("envelope: has {got} signatures, at most {max} are allowed")]
    TooManySignatures {
        /// Signatures that came.
        got: usize,
        /// Signatures that are allowed.
        max: usize,
    },
}

/// The byte string that is signed: `DSSEv1 <length> <type> <length> <payload>`.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs `payload` with each of `signers`.
pub fn sign(
    payload_type: &str,
    payload: &[u8],
    signers: &[&dyn Sign],
) -> Result<Envelope, SignFault> {
    let message = pae(payload_type, payload);
    let signatures: Result<Vec<_>, _> = signers
        .iter()
        .map(|signer| Ok((signer.public(), signer.sign(&message)?)))
        .collect();
    Ok(Envelope::assemble(payload_type, payload, &signatures?))
}

impl Envelope {
    /// Puts signatures that were made elsewhere (a KMS) over [`pae`] around `payload`.
    #[must_use]
    pub fn assemble(
        payload_type: &str,
        payload: &[u8],
        signatures: &[(PublicKey, [u8; 64])],
    ) -> Self {
        let signatures: Vec<Signature> = signatures
            .iter()
            .map(|(key, signature)| Signature {
                keyid: key.id().to_string(),
                sig: signature.to_vec(),
            })
            .collect();
        Self::write(payload_type.to_owned(), payload.to_vec(), signatures)
    }

    /// The same envelope with the signatures of `more` behind its own.
    #[must_use]
    pub fn with_signatures(&self, more: &[(PublicKey, [u8; 64])]) -> Self {
        let added = more.iter().map(|(key, sig)| Signature {
            keyid: key.id().to_string(),
            sig: sig.to_vec(),
        });
        Self::write(
            self.payload_type.clone(),
            self.payload.clone(),
            self.signatures.iter().cloned().chain(added).collect(),
        )
    }

    fn write(payload_type: String, payload: Vec<u8>, signatures: Vec<Signature>) -> Self {
        let mut bytes = b"{\"payload\":".to_vec();
        json::write_string(&STANDARD.encode(&payload), &mut bytes);
        bytes.extend_from_slice(b",\"payloadType\":");
        json::write_string(&payload_type, &mut bytes);
        bytes.extend_from_slice(b",\"signatures\":[");
        for (index, signature) in signatures.iter().enumerate() {
            bytes.extend_from_slice(if index > 0 {
                b",{\"keyid\":"
            } else {
                b"{\"keyid\":"
            });
            json::write_string(&signature.keyid, &mut bytes);
            bytes.extend_from_slice(b",\"sig\":");
            json::write_string(&STANDARD.encode(&signature.sig), &mut bytes);
            bytes.push(b'}');
        }
        bytes.extend_from_slice(b"]}");
        Self {
            payload_type,
            payload,
            signatures,
            bytes,
        }
    }

    /// Reads an envelope; both alphabets of base64 are taken.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, EnvelopeError> {
        let value = json::parse(bytes, &json::Limits::document(limits.bytes))?;
        let payload_type = text(&value, "payloadType")?.to_owned();
        let payload = base64_field(&value, "payload")?;
        let Some(Value::Array(items)) = value.get("signatures") else {
            return Err(EnvelopeError::Field {
                field: "signatures",
                kind: "list",
            });
        };
        if items.len() > limits.signatures {
            return Err(EnvelopeError::TooManySignatures {
                got: items.len(),
                max: limits.signatures,
            });
        }
        let signatures: Result<Vec<_>, EnvelopeError> = items
            .iter()
            .map(|item| {
                let keyid = if item.get("keyid").is_some() {
                    text(item, "keyid")?.to_owned()
                } else {
                    String::new()
                };
                Ok(Signature {
                    keyid,
                    sig: base64_field(item, "sig")?,
                })
            })
            .collect();
        Ok(Self {
            payload_type,
            payload,
            signatures: signatures?,
            bytes: bytes.to_vec(),
        })
    }

    /// The exact bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the exact bytes: what the next statement of the cluster names as its previous one.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The hash of the exact bytes as a log entry.
    #[must_use]
    pub fn leaf_hash(&self) -> Digest {
        leaf_hash(&self.bytes)
    }

    /// The payload's type.
    #[must_use]
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signatures, not verified.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Those of `keys` that signed this payload and type; a key counts once, however often it signed.
    #[must_use]
    pub fn signed_by<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k PublicKey>,
        verifier: &dyn Verify,
    ) -> BTreeSet<PublicKey> {
        let message = pae(&self.payload_type, &self.payload);
        let keys: BTreeSet<&PublicKey> = keys.into_iter().collect();
        keys.into_iter()
            .filter(|key| {
                self.signatures
                    .iter()
                    .any(|signature| verifier.verify(key, &message, &signature.sig))
            })
            .copied()
            .collect()
    }

    /// The envelope as JSON, for a person to read.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let signatures: Vec<Value> = self
            .signatures
            .iter()
            .map(|s| json!({"keyid": s.keyid, "sig": STANDARD.encode(&s.sig)}))
            .collect();
        json!({"payload": STANDARD.encode(&self.payload), "payloadType": self.payload_type, "signatures": signatures})
    }
}

fn text<'v>(value: &'v Value, field: &'static str) -> Result<&'v str, EnvelopeError> {
    value
        .get(field)
        .and_then(Value::as_str)
        .ok_or(EnvelopeError::Field {
            field,
            kind: "text",
        })
}

fn base64_field(value: &Value, field: &'static str) -> Result<Vec<u8>, EnvelopeError> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let text = text(value, field)?;
    STD.decode(text)
        .or_else(|_| URL.decode(text))
        .map_err(|_| EnvelopeError::Field {
            field,
            kind: "base64",
        })
}

#[cfg(test)]
mod tests;
