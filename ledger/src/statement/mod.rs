//! in-toto statements: what entries say. Read strictly; unknown fields are ignored (in-toto asks so: a field may be
//! added only if ignoring it never allows what it would forbid), an unknown predicate type is not.

mod desired;
pub mod drift;
pub mod enrolment;
mod fields;
pub mod infrastructure;
pub mod override_;
pub mod receipt;
pub mod reproduction;
pub mod revocation;
#[cfg(test)]
pub(crate) mod samples;
mod source;
pub mod trust_entry;

pub use desired::{Admission, Desired, Permit, PermitKind};
pub use drift::Drift;
pub use enrolment::Enrolment;
pub use infrastructure::Infrastructure;
pub use override_::Override;
pub use receipt::Receipt;
pub use reproduction::Reproduction;
pub use revocation::Revocation;
pub use source::{Source, Verdict};
pub use trust_entry::TrustEntry;

use serde_json::{Value, json};

use crate::dsse::{PAYLOAD_TYPE, pae};
use crate::json::{self, JsonError, Limits};
use crate::limits::PAE_BYTES_MAX;
use crate::name::BadName;

/// The statement's type.
pub const TYPE: &str = "https://in-toto.io/Statement/v1";
/// Predicate type of [`Source`].
pub const SOURCE: &str = "https://countersign.dev/source/v1";
/// Predicate type of [`Desired`].
pub const DESIRED: &str = "https://countersign.dev/desired/v1";
/// Predicate type of [`Receipt`].
pub const RECEIPT: &str = "https://countersign.dev/receipt/v1";
/// Predicate type of [`Drift`].
pub const DRIFT: &str = "https://countersign.dev/drift/v1";
/// Predicate type of [`Enrolment`].
pub const ENROLMENT: &str = "https://countersign.dev/enrolment/v1";
/// Predicate type of [`Revocation`].
pub const REVOCATION: &str = "https://countersign.dev/revocation/v1";
/// Predicate type of [`TrustEntry`].
pub const TRUST: &str = "https://countersign.dev/trust/v1";
/// Predicate type of [`Override`].
pub const OVERRIDE: &str = "https://countersign.dev/override/v1";
/// Predicate type of [`Infrastructure`].
pub const INFRASTRUCTURE: &str = "https://countersign.dev/infrastructure/v1";
/// Predicate type of [`Reproduction`].
pub const REPRODUCTION: &str = "https://countersign.dev/reproduction/v1";

/// A statement of a kind that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The tracked ref moved.
    Source(Source),
    /// What one cluster shall run.
    Desired(Desired),
    /// What a cluster did.
    Receipt(Receipt),
    /// Somebody else changed what a cluster runs.
    Drift(Drift),
    /// A cluster may speak.
    Enrolment(Enrolment),
    /// A key speaks no more.
    Revocation(Revocation),
    /// A trust root is in effect.
    TrustEntry(TrustEntry),
    /// A person allows what the rules would not.
    Override(Override),
    /// CI changed what lies below the clusters.
    Infrastructure(Infrastructure),
    /// A second renderer rendered the same commit.
    Reproduction(Reproduction),
}

/// Why a payload is no statement, or a statement can not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not JSON as we take it.
    #[error("statement {0}")]
    Json(#[from] JsonError),
    /// What would be signed is longer than a KMS signs.
    #[error("statement: its PAE has {got} bytes, at most {PAE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Bytes of the PAE.
        got: usize,
    },
    /// Not an in-toto statement of version 1.
    #[error("statement: its _type is not {TYPE:?}")]
    Type,
    /// A predicate that we do not know.
    #[error("statement: unknown predicate type {0:?}")]
    Predicate(String),
    /// Not exactly one subject with a name and a digest of the right kind.
    #[error("statement: must have one subject with a name and the digest {0:?}")]
    Subject(&'static str),
    /// A field of the predicate is missing or of another type.
    #[error("statement: predicate: {0}")]
    Shape(String),
    /// A name that is none.
    #[error("statement: {0}")]
    Name(#[from] BadName),
    /// A field with a value that can not be.
    #[error("statement: {field} {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Statement {
    /// Reads the payload of an envelope.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        check_size(payload)?;
        let value = json::parse(payload, &Limits::document(PAE_BYTES_MAX))?;
        if value.get("_type").and_then(Value::as_str) != Some(TYPE) {
            return Err(StatementError::Type);
        }
        match value.get("predicateType").and_then(Value::as_str) {
            Some(SOURCE) => Source::read(&value).map(Self::Source),
            Some(DESIRED) => Desired::read(&value).map(Self::Desired),
            Some(RECEIPT) => Receipt::read(&value).map(Self::Receipt),
            Some(DRIFT) => Drift::read(&value).map(Self::Drift),
            Some(ENROLMENT) => Enrolment::read(&value).map(Self::Enrolment),
            Some(REVOCATION) => Revocation::read(&value).map(Self::Revocation),
            Some(TRUST) => TrustEntry::read(&value).map(Self::TrustEntry),
            Some(OVERRIDE) => Override::read(&value).map(Self::Override),
            Some(INFRASTRUCTURE) => Infrastructure::read(&value).map(Self::Infrastructure),
            Some(REPRODUCTION) => Reproduction::read(&value).map(Self::Reproduction),
            other => Err(StatementError::Predicate(
                other.unwrap_or_default().chars().take(120).collect(),
            )),
        }
    }

    /// The payload: canonical JSON that is small enough to be signed.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        match self {
            Self::Source(source) => source.payload(),
            Self::Desired(desired) => desired.payload(),
            Self::Receipt(this) => this.payload(),
            Self::Drift(this) => this.payload(),
            Self::Enrolment(this) => this.payload(),
            Self::Revocation(this) => this.payload(),
            Self::TrustEntry(this) => this.payload(),
            Self::Override(this) => this.payload(),
            Self::Infrastructure(this) => this.payload(),
            Self::Reproduction(this) => this.payload(),
        }
    }

    /// The predicate's type.
    #[must_use]
    pub const fn predicate_type(&self) -> &'static str {
        match self {
            Self::Source(_) => SOURCE,
            Self::Desired(_) => DESIRED,
            Self::Receipt(_) => RECEIPT,
            Self::Drift(_) => DRIFT,
            Self::Enrolment(_) => ENROLMENT,
            Self::Revocation(_) => REVOCATION,
            Self::TrustEntry(_) => TRUST,
            Self::Override(_) => OVERRIDE,
            Self::Infrastructure(_) => INFRASTRUCTURE,
            Self::Reproduction(_) => REPRODUCTION,
        }
    }

    /// The fleet that it is of.
    #[must_use]
    pub fn fleet(&self) -> &str {
        match self {
            Self::Source(this) => &this.fleet,
            Self::Desired(this) => &this.fleet,
            Self::Receipt(this) => &this.fleet,
            Self::Drift(this) => &this.fleet,
            Self::Enrolment(this) => &this.fleet,
            Self::Revocation(this) => &this.fleet,
            Self::TrustEntry(this) => &this.fleet,
            Self::Override(this) => &this.fleet,
            Self::Infrastructure(this) => &this.fleet,
            Self::Reproduction(this) => &this.fleet,
        }
    }
}

fn check_size(payload: &[u8]) -> Result<(), StatementError> {
    // The PAE adds the type and two lengths: measured on the payload itself, so that large input is never copied.
    let got = pae(PAYLOAD_TYPE, &[]).len() + payload.len() + payload.len().max(1).ilog10() as usize;
    if got <= PAE_BYTES_MAX {
        Ok(())
    } else {
        Err(StatementError::TooLarge { got })
    }
}

fn write(
    predicate_type: &str,
    name: &str,
    algorithm: &str,
    digest: &str,
    predicate: Value,
) -> Result<Vec<u8>, StatementError> {
    let statement = json!({
        "_type": TYPE,
        "predicate": predicate,
        "predicateType": predicate_type,
        "subject": [{"digest": {algorithm: digest}, "name": name}],
    });
    let payload = json::canonical(&statement)?;
    check_size(&payload)?;
    Ok(payload)
}

/// The one subject: its name and its digest by `algorithm`.
fn subject<'v>(
    value: &'v Value,
    algorithm: &'static str,
) -> Result<(&'v str, &'v str), StatementError> {
    let Some([subject]) = value
        .get("subject")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    else {
        return Err(StatementError::Subject(algorithm));
    };
    let name = subject.get("name").and_then(Value::as_str);
    let digest = subject
        .get("digest")
        .and_then(|digest| digest.get(algorithm))
        .and_then(Value::as_str);
    name.zip(digest).ok_or(StatementError::Subject(algorithm))
}

/// The predicate, as `T`.
fn predicate<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, StatementError> {
    let predicate = value.get("predicate").unwrap_or(&Value::Null);
    T::deserialize(predicate).map_err(|error| StatementError::Shape(error.to_string()))
}

/// The predicate as JSON.
fn to_value<T: serde::Serialize>(predicate: &T) -> Result<Value, StatementError> {
    serde_json::to_value(predicate).map_err(|error| StatementError::Shape(error.to_string()))
}

/// A Git object id: SHA-1 or SHA-256, lower-case hex.
fn check_git_id(field: &'static str, text: &str) -> Result<(), StatementError> {
    let hex = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(text.len(), 40 | 64) {
        Ok(())
    } else {
        Err(StatementError::Field {
            field,
            problem: "must be 40 or 64 lower-case hex digits",
        })
    }
}

#[cfg(test)]
mod tests;
