//! `desired/v1`: what one cluster shall run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::hex;
use super::{DESIRED, StatementError, check_git_id, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::limits::PERMITS_MAX;
use crate::name;

/// What one cluster shall run from a generation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The manifest: SHA-256 of its section list. The subject's digest.
    pub manifest: Digest,
    /// The fleet.
    pub fleet: String,
    /// The cluster; the subject's name too.
    pub cluster: String,
    /// Its environment, as the trust root has it.
    pub environment: String,
    /// From 1, dense, for each cluster alone.
    pub generation: u64,
    /// Digest of the envelope of the generation before; none for generation 1.
    pub previous: Option<Digest>,
    /// The commit that it is made of.
    pub commit: String,
    /// Leaf hash of the commit's `source` entry.
    pub source: Digest,
    /// Version of the renderer.
    pub renderer: String,
    /// The admission policies and what they said.
    pub admission: Admission,
    /// The rollout ring; empty for none.
    pub ring: String,
    /// Version of the trust root that the sealer worked under.
    pub trust_root: u64,
    /// What people allowed beyond the limits.
    pub permits: Vec<Permit>,
}

/// Which admission policies judged, and where their verdicts lie.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Digest of the set of policies; none if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Digest>,
    /// Digest of the blob with their verdicts; none if nothing was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Digest>,
}

/// A permit that a person gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// What is permitted.
    pub permit: PermitKind,
    /// Of what: an app (deletion), a ref (rewrite), or the folder of the admission policies (policies).
    pub subject: String,
    /// Exactly what: the manifest digest (deletion), the commit (rewrite), or the digest of the set (policies).
    pub object: String,
    /// Who gave it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PermitKind {
    /// More deletions than the limit, or of a protected kind.
    Deletion,
    /// A ref that moved to anything but a descendant.
    Rewrite,
    /// A set of admission policies that lacks or changes one that was in force.
    Policies,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    fleet: String,
    cluster: String,
    environment: String,
    generation: u64,
    previous: String,
    commit: String,
    source: Digest,
    renderer: String,
    admission: Admission,
    ring: String,
    trust_root: u64,
    permits: Vec<Permit>,
}

impl Desired {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        let desired = self.clone();
        let predicate = Predicate {
            fleet: desired.fleet,
            cluster: desired.cluster,
            environment: desired.environment,
            generation: desired.generation,
            previous: desired
                .previous
                .map_or_else(String::new, |digest| digest.to_string()),
            commit: desired.commit,
            source: desired.source,
            renderer: desired.renderer,
            admission: desired.admission,
            ring: desired.ring,
            trust_root: desired.trust_root,
            permits: desired.permits,
        };
        write(
            DESIRED,
            &self.cluster,
            "sha256",
            &self.manifest.to_string(),
            to_value(&predicate)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, manifest) = subject(value, "sha256")?;
        let read: Predicate = predicate(value)?;
        if name != read.cluster {
            return Err(StatementError::Field {
                field: "subject",
                problem: "is not the predicate's cluster",
            });
        }
        let previous = match read.previous.as_str() {
            "" => None,
            text => Some(hex("previous", text)?),
        };
        let desired = Self {
            manifest: hex("subject", manifest)?,
            fleet: read.fleet,
            cluster: read.cluster,
            environment: read.environment,
            generation: read.generation,
            previous,
            commit: read.commit,
            source: read.source,
            renderer: read.renderer,
            admission: read.admission,
            ring: read.ring,
            trust_root: read.trust_root,
            permits: read.permits,
        };
        desired.check()?;
        Ok(desired)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        name::check("cluster", &self.cluster)?;
        name::check("environment", &self.environment)?;
        if self.generation == 0 {
            return Err(StatementError::Field {
                field: "generation",
                problem: "begins at 1",
            });
        }
        if self.previous.is_none() != (self.generation == 1) {
            return Err(StatementError::Field {
                field: "previous",
                problem: "must be empty for generation 1 and no other",
            });
        }
        check_git_id("commit", &self.commit)?;
        if self.trust_root == 0 {
            return Err(StatementError::Field {
                field: "trustRoot",
                problem: "begins at 1",
            });
        }
        if self.permits.len() > PERMITS_MAX {
            return Err(StatementError::Field {
                field: "permits",
                problem: "are too many",
            });
        }
        Ok(())
    }
}
