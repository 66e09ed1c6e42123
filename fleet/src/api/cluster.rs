//! One cluster.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AppOnCluster, HealthState, Paused, SyncState};

/// A cluster in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// Its name, as in the trust root.
    pub name: String,
    /// Its environment, as in the trust root.
    pub environment: String,
    /// The assurance level that its agent demands.
    pub level: String,
    /// Is its agent there?
    pub connection: Connection,
    /// When its agent last said anything.
    #[schemars(with = "Option<String>")]
    pub last_seen: Option<Timestamp>,
    /// Generation of its newest sealed head; 0 for none.
    pub generation_sealed: u64,
    /// Newest generation that its agent verified; 0 for none.
    pub generation_verified: u64,
    /// Newest generation that its agent applied; 0 for none.
    pub generation_applied: u64,
    /// The worst of its apps.
    pub sync: SyncState,
    /// The worst of its apps.
    pub health: HealthState,
    /// The deepest cause; empty if nothing is wrong.
    pub message: String,
    /// Number of apps that its agent reported.
    pub apps: u32,
    /// Number of objects that its agent reported.
    pub objects: u32,
    /// Number of things that a person should look at.
    pub alarms: u32,
    /// Pauses that hold for it or for some of its apps.
    #[serde(default)]
    pub pauses: Vec<Paused>,
}

/// Is an agent there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Connection {
    /// No agent was ever registered.
    NotRegistered,
    /// An agent is registered and has an open stream.
    Connected,
    /// An agent is registered and is not connected; what it runs goes on.
    Away,
    /// The agent that was registered was revoked; what it runs goes on.
    Revoked,
}

/// `GET /api/v1/clusters/{cluster}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: ClusterSummary,
    /// SHA-256 of the newest head's envelope, hex; empty for none.
    pub head: String,
    /// Manifest digest of the newest head, hex; empty for none.
    pub manifest: String,
    /// The agent that speaks for it.
    pub registered: Option<Registered>,
    /// The agent's version; empty before its first report.
    pub agent_version: String,
    /// All its apps: those that the fleet wants and those that the agent still reports.
    pub app_list: Vec<AppOnCluster>,
    /// What its agent refused, newest last.
    pub refusals: Vec<RefusalCount>,
    /// What a person should look at, newest last.
    pub alarm_list: Vec<Alarm>,
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// SHA-256 of the receipt key, hex.
    pub key: String,
    /// Its age recipient, to which Secrets are encrypted.
    pub recipient: String,
    /// UID of the cluster's namespace kube-system, as the agent saw it.
    pub cluster_uid: String,
    /// The API server's version, as the agent saw it.
    pub kubernetes: String,
    /// When it was registered.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// How many agents were registered for this cluster before, each replaced by a person.
    pub replaced: u64,
}

/// What an agent refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalCount {
    /// UPPER_SNAKE, stable.
    pub code: String,
    /// For a person.
    pub message: String,
    /// The generation that was refused; 0 if none could be read.
    pub generation: u64,
    /// How often.
    pub count: u64,
    /// When last, by the agent's clock.
    #[schemars(with = "String")]
    pub time: Timestamp,
}

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// UPPER_SNAKE, stable ("SECOND_KEY", "AGENT_IS_AHEAD", …).
    pub code: String,
    /// For a person: what happened and what to do.
    pub message: String,
    /// How often.
    pub count: u64,
    /// When last, by the hub's clock.
    #[schemars(with = "String")]
    pub time: Timestamp,
}
