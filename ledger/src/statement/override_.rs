//! `override/v1`: a person allows, for a time, what the rules would not.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{ensure, hex, text};
use super::{OVERRIDE, StatementError, check_git_id, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::json;
use crate::name;
use crate::time::Time;

/// A person's word, with a reason and an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// The fleet; the subject's name too, if no cluster is named.
    pub fleet: String,
    /// What is allowed or done.
    pub kind: OverrideKind,
    /// The one cluster that it is for; all, if none. The subject's name too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The one app that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Exactly what; see [`OverrideKind`]. Empty where the kind says it all.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Who, by the trust root's name of the key.
    pub by: String,
    /// When it was given.
    pub issued: Time,
    /// When it ends by itself.
    pub until: Time,
}

/// What an override allows or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OverrideKind {
    /// Nothing new is applied.
    Pause,
    /// A pause ends before its time.
    Resume,
    /// One state is applied without its witnesses; `what` is the digest of its envelope.
    BreakGlass,
    /// An app may delete beyond its limit; `what` is the digest of the manifest.
    Deletion,
    /// A ref may move to anything but a descendant; `what` is the ref, a space and the commit.
    Rewrite,
    /// Admission policies may be weakened; `what` is the digest of the new set.
    Policies,
}

impl Override {
    /// Whether this word is of all that `other` is of: one that names no cluster is of all, one that names no app of all of them.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let within =
            |wide: &Option<String>, narrow: &Option<String>| wide.is_none() || wide == narrow;
        within(&self.cluster, &other.cluster) && within(&self.app, &other.app)
    }

    fn name(&self) -> &str {
        self.cluster.as_deref().unwrap_or(&self.fleet)
    }

    /// Digest of what it permits: the subject's. Where no bytes have one, that of the predicate.
    pub fn permits(&self) -> Result<Digest, StatementError> {
        match self.kind {
            OverrideKind::BreakGlass | OverrideKind::Deletion | OverrideKind::Policies => {
                hex("what", &self.what)
            }
            OverrideKind::Pause | OverrideKind::Resume | OverrideKind::Rewrite => {
                Ok(Digest::of(&json::canonical(&to_value(self)?)?))
            }
        }
    }

    /// Whether it holds at `time`: from its issue on, until it ends.
    #[must_use]
    pub fn holds_at(&self, time: Time) -> bool {
        self.issued <= time && time < self.until
    }

    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        write(
            OVERRIDE,
            self.name(),
            "sha256",
            &self.permits()?.to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, digest) = subject(value, "sha256")?;
        let this: Self = predicate(value)?;
        ensure(
            name == this.name() && digest == this.permits()?.to_string(),
            "subject",
            "is not what the predicate permits",
        )?;
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        if let Some(cluster) = &self.cluster {
            name::check("cluster", cluster)?;
        }
        if let Some(app) = &self.app {
            name::check("app", app)?;
        }
        match self.kind {
            OverrideKind::Pause | OverrideKind::Resume => {
                ensure(self.what.is_empty(), "what", "must be empty")?;
            }
            OverrideKind::BreakGlass => {
                ensure(self.cluster.is_some(), "cluster", "is not named")?;
                hex("what", &self.what)?;
            }
            OverrideKind::Deletion => {
                ensure(self.cluster.is_some(), "cluster", "is not named")?;
                ensure(self.app.is_some(), "app", "is not named")?;
                hex("what", &self.what)?;
            }
            OverrideKind::Policies => {
                hex("what", &self.what)?;
            }
            OverrideKind::Rewrite => {
                let (reference, commit) = self.what.split_once(' ').unwrap_or_default();
                ensure(
                    reference.starts_with("refs/"),
                    "what",
                    "must be a ref, a space and a commit",
                )?;
                text("what", reference)?;
                check_git_id("what", commit)?;
            }
        }
        text("reason", &self.reason)?;
        text("by", &self.by)?;
        ensure(self.issued < self.until, "until", "is not after issued")
    }
}
