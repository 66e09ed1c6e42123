//! One app, on all its clusters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HealthState, SyncState};

/// An app in a list. `GET /api/v1/apps` answers with a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppSummary {
    /// Its name, unique in the fleet.
    pub name: String,
    /// The worst of its clusters.
    pub sync: SyncState,
    /// The worst of its clusters.
    pub health: HealthState,
    /// On how many clusters it shall run.
    pub clusters: u32,
    /// On how many of them its newest commit could not be taken in, so that the last good one is kept.
    pub kept: u32,
    /// The deepest cause; empty if nothing is wrong.
    pub message: String,
}

/// `GET /api/v1/apps/{app}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: AppSummary,
    /// Each cluster that it shall run on or still runs on, by name.
    pub on: Vec<AppOnCluster>,
}

/// An app on a cluster: what the hub sealed beside what the agent reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppOnCluster {
    /// The app.
    pub app: String,
    /// The cluster.
    pub cluster: String,
    /// Commit of the sealed objects, hex; empty if nothing is sealed.
    pub commit_sealed: String,
    /// Commit of the applied objects, hex; empty if the agent has not reported.
    pub commit_applied: String,
    /// As reported.
    pub sync: SyncState,
    /// As reported.
    pub health: HealthState,
    /// The deepest cause; empty if nothing is wrong.
    pub message: String,
    /// Number of its objects.
    pub objects: u32,
    /// Number of its objects that failed.
    pub failed: u32,
    /// Why an older commit is kept; absent if the newest is sealed.
    pub kept: Option<Kept>,
}

/// An app whose newest commit could not be taken in keeps the objects of its last good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The commit that could not be taken in, hex.
    pub refused_commit: String,
    /// UPPER_SNAKE, stable.
    pub code: String,
    /// For a person: file, line, field where there are any, and what to do.
    pub message: String,
}

/// What the pipeline knows of an app on a cluster: the hub's half of [`AppOnCluster`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppWants {
    /// The app.
    pub app: String,
    /// The cluster.
    pub cluster: String,
    /// Commit of the sealed objects, hex; empty if nothing is sealed yet.
    pub commit: String,
    /// Number of sealed objects.
    pub objects: u32,
    /// Why an older commit is kept; absent if the newest is sealed.
    pub kept: Option<Kept>,
}
