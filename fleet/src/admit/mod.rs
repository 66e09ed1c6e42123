//! Admission: the ValidatingAdmissionPolicy files that a cluster enforces, evaluated before anything is signed.
//!
//! The worker evaluates them with Kubernetes' own library on the final objects. What it can't decide without the
//! cluster is [`Decision::Undecidable`], never "no match".
use bytes::Bytes;

/// A set of policy files, named by the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// `(path, content)` of each file, sorted by path.
    pub files: Vec<(String, Bytes)>,
    /// The version whose CEL library decides what an expression may use, `"v1.35.4"`.
    pub kubernetes_version: String,
}

/// One object to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The final object, as it will be applied.
    pub json: serde_json::Value,
    /// Whether its kind lives in namespaces.
    pub namespaced: bool,
    /// Plural resource name; empty to have it guessed from the kind.
    pub resource: String,
}

/// What a policy says about an object. An object on which all agree has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the candidate.
    pub object: usize,
    /// Name of the policy.
    pub policy: String,
    /// Name of the binding that brought it.
    pub binding: String,
    /// What follows.
    pub decision: Decision,
    /// The policy's message, or what is missing to decide.
    pub message: String,
}

/// What follows from a policy's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// The API server would refuse the object.
    Denied,
    /// It would warn.
    Warned,
    /// It would only write to its audit log.
    Audited,
    /// It needs what the hub doesn't have; the app is not signed.
    Undecidable,
}

impl Decision {
    /// Whether the object must not be signed.
    pub fn blocks(self) -> bool {
        matches!(self, Self::Denied | Self::Undecidable)
    }
}
