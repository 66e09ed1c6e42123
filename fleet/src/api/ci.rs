//! What CI says to the hub, and gets.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /api/v1/ci-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CiTokenRequest {
    /// The one workspace that it is good for.
    pub workspace: String,
    /// The one environment that it is good for.
    pub environment: String,
    /// Whose it is; stands in the log beside what it is used for.
    pub name: String,
    /// How long it counts, in seconds; at most a day.
    pub seconds: u64,
}

/// A token for CI.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CiToken {
    /// The secret. The hub keeps nothing of it.
    pub token: String,
    /// When it ends.
    #[schemars(with = "String")]
    pub expires: Timestamp,
}

impl std::fmt::Debug for CiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CiToken")
            .field("token", &"…")
            .field("expires", &self.expires)
            .finish()
    }
}

/// Body of `POST /log/infrastructure`: what the hub shall sign for the bearer of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InfrastructureWord {
    /// The workspace.
    pub workspace: String,
    /// SHA-256 of the plan file, hex.
    pub plan: String,
    /// The environment.
    pub environment: String,
    /// `plan` or `apply`.
    pub phase: String,
    /// New resources.
    pub create: u64,
    /// Changed ones.
    pub update: u64,
    /// Deleted ones.
    pub delete: u64,
    /// Ones made anew.
    pub replace: u64,
    /// The list of addresses and actions, base64.
    pub resources: String,
    /// The commit; may be empty.
    pub commit: String,
    /// CI's run; may be empty.
    pub run: String,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attested {
    /// What the hub signed: the envelope, base64.
    pub envelope: String,
    /// That it is in the log: the proof file, base64.
    pub proof: String,
}

/// Answer of `POST /log/trust`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustTaken {
    /// Its version.
    pub version: u64,
    /// Its digest, "sha256:<hex>".
    pub digest: String,
    /// Whether it came now; false if the hub had it.
    pub new: bool,
}
