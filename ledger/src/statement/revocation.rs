//! `revocation/v1`: a key speaks no more. What it signed at a later place of the log is void.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{ensure, text};
use super::{REVOCATION, StatementError, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::name;
use crate::time::Time;

/// A key speaks no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The fleet; the subject's name too, if no cluster is named.
    pub fleet: String,
    /// The cluster whose key it was; the subject's name too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The key; its SHA-256 is the subject's digest.
    pub key: PublicKey,
    /// Why.
    pub reason: String,
    /// From when on nobody should have believed it. For people: what counts is the place in the log.
    pub since: Time,
}

impl Revocation {
    fn name(&self) -> &str {
        self.cluster.as_deref().unwrap_or(&self.fleet)
    }

    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            REVOCATION,
            self.name(),
            "sha256",
            &Digest::of(&self.key.0).to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, digest) = subject(value, "sha256")?;
        let revocation: Self = predicate(value)?;
        ensure(
            name == revocation.name() && digest == Digest::of(&revocation.key.0).to_string(),
            "subject",
            "is not the predicate's cluster or fleet and key",
        )?;
        revocation.check()?;
        Ok(revocation)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        if let Some(cluster) = &self.cluster {
            name::check("cluster", cluster)?;
        }
        text("reason", &self.reason)
    }
}
