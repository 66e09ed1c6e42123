//! Everything that can keep the tracker from following its ref, as a typed state. The last good commit stays.

use crate::track::id::CommitId;
use crate::track::refname::RefName;

/// Why the tracked ref is not followed right now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The URL, path or ref can't be what a person meant, or is an attack.
    #[error("{field}: {problem}")]
    SourceInvalid {
        /// `repo`, `ref`, ….
        field: &'static str,
        /// What is wrong with it; never repeats a credential.
        problem: String,
    },
    /// The remote did not prove to be the host that was asked for.
    #[error("{host} did not prove its identity: {reason}")]
    HostUntrusted {
        /// Host that was asked.
        host: String,
        /// What did not match.
        reason: String,
    },
    /// The remote pointed somewhere where our credential does not belong.
    #[error(
        "{from} sends to {to}, where its credential does not belong; name that URL in --repo if it is right"
    )]
    CredentialScope {
        /// Scheme, host and port that the credential is for.
        from: String,
        /// Where the answer pointed.
        to: String,
    },
    /// The remote refused us.
    #[error("{host} refused access ({detail}); check the token or key and its rights")]
    AccessDenied {
        /// Host that was asked.
        host: String,
        /// Status or exit code.
        detail: String,
    },
    /// No answer, or one that says "later".
    #[error("{host} can't be reached: {reason}")]
    Unreachable {
        /// Host or path that was asked.
        host: String,
        /// The fault beneath.
        reason: String,
    },
    /// The remote's answer is not Git's protocol.
    #[error("{host} does not answer as a Git server: {reason}")]
    ProtocolBroken {
        /// Host or path that was asked.
        host: String,
        /// What was expected.
        reason: String,
    },
    /// A fetch went over a limit.
    #[error("the fetch was stopped: {what} above {limit}")]
    FetchLimit {
        /// What was counted.
        what: &'static str,
        /// Its limit, with unit.
        limit: String,
    },
    /// A pack or object is damaged or hostile.
    #[error("the remote sent a damaged pack: {reason}")]
    PackBroken {
        /// What is wrong with it.
        reason: String,
    },
    /// The tracked ref does not exist.
    #[error("{name} does not exist there (any more); the last commit stays")]
    RefGone {
        /// The tracked ref.
        name: RefName,
    },
    /// The ref points to something other than a commit.
    #[error("{name} does not lead to a commit")]
    NotACommit {
        /// The tracked ref.
        name: RefName,
    },
    /// History was rewritten.
    #[error(
        "{name} moved from {had} to {got}, which is no descendant; if that is meant: countersign permit rewrite {name} {got}"
    )]
    ForcePush {
        /// The tracked ref.
        name: RefName,
        /// Commit that stays.
        had: CommitId,
        /// Commit that is refused.
        got: CommitId,
    },
    /// Two readers could see two different commits in these bytes.
    #[error("commit {commit} is malformed: {defect}")]
    CommitMalformed {
        /// Its id.
        commit: CommitId,
        /// What is wrong with it.
        defect: String,
    },
    /// A tree holds names that write outside, or confuse, a working tree.
    #[error("commit {commit} holds an unsafe tree entry {path}: {defect}")]
    TreeUnsafe {
        /// The commit.
        commit: CommitId,
        /// Escaped path.
        path: String,
        /// What is wrong with it.
        defect: String,
    },
    /// The mirror on disk failed.
    #[error("the mirror failed: {reason}")]
    MirrorFault {
        /// The fault beneath.
        reason: String,
    },
}

impl Trouble {
    /// Stable name, for status, metrics and tests.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SourceInvalid { .. } => "SOURCE_INVALID",
            Self::HostUntrusted { .. } => "HOST_UNTRUSTED",
            Self::CredentialScope { .. } => "CREDENTIAL_SCOPE",
            Self::AccessDenied { .. } => "ACCESS_DENIED",
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::ProtocolBroken { .. } => "PROTOCOL_BROKEN",
            Self::FetchLimit { .. } => "FETCH_LIMIT",
            Self::PackBroken { .. } => "PACK_BROKEN",
            Self::RefGone { .. } => "REF_GONE",
            Self::NotACommit { .. } => "NOT_A_COMMIT",
            Self::ForcePush { .. } => "FORCE_PUSH",
            Self::CommitMalformed { .. } => "COMMIT_MALFORMED",
            Self::TreeUnsafe { .. } => "TREE_UNSAFE",
            Self::MirrorFault { .. } => "MIRROR_FAULT",
        }
    }
}
