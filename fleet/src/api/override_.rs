//! What people with override keys said.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProvenEntry;

/// `GET /api/v1/overrides`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// The entries, in the order of the log: pauses, resumes and all else that override keys signed.
    pub overrides: Vec<ProvenEntry>,
    /// More were said before these.
    pub more: bool,
}

/// A pause that holds, as the hub reads the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// The app that gets nothing new; all of them for none.
    pub app: Option<String>,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When it ends by itself.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// The place of the override in the log.
    pub index: u64,
}
