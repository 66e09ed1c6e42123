//! `reproduction/v1`: a second renderer, run by somebody else, rendered the same commit and says what it got.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::ensure;
use super::{REPRODUCTION, StatementError, check_git_id, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::name;

/// What a second renderer found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reproduction {
    /// The fleet.
    pub fleet: String,
    /// The cluster; the subject's name too.
    pub cluster: String,
    /// Generation of the state that it rendered again.
    pub generation: u64,
    /// The commit.
    pub commit: String,
    /// Leaf hash of the state's entry.
    pub desired: Digest,
    /// Its own render digest ([`crate::manifest::Manifest::render_digest`]); the subject's digest too.
    pub digest: Digest,
    /// Whether the sealed manifest has the same one.
    pub agrees: bool,
}

impl Reproduction {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            REPRODUCTION,
            &self.cluster,
            "sha256",
            &self.digest.to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, digest) = subject(value, "sha256")?;
        let this: Self = predicate(value)?;
        ensure(
            name == this.cluster && digest == this.digest.to_string(),
            "subject",
            "is not the predicate's cluster and digest",
        )?;
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        name::check("cluster", &self.cluster)?;
        ensure(self.generation != 0, "generation", "begins at 1")?;
        check_git_id("commit", &self.commit)
    }
}
