//! Why commits are not taken for a person's word.

use super::oid::Oid;

/// A commit, or what leads to it, is refused. One variant a cause, with its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorRefusal {
    /// A commit bears no signature.
    #[error("commit {commit} is not signed")]
    Unsigned {
        /// The commit.
        commit: Oid,
    },
    /// The signature is of a key that the trust root lists for nobody.
    #[error("commit {commit} is signed by {key}, a key of nobody whom the trust root lists")]
    SignerUnknown {
        /// The commit.
        commit: Oid,
        /// The key, as its kind of signature names it.
        key: String,
    },
    /// The signature does not fit the commit, or is of a kind that is not taken.
    #[error("the signature of commit {commit} is not valid: {reason}")]
    SignatureInvalid {
        /// The commit.
        commit: Oid,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key is outside the time in which it counts.
    #[error(
        "commit {commit} is signed by a key of {person}, which does not count at this time: {reason}"
    )]
    KeyExpired {
        /// The commit.
        commit: Oid,
        /// Whose key it is.
        person: String,
        /// Which bound it is outside of.
        reason: &'static str,
    },
    /// The key was revoked by its owner.
    #[error("commit {commit} is signed by a revoked key of {person}")]
    KeyRevoked {
        /// The commit.
        commit: Oid,
        /// Whose key it was.
        person: String,
    },
    /// A commit changes what its signer may not change.
    #[error(
        "commit {commit}, signed by {person}, changes {path}, which the trust root does not allow {person}"
    )]
    PathNotAllowed {
        /// The commit.
        commit: Oid,
        /// Its signer.
        person: String,
        /// The first such path, escaped.
        path: String,
    },
    /// The forge signed something else than a merge of two.
    #[error(
        "commit {commit} is signed by the forge {person}, whose key counts for merges of two branches only: {reason}"
    )]
    ForgeNotMerge {
        /// The commit.
        commit: Oid,
        /// The forge, by the trust root's name.
        person: String,
        /// What it is instead.
        reason: &'static str,
    },
    /// A merge that the forge signed holds what no person put there.
    #[error(
        "commit {commit} is signed by the forge {person}, and its {path} is not simply that of the branch it merges"
    )]
    ForgeContent {
        /// The commit.
        commit: Oid,
        /// The forge.
        person: String,
        /// The first such path, escaped.
        path: String,
    },
    /// An object that can be read in two ways, or not at all.
    #[error("object {object} is malformed: {defect}")]
    Malformed {
        /// The object, where it has a name.
        object: String,
        /// What is wrong.
        defect: &'static str,
    },
    /// A commit between the last one and the new one is not there.
    #[error("commit {commit} is missing")]
    CommitMissing {
        /// The commit.
        commit: Oid,
    },
    /// A tree on a changed path is not there.
    #[error("tree {tree} of {path} is missing")]
    TreeMissing {
        /// The tree.
        tree: Oid,
        /// Its path, escaped; empty for the root.
        path: String,
    },
    /// The new commit does not lead to the last one by first parents.
    #[error("commit {new} does not lead to {old} by its first parents")]
    NotDescended {
        /// The last commit.
        old: Oid,
        /// The new one.
        new: Oid,
    },
    /// More than is looked at.
    #[error("more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl AuthorRefusal {
    /// The stable name of the cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => "COMMIT_UNSIGNED",
            Self::SignerUnknown { .. } => "COMMIT_SIGNER_UNKNOWN",
            Self::SignatureInvalid { .. } => "COMMIT_SIGNATURE_INVALID",
            Self::KeyExpired { .. } => "COMMIT_KEY_EXPIRED",
            Self::KeyRevoked { .. } => "COMMIT_KEY_REVOKED",
            Self::PathNotAllowed { .. } => "COMMIT_PATH_NOT_ALLOWED",
            Self::ForgeNotMerge { .. } => "COMMIT_FORGE_NOT_MERGE",
            Self::ForgeContent { .. } => "COMMIT_FORGE_CONTENT",
            Self::Malformed { .. } => "COMMIT_MALFORMED",
            Self::CommitMissing { .. } => "COMMIT_MISSING",
            Self::TreeMissing { .. } => "TREE_MISSING",
            Self::NotDescended { .. } => "COMMIT_NOT_DESCENDED",
            Self::Limit { .. } => "COMMIT_LIMIT",
        }
    }
}
