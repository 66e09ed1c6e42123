//! A cluster is asked for a word now, and what it says.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answer to `POST /api/v1/clusters/{cluster}/verify`: the cluster is asked for a receipt with this nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyAsked {
    /// The cluster.
    pub cluster: String,
    /// What the receipt must carry, hex.
    pub nonce: String,
    /// The hub's clock.
    #[schemars(with = "String")]
    pub requested: Timestamp,
    /// Its agent follows this hub now.
    pub connected: bool,
}

/// Answer to `GET /api/v1/clusters/{cluster}/verify/{nonce}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyAnswer {
    /// The cluster.
    pub cluster: String,
    /// What was asked for, hex.
    pub nonce: String,
    /// The receipt, once it is in the log.
    pub receipt: Option<ProvenEntry>,
    /// The enrolment of the key that signed it; none where the fleet enrols nobody.
    pub enrolment: Option<ProvenEntry>,
}

/// An entry of the log, which proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvenEntry {
    /// The envelope, in base64.
    pub envelope: String,
    /// That it stands in the log: `c2sp.org/tlog-proof`, under a checkpoint that witnesses may not have seen.
    pub proof: String,
}
