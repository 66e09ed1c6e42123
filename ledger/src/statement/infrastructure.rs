//! `infrastructure/v1`: CI planned or applied a change of the infrastructure below the clusters.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{hex, line, text};
use super::{INFRASTRUCTURE, StatementError, check_git_id, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::name;

/// A plan, or its being applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Infrastructure {
    /// The workspace. The subject's name.
    #[serde(skip)]
    pub workspace: String,
    /// SHA-256 of the plan file. The subject's digest.
    #[serde(skip)]
    pub plan: Digest,
    /// The fleet.
    pub fleet: String,
    /// The environment.
    pub environment: String,
    /// Planned or applied.
    pub phase: Phase,
    /// How many resources it changes how.
    pub addresses: AddressCounts,
    /// Digest of the blob with their addresses and actions, without values.
    pub resources: Digest,
    /// The commit that it was made of; empty if there is none.
    pub commit: String,
    /// The run of CI, by its URL or number.
    pub run: String,
    /// Who: the name of a token, or the subject of an identity token.
    pub by: String,
}

/// How far it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It would change this.
    Plan,
    /// It changed this.
    Apply,
}

/// How many resources change how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressCounts {
    /// New ones.
    pub create: u64,
    /// Changed in place.
    pub update: u64,
    /// Deleted.
    pub delete: u64,
    /// Deleted and made anew.
    pub replace: u64,
}

impl Infrastructure {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            INFRASTRUCTURE,
            &self.workspace,
            "sha256",
            &self.plan.to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, plan) = subject(value, "sha256")?;
        let mut this: Self = predicate(value)?;
        name.clone_into(&mut this.workspace);
        this.plan = hex("subject", plan)?;
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), StatementError> {
        text("subject", &self.workspace)?;
        name::check("fleet", &self.fleet)?;
        name::check("environment", &self.environment)?;
        if !self.commit.is_empty() {
            check_git_id("commit", &self.commit)?;
        }
        line("run", &self.run)?;
        text("by", &self.by)
    }
}
