//! What comes in: an envelope alone, or one with the blobs that it names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use super::Refusal;
use crate::serve::limits::{ENTRY_BLOB_BYTES_MAX, ENTRY_BLOBS_MAX};

/// Content type of a body with blobs.
pub(crate) const WITH_BLOBS: &str = "application/vnd.countersign.entry+json";

/// What a caller offers; nothing of it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// A DSSE envelope, exact bytes.
    pub(crate) envelope: Bytes,
    /// Blobs that its statement names.
    pub(crate) blobs: Vec<Bytes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithBlobs {
    envelope: String,
    blobs: Vec<String>,
}

impl Offer {
    /// Reads a request's body by its content type.
    pub(crate) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        if kind != Some(WITH_BLOBS.as_bytes()) {
            return Ok(Self {
                envelope: body.clone(),
                blobs: Vec::new(),
            });
        }
        let read: WithBlobs = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad("BODY_INVALID", error.to_string()))?;
        if read.blobs.len() > ENTRY_BLOBS_MAX {
            let text = format!("at most {ENTRY_BLOBS_MAX} blobs, got {}", read.blobs.len());
            return Err(Refusal::bad("BODY_INVALID", text));
        }
        let decode = |what: &str, text: &str| {
            STANDARD
                .decode(text)
                .map(Bytes::from)
                .map_err(|error| Refusal::bad("BODY_INVALID", format!("{what}: {error}")))
        };
        let mut blobs = Vec::new();
        for text in &read.blobs {
            let blob = decode("blobs", text)?;
            if blob.len() > ENTRY_BLOB_BYTES_MAX {
                let text = format!("a blob has at most {ENTRY_BLOB_BYTES_MAX} bytes");
                return Err(Refusal::bad("BODY_INVALID", text));
            }
            blobs.push(blob);
        }
        Ok(Self {
            envelope: decode("envelope", &read.envelope)?,
            blobs,
        })
    }
}
