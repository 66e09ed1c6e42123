//! Why something did not come from elsewhere.
use super::lock::Sha256;
use crate::failure::AppFailure;

/// Why something did not come from elsewhere. Never holds a credential or what a server sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The address can't be what a person meant, or is an attack.
    #[error("{what}: {why}")]
    Invalid {
        /// The address, or where it stands.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer, or one that says "later".
    #[error("{host} can't be reached: {why}")]
    Unreachable {
        /// Host that was asked.
        host: String,
        /// The fault beneath.
        why: String,
    },
    /// The host refused us.
    #[error("{host} refused access (HTTP {status}); check its entry in the file of credentials")]
    Denied {
        /// Host that was asked.
        host: String,
        /// Its answer.
        status: u16,
    },
    /// There is no such thing there.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The answer points to a host that was not named.
    #[error(
        "{from} sends to {to}; if that is right, list {to} under `{key}` of {from} in the file of credentials"
    )]
    CredentialScope {
        /// Host that was asked.
        from: String,
        /// Where it pointed.
        to: String,
        /// Where to list it.
        key: &'static str,
    },
    /// More came than is taken.
    #[error("{what} has more than {limit} bytes")]
    SizeLimit {
        /// What was fetched.
        what: String,
        /// How much is taken, bytes.
        limit: u64,
    },
    /// Other bytes came than those that were pinned.
    #[error(
        "{what} has the digest {got}, locked is {locked}; compare them before you lock it anew"
    )]
    Digest {
        /// What was fetched.
        what: String,
        /// What came.
        got: Sha256,
        /// What was pinned.
        locked: Sha256,
    },
    /// The answer is not what such a server gives.
    #[error("{what}: {why}")]
    Protocol {
        /// Whose answer.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder of what was fetched fails.
    #[error("the folder of fetched sources fails: {why}")]
    Cache {
        /// What the system said.
        why: String,
    },
    /// What another part says, with its own code.
    #[error("{message}")]
    Other {
        /// Stable.
        code: &'static str,
        /// For a person.
        message: String,
        /// Whether a later try may succeed.
        fault: bool,
    },
}

impl SourceError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "SOURCE_INVALID",
            Self::Unreachable { .. } => "SOURCE_UNREACHABLE",
            Self::Denied { .. } => "SOURCE_DENIED",
            Self::NotFound { .. } => "SOURCE_NOT_FOUND",
            Self::CredentialScope { .. } => "CREDENTIAL_SCOPE",
            Self::SizeLimit { .. } => "SIZE_LIMIT",
            Self::Digest { .. } => "LOCK_MISMATCH",
            Self::Protocol { .. } => "SOURCE_PROTOCOL",
            Self::Cache { .. } => "SOURCE_CACHE",
            Self::Other { code, .. } => code,
        }
    }

    /// Whether a later try of the same commit may succeed: the world outside failed, not what was pinned.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Protocol { .. }
            | Self::Cache { .. } => true,
            Self::Invalid { .. }
            | Self::CredentialScope { .. }
            | Self::SizeLimit { .. }
            | Self::Digest { .. } => false,
            Self::Other { fault, .. } => *fault,
        }
    }
}

impl From<SourceError> for AppFailure {
    fn from(error: SourceError) -> Self {
        let failure = Self::new(error.code(), error.to_string());
        if error.is_fault() {
            failure.as_fault()
        } else {
            failure
        }
    }
}
