//! Changes made behind Git's back.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectName;

/// `GET /api/v1/drifts`: newest first, of all clusters or of `?cluster=`, `?app=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drifts {
    /// The newest that the hub remembers; a restart of the hub forgets them.
    pub drifts: Vec<Drift>,
}

/// A change that an agent found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Where.
    pub cluster: String,
    /// Which object.
    pub id: ObjectName,
    /// Its app.
    pub app: String,
    /// What was done to it.
    pub what: DriftKind,
    /// Field managers that made it.
    pub managers: Vec<String>,
    /// Changed paths, as in managedFields (".spec.replicas").
    pub paths: Vec<String>,
    /// RFC 6902 from desired to found; absent for a Secret or when the object was not fetched.
    pub patch: Option<serde_json::Value>,
    /// Was it undone?
    pub healed: bool,
    /// Milliseconds from the event to the healing write's answer.
    pub healed_after_ms: u32,
    /// When, by the agent's clock.
    #[schemars(with = "String")]
    pub time: Timestamp,
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// A field that we apply was changed or removed.
    Changed,
    /// The object was deleted.
    Deleted,
    /// Something was added beside what we apply.
    Added,
}
