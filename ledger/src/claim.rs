//! The claim: the one conditional write that makes a batch of entries part of the record.
//!
//! Claims are numbered densely from 0 and each names the one before, so their order is the order of the record.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::json::{self, JsonError, Limits};
use crate::limits::CLAIM_BYTES_MAX;

/// The format's name.
pub const FORMAT: &str = "https://countersign.dev/claim/v1";

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its place, from 0 without gaps.
    pub number: u64,
    /// Digest of the bytes of the claim before it; none for claim 0.
    pub previous: Option<Digest>,
    /// Digest of the staging object with its entries.
    pub staging: Digest,
    /// The log's checkpoint that covers its entries and all before them, a signed note with the log's own signature; none
    /// in a claim from before the log.
    pub checkpoint: Option<String>,
}

/// Why bytes are no claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Not JSON as we take it.
    #[error("claim {0}")]
    Json(#[from] JsonError),
    /// A field is missing, unknown or of another type.
    #[error("claim: {0}")]
    Shape(String),
    /// Another format, perhaps a newer one.
    #[error("claim: has the format {0:?}, not {FORMAT:?}")]
    Format(String),
    /// The first claim names one before it, or a later one names none.
    #[error("claim {0}: only claim 0 has no previous one")]
    Previous(u64),
    /// The same claim, but not in its canonical bytes.
    #[error("claim {0}: not in canonical form")]
    NotCanonical(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: String,
    number: u64,
    previous: String,
    staging: Digest,
    #[serde(default)]
    checkpoint: Option<String>,
}

impl Claim {
    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let previous = self
            .previous
            .map_or_else(String::new, |digest| digest.to_string());
        let Self {
            number, staging, ..
        } = self;
        let mut bytes = b"{".to_vec();
        if let Some(checkpoint) = &self.checkpoint {
            bytes.extend_from_slice(b"\"checkpoint\":");
            json::write_string(checkpoint, &mut bytes);
            bytes.push(b',');
        }
        let rest = format!(
            "\"format\":\"{FORMAT}\",\"number\":{number},\"previous\":\"{previous}\",\"staging\":\"{staging}\"}}"
        );
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }

    /// Reads a claim. A field that is not known is refused: whoever wrote it knew a rule that we would break.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClaimError> {
        let value: Value = json::parse(bytes, &Limits::document(CLAIM_BYTES_MAX))?;
        if let Some(format) = value.get("format").and_then(Value::as_str)
            && format != FORMAT
        {
            return Err(ClaimError::Format(format.chars().take(80).collect()));
        }
        let wire: Wire =
            serde_json::from_value(value).map_err(|error| ClaimError::Shape(error.to_string()))?;
        let previous = match wire.previous.as_str() {
            "" => None,
            text => Some(
                text.parse::<Digest>()
                    .map_err(|error| ClaimError::Shape(format!("previous: {error}")))?,
            ),
        };
        if previous.is_none() != (wire.number == 0) {
            return Err(ClaimError::Previous(wire.number));
        }
        let claim = Self {
            number: wire.number,
            previous,
            staging: wire.staging,
            checkpoint: wire.checkpoint,
        };
        if claim.bytes() == bytes {
            Ok(claim)
        } else {
            Err(ClaimError::NotCanonical(claim.number))
        }
    }

    /// Where claim `number` lies in the store.
    #[must_use]
    pub fn path(number: u64) -> String {
        format!("claims/{number:020}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_survive_and_are_canonical() {
        let first = Claim {
            number: 0,
            previous: None,
            staging: Digest::of(b"s"),
            checkpoint: None,
        };
        let second = Claim {
            number: 1,
            previous: Some(Digest::of(&first.bytes())),
            staging: Digest::of(b"t"),
            checkpoint: Some("log\n1\nroot\n\n\u{2014} log c2ln\n".into()),
        };
        for claim in [
            first,
            second,
            Claim {
                number: u64::MAX,
                previous: Some(Digest::default()),
                staging: Digest::default(),
                checkpoint: Some("\"\\\u{1}".into()),
            },
        ] {
            let bytes = claim.bytes();
            assert_eq!(Claim::parse(&bytes).unwrap(), claim);
            assert_eq!(
                json::canonical(&json::parse(&bytes, &Limits::document(4096)).unwrap()).unwrap(),
                bytes
            );
        }
    }

    #[test]
    fn other_claims_are_refused() {
        let good = String::from_utf8(
            Claim {
                number: 0,
                previous: None,
                staging: Digest::of(b"s"),
                checkpoint: None,
            }
            .bytes(),
        )
        .unwrap();
        let refused = [
            good.replace("claim/v1", "claim/v2"),
            good.replace("\"number\":0", "\"number\":1"),
            good.replace("\"number\":0", "\"number\":-1"),
            good.replace("\"number\":0", "\"number\":0,\"checkpoint\":\"\""),
            good.replace('{', "{\"checkpoint\":null,"),
            good.replace("\"number\":0", "\"number\":0,\"more\":0"),
            good.replace("\"previous\":\"\"", "\"previous\":\"ab\""),
            good.replace(',', ", "),
            format!("{good}\n"),
        ];
        for text in refused {
            assert!(Claim::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_have_twenty_digits_and_sort_like_their_numbers() {
        assert_eq!(Claim::path(7), "claims/00000000000000000007");
        assert_eq!(Claim::path(u64::MAX), "claims/18446744073709551615");
    }
}
