//! `trust/v1`: from this place of the log on, a trust root is in effect. The document itself bears the signatures of the
//! root keys; this entry says when.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{ensure, hex, maybe};
use super::{StatementError, TRUST, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::name;

/// A trust root is in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustEntry {
    /// SHA-256 of the document's bytes. The subject's digest.
    #[serde(skip)]
    pub root: Digest,
    /// The fleet; the subject's name too.
    pub fleet: String,
    /// Version of the document.
    pub version: u64,
    /// SHA-256 of the document before; none for version 1, or if the hub never had it.
    #[serde(with = "maybe")]
    pub previous: Option<Digest>,
}

impl TrustEntry {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            TRUST,
            &self.fleet,
            "sha256",
            &self.root.to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, root) = subject(value, "sha256")?;
        let mut entry: Self = predicate(value)?;
        ensure(
            name == entry.fleet,
            "subject",
            "is not the predicate's fleet",
        )?;
        entry.root = hex("subject", root)?;
        entry.check()?;
        Ok(entry)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        ensure(self.version != 0, "version", "begins at 1")?;
        ensure(
            self.version != 1 || self.previous.is_none(),
            "previous",
            "must be empty for version 1",
        )
    }
}
