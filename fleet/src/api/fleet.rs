//! The fleet at a glance.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Alarm, AppSummary, ClusterSummary};

/// `GET /api/v1/fleet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// The fleet's name, as in the trust root.
    pub fleet: String,
    /// The hub's version.
    pub hub_version: String,
    /// The hub's clock when it answered.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The trust root that the hub serves.
    pub trust_root: TrustRootInUse,
    /// The Git repository that is followed.
    pub source: Source,
    /// All clusters of the trust root, by name.
    pub clusters: Vec<ClusterSummary>,
    /// All apps of the newest commit that could be read, by name.
    pub apps: Vec<AppSummary>,
    /// What is wrong in the fleet's files at that commit.
    pub mistakes: Vec<Mistake>,
    /// What waits for a person's permit.
    pub permits_needed: Vec<PermitNeeded>,
    /// What a person should look at that belongs to no single cluster.
    pub alarms: Vec<Alarm>,
    /// How far the signed log got; absent if the trust root lists none.
    #[serde(default)]
    pub log: Option<LogProgress>,
}

/// The signed log: what is in it, and what of that is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogProgress {
    /// Entries in it: durable, under a signed checkpoint.
    pub size: u64,
    /// Entries of the published checkpoint, which the witnesses cosigned where there are any.
    pub published: u64,
    /// Why publishing waits, for people; empty if it does not. Clusters from level witnessed on then get no newer state.
    pub waits: String,
}

/// The trust root that is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustRootInUse {
    /// Its version, from 1.
    pub version: u64,
    /// SHA-256 of the document, hex.
    pub digest: String,
}

/// The repository and branch or tag that the hub follows, and how that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// URL or path, without credentials.
    pub repository: String,
    /// Branch or tag, in full ("refs/heads/main").
    pub reference: String,
    /// The newest commit that was taken in; absent before the first.
    pub commit: Option<Commit>,
    /// How the last look at the repository ended.
    pub state: SourceState,
    /// UPPER_SNAKE code of what is wrong; empty if nothing is.
    pub code: String,
    /// For a person; empty if nothing is wrong.
    pub message: String,
    /// When the hub last looked, with success or without.
    #[schemars(with = "Option<String>")]
    pub checked: Option<Timestamp>,
    /// When all stages last finished with the newest commit.
    #[schemars(with = "Option<String>")]
    pub processed: Option<Timestamp>,
}

/// How the last look at the repository ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceState {
    /// Not looked yet.
    #[default]
    Starting,
    /// The newest commit is being rendered, checked and sealed.
    Working,
    /// All is sealed up to the newest commit.
    UpToDate,
    /// It could not be reached; the last good state is served.
    Unreachable,
    /// What was found is refused (rewritten history, hostile content); the last good state is served.
    Refused,
}

/// A commit, as far as a person wants to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Its id, hex.
    pub id: String,
    /// "Name <mail>", as the commit claims.
    pub author: String,
    /// First line of its message.
    pub subject: String,
    /// Commit time, as the commit claims.
    #[schemars(with = "Option<String>")]
    pub time: Option<Timestamp>,
}

/// A person's mistake in a file of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mistake {
    /// UPPER_SNAKE, stable.
    pub code: String,
    /// Path in the repository; empty if it belongs to no file.
    pub file: String,
    /// Line from 1; 0 if unknown.
    pub line: u32,
    /// Path of the field ("spec.source.path"); empty if unknown.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The app that it holds up; empty if none or all.
    pub app: String,
    /// The cluster that it holds up; empty if none or all.
    pub cluster: String,
}

/// A change that waits for a person's permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermitNeeded {
    /// What to grant: the arguments of `countersign permit`.
    pub permit: super::PermitKind,
    /// The cluster that waits; empty for all.
    pub cluster: String,
    /// Why it is not done without one ("would delete 62 of 80 objects").
    pub message: String,
}
