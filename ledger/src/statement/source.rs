//! `source/v1`: the hub saw the tracked ref move.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SOURCE, StatementError, check_git_id, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::name;

/// A tracked ref moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The fleet.
    pub fleet: String,
    /// The repository, as its URL without credentials or a name; the subject's name too.
    pub repository: String,
    /// The ref, `refs/heads/main`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit before; empty for the first.
    pub old: String,
    /// The commit now; the subject's digest too.
    pub new: String,
    /// Its tree.
    pub tree: String,
    /// SHA-256 of the raw commit object: Git's own SHA-1 is not enough.
    pub commit_sha256: Digest,
    /// The author as the commit says, `Name <mail>`.
    pub author: String,
    /// Who signed the commit, by the trust root's name of the person; empty if nobody known did.
    pub signer: String,
    /// What the check of the commit's signature found.
    pub verdict: Verdict,
}

/// What the check of a commit's signature found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It bears no signature.
    Unsigned,
    /// Its signature is of a person of the trust root.
    Verified,
    /// Its signature is of a key that the trust root does not list.
    Unknown,
    /// Its signature does not fit the commit.
    Bad,
}

impl Source {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            SOURCE,
            &self.repository,
            "gitCommit",
            &self.new,
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, digest) = subject(value, "gitCommit")?;
        let source: Self = predicate(value)?;
        if name != source.repository || digest != source.new {
            return Err(StatementError::Field {
                field: "subject",
                problem: "is not the predicate's repository and commit",
            });
        }
        source.check()?;
        Ok(source)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        if self.repository.is_empty() {
            return Err(StatementError::Field {
                field: "repository",
                problem: "is empty",
            });
        }
        if !self.reference.starts_with("refs/") {
            return Err(StatementError::Field {
                field: "ref",
                problem: "must begin with \"refs/\"",
            });
        }
        if !self.old.is_empty() {
            check_git_id("old", &self.old)?;
        }
        check_git_id("new", &self.new)?;
        check_git_id("tree", &self.tree)?;
        if self.signer.is_empty() == (self.verdict == Verdict::Verified) {
            return Err(StatementError::Field {
                field: "signer",
                problem: "must be named if and only if it is verified",
            });
        }
        Ok(())
    }
}
