//! What operators ask the hub to do, and how it answers.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answer to `POST /api/v1/sync`: the hub looks at the repository now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStarted {
    /// The hub's clock; the look is done once `source.checked` is not before it.
    #[schemars(with = "String")]
    pub requested: Timestamp,
}

/// Body of `POST /api/v1/clusters/{cluster}/join-token`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// The new agent takes the place of one that is registered already, whose key stops to count.
    #[serde(default)]
    pub replace: bool,
}

/// A single-use token with which one agent registers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinToken {
    /// The cluster that it is good for.
    pub cluster: String,
    /// The secret. The hub keeps only its hash.
    pub token: String,
    /// When it ends.
    #[schemars(with = "String")]
    pub expires: Timestamp,
    /// Digest of the trust root that the agent shall pin, "sha256:<hex>".
    pub trust: String,
    /// Where agents reach the hub ("https://hub.example.com:7443"); empty if the hub was not told.
    pub hub: String,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &self.cluster)
            .field("token", &"…")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Body of `POST /api/v1/clusters/{cluster}/parcel`: where the cluster's agent stands, as far as a person knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ParcelRequest {
    /// Its last generation; 0 for the whole chain.
    pub from_generation: u64,
    /// Sizes of the log that it may have seen last, the likeliest first.
    pub tree_sizes: Vec<u64>,
    /// Proofs are wanted for its receipts from this `seq` on; at most the newest 4,096 are proven.
    pub from_seq: u64,
}

/// Answer to `POST /api/v1/clusters/{cluster}/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportTaken {
    /// The cluster.
    pub cluster: String,
    /// SHA-256 of its receipt key, hex.
    pub key: String,
    /// Its agent was registered now.
    pub registered: bool,
    /// Receipts and drift records in the report.
    pub receipts: u64,
    /// The `seq` that comes next: all before it are in the log.
    pub next_seq: u64,
    /// Why one was not taken; empty if all were.
    pub refused_code: String,
    /// The same for a person.
    pub refused: String,
}

/// Body of `POST /api/v1/clusters/{cluster}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeRequest {
    /// Why; at least one word. It stands in the log.
    pub reason: String,
}

/// A cluster's agent speaks no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The cluster.
    pub cluster: String,
    /// SHA-256 of the receipt key, hex.
    pub key: String,
    /// Why.
    pub reason: String,
    /// Who asked, as far as the hub can tell ("uid 1000", "token").
    pub by: String,
    /// Since when, by the hub's clock.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// Place of the entry in the log; none in a fleet without a log, or while it is pending.
    pub index: Option<u64>,
    /// Why the log does not say so yet; the hub says it at its next start at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
}

/// What a person allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind", deny_unknown_fields)]
pub enum PermitKind {
    /// To delete what one manifest's tombstones of an app name, beyond the limit or of protected kinds.
    #[serde(rename_all = "camelCase")]
    Deletion {
        /// The app whose objects go.
        app: String,
        /// Digest of the manifest that holds those tombstones, hex.
        manifest: String,
    },
    /// To take a commit although the reference did not move forward to it.
    #[serde(rename_all = "camelCase")]
    Rewrite {
        /// In full ("refs/heads/main").
        reference: String,
        /// The commit that is allowed, hex.
        commit: String,
    },
    /// To judge by a set of admission policies that lacks or changes one that was in force.
    #[serde(rename_all = "camelCase")]
    Policies {
        /// Digest of the whole set, hex.
        set: String,
    },
}

/// Body of `POST /api/v1/permits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermitRequest {
    /// What is allowed.
    pub permit: PermitKind,
    /// Why; at least one word.
    pub reason: String,
}

/// A permit that the hub keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permit {
    /// SHA-256 of its stored bytes, or of what a person signed, hex.
    pub id: String,
    /// What is allowed.
    pub permit: PermitKind,
    /// Why.
    pub reason: String,
    /// Who asked: as far as the hub can tell ("uid 1000", "token"), or whose key signed it.
    pub by: String,
    /// When, by the hub's clock or as it was signed.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// It was for one act, which is done: it allows nothing more. Rewrites are used up, and all that people signed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
    /// When it ends by itself; none for one that nobody signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Its place in the log; none for one that nobody signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}

impl Permit {
    /// Whether it has not ended.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// `GET /api/v1/permits`, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permits {
    /// All that were ever given.
    pub permits: Vec<Permit>,
    /// The trust root lists people for overrides: only what they signed counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed_only: bool,
}

/// Body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// UPPER_SNAKE, stable.
    pub code: String,
    /// For a person: what is wrong and what to do.
    pub message: String,
}
