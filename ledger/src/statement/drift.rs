//! `drift/v1`: somebody else changed what the cluster was told to run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{ensure, hex, line, link, maybe, nonce};
use super::{DRIFT, StatementError, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::identity::ObjectId;
use crate::limits::{DRIFT_MANAGERS_MAX, DRIFT_PATHS_MAX};
use crate::name;
use crate::time::Time;

/// An object drifted, once or often. Of a Secret it names paths, never values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Digest of the manifest that the cluster runs. The subject's digest.
    #[serde(skip)]
    pub manifest: Digest,
    /// The fleet.
    pub fleet: String,
    /// The cluster; the subject's name too.
    pub cluster: String,
    /// From 1, dense, for each receipt key; receipts and drift records together.
    pub seq: u64,
    /// Digest of the envelope of the receipt or drift record before; none at seq 1.
    #[serde(with = "maybe")]
    pub previous: Option<Digest>,
    /// Generation of the state.
    pub generation: u64,
    /// The app.
    pub app: String,
    /// The object; of folded ones the first.
    pub object: ObjectId,
    /// What was done to it.
    pub what: DriftKind,
    /// Field managers that did it.
    pub managers: Vec<String>,
    /// Paths that differ, as in managedFields.
    pub paths: Vec<String>,
    /// Whether it is as it should be again.
    pub healed: bool,
    /// Milliseconds from the event to the healing write's answer; 0 if it is not healed.
    pub healed_after_ms: u64,
    /// Drifts that this record stands for.
    pub count: u64,
    /// When the first was seen.
    pub first: Time,
    /// When the last was seen.
    pub last: Time,
    /// Digest of the blob with samples of folded drifts; none for none.
    #[serde(with = "maybe")]
    pub samples: Option<Digest>,
    /// The newest nonce of the hub that the agent knew, in hex; empty if it knew none.
    pub nonce: String,
}

/// How an object drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// A field of ours has another value.
    Changed,
    /// The object is gone.
    Deleted,
    /// Somebody added fields beside ours.
    Added,
}

impl Drift {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            DRIFT,
            &self.cluster,
            "sha256",
            &self.manifest.to_string(),
            to_value(self)?,
        )
    }

    /// The same record with as many of its managers and paths as can be signed, the first ones first: paths go before
    /// managers. The rest belongs into the samples.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.managers.truncate(DRIFT_MANAGERS_MAX);
        self.paths.truncate(DRIFT_PATHS_MAX);
        self.managers
            .retain(|manager| line("managers", manager).is_ok());
        self.paths.retain(|path| line("paths", path).is_ok());
        while matches!(self.payload(), Err(StatementError::TooLarge { .. })) {
            if self.paths.pop().is_none() && self.managers.pop().is_none() {
                break;
            }
        }
        self
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, manifest) = subject(value, "sha256")?;
        let mut drift: Self = predicate(value)?;
        ensure(
            name == drift.cluster,
            "subject",
            "is not the predicate's cluster",
        )?;
        drift.manifest = hex("subject", manifest)?;
        drift.check()?;
        Ok(drift)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        name::check("cluster", &self.cluster)?;
        name::check("app", &self.app)?;
        link(self.seq, self.previous.as_ref())?;
        ensure(self.generation != 0, "generation", "begins at 1")?;
        ensure(
            self.object.check().is_ok(),
            "object",
            "is no identity of an object",
        )?;
        ensure(
            self.managers.len() <= DRIFT_MANAGERS_MAX,
            "managers",
            "are too many",
        )?;
        ensure(self.paths.len() <= DRIFT_PATHS_MAX, "paths", "are too many")?;
        for manager in &self.managers {
            line("managers", manager)?;
        }
        for path in &self.paths {
            line("paths", path)?;
        }
        ensure(
            self.healed || self.healed_after_ms == 0,
            "healedAfterMs",
            "must be 0 for what is not healed",
        )?;
        ensure(self.count != 0, "count", "begins at 1")?;
        ensure(self.first <= self.last, "last", "is before first")?;
        nonce(&self.nonce)
    }
}
