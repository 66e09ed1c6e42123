//! `enrolment/v1`: a cluster may speak, with this key. Signed by the hub's agent CA and by the receipt key itself, which
//! shows that the cluster holds it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{ensure, text};
use super::{ENROLMENT, StatementError, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::name;

/// Bytes of an age recipient.
const RECIPIENT_BYTES_MAX: usize = 128;

/// A cluster may speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// The fleet.
    pub fleet: String,
    /// The cluster; the subject's name too.
    pub cluster: String,
    /// UID of its namespace kube-system.
    pub uid: String,
    /// SHA-256 of the DER of its API server's CA certificate.
    pub ca_fingerprint: Digest,
    /// The key that signs its receipts; its SHA-256 is the subject's digest.
    pub receipt_key: PublicKey,
    /// To whom its Secrets are encrypted, `age1…`.
    pub recipient: String,
    /// How it proved that it is the cluster.
    pub method: Method,
    /// From 1, one more with each enrolment of the cluster.
    pub number: u64,
}

/// How a cluster proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// With a single-use token that a person handed over.
    Token,
    /// With a token of its own issuer of service accounts.
    ServiceAccount,
    /// With the receipt key that it had before.
    Renewal,
}

impl Enrolment {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            ENROLMENT,
            &self.cluster,
            "sha256",
            &Digest::of(&self.receipt_key.0).to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, digest) = subject(value, "sha256")?;
        let enrolment: Self = predicate(value)?;
        ensure(
            name == enrolment.cluster && digest == Digest::of(&enrolment.receipt_key.0).to_string(),
            "subject",
            "is not the predicate's cluster and receipt key",
        )?;
        enrolment.check()?;
        Ok(enrolment)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        name::check("cluster", &self.cluster)?;
        text("uid", &self.uid)?;
        let plain = self
            .recipient
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        ensure(
            plain
                && self.recipient.starts_with("age1")
                && self.recipient.len() <= RECIPIENT_BYTES_MAX,
            "recipient",
            "must be an age recipient",
        )?;
        ensure(self.number != 0, "number", "begins at 1")
    }
}
