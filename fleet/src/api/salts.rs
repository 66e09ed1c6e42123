//! Salts of Secrets, for second renderers: with them they see whether a commitment is one to what they rendered.
use std::collections::BTreeMap;

use countersign_ledger::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Payload type of the envelope in which they are asked for; a second renderer's key signs it.
pub const SALTS_TYPE: &str = "application/vnd.countersign.salts+json";
/// Longest time from now for which a request may be made out: who overhears one has no use of it for long.
pub const SALTS_SECONDS_MAX: i64 = 600;
/// Commitments in one request: what is signed stays below the 4,096 bytes that a KMS signs.
pub const SALTS_MAX: usize = 48;

/// A request for salts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SaltsRequest {
    /// The fleet.
    pub fleet: String,
    /// The cluster.
    pub cluster: String,
    /// After this time it counts for nothing.
    pub until: Timestamp,
    /// Of which Secrets, by their commitments.
    pub commitments: Vec<Digest>,
}

/// Salts by commitment, in base64; those that the hub no longer has are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaltsAnswer {
    /// The salts.
    pub salts: BTreeMap<Digest, String>,
}
