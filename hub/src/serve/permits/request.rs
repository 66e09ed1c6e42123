//! What may be asked for without a signature. Pure.

use countersign_fleet::api::{PermitKind, PermitRequest};

use crate::serve::limits::REASON_BYTES_MAX;

/// Why a permit is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPermit {
    /// A reason is part of it.
    #[error("a permit needs a reason, at most {REASON_BYTES_MAX} bytes")]
    NoReason,
    /// A digest has 64 hex digits.
    #[error("manifest must be 64 hex digits, is {got:?}")]
    BadManifest {
        /// As given.
        got: String,
    },
    /// A set of policies is named by its digest.
    #[error("set must be 64 hex digits, is {got:?}")]
    BadSet {
        /// As given.
        got: String,
    },
    /// A commit has 40 hex digits (SHA-256 repositories: 64).
    #[error("commit must be 40 or 64 hex digits, is {got:?}")]
    BadCommit {
        /// As given.
        got: String,
    },
    /// A reference is written in full.
    #[error("reference must begin with refs/, is {got:?}")]
    BadReference {
        /// As given.
        got: String,
    },
    /// An app has a name.
    #[error("app must be the name of an app, is {got:?}")]
    BadApp {
        /// As given.
        got: String,
    },
}

/// Checks and tidies what was asked for. Pure.
pub fn parse(mut request: PermitRequest) -> Result<PermitRequest, BadPermit> {
    let digits = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    request.reason = request.reason.trim().to_owned();
    if request.reason.is_empty() || request.reason.len() > REASON_BYTES_MAX {
        return Err(BadPermit::NoReason);
    }
    match &mut request.permit {
        PermitKind::Deletion { app, manifest } => {
            if app.is_empty() || app.len() > 253 || app.chars().any(char::is_control) {
                return Err(BadPermit::BadApp { got: app.clone() });
            }
            if let Some(rest) = manifest.strip_prefix("sha256:") {
                *manifest = rest.to_owned();
            }
            if manifest.len() != 64 || !digits(manifest) {
                return Err(BadPermit::BadManifest {
                    got: manifest.clone(),
                });
            }
        }
        PermitKind::Policies { set } => {
            if let Some(rest) = set.strip_prefix("sha256:") {
                *set = rest.to_owned();
            }
            if set.len() != 64 || !digits(set) {
                return Err(BadPermit::BadSet { got: set.clone() });
            }
        }
        PermitKind::Rewrite { reference, commit } => {
            if !reference.starts_with("refs/")
                || reference.len() > 1024
                || reference.chars().any(char::is_control)
            {
                return Err(BadPermit::BadReference {
                    got: reference.clone(),
                });
            }
            if !matches!(commit.len(), 40 | 64) || !digits(commit) {
                return Err(BadPermit::BadCommit {
                    got: commit.clone(),
                });
            }
        }
    }
    Ok(request)
}
