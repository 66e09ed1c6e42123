//! `fleet.yaml`: the fleet as a whole. Optional.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiVersion;
use super::app::{OnRemoval, Project, Prune, Rollout};
use super::words::Word;
use crate::path::RepoPath;

/// The fleet as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Fleet")]
pub struct FleetDocument {
    /// Always countersign.dev/v1alpha1.
    pub api_version: ApiVersion,
    /// Always Fleet.
    pub kind: FleetKind,
    /// Its name.
    pub metadata: FleetMetadata,
    /// Defaults and further folders.
    #[serde(default)]
    pub spec: FleetSpec,
}

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FleetKind {
    /// The only one.
    Fleet,
}

/// The name of a fleet and notes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetMetadata {
    /// The name in the trust root.
    pub name: Word,
    /// For people and their tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Defaults and further folders.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// What an App takes that says nothing of its own.
    #[serde(default)]
    pub defaults: Defaults,
    /// Folders, besides `clusters`, whose files may hold Apps that choose their clusters by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_folders: Vec<RepoPath>,
    /// Levels of assurance that clusters of an environment must have at least. The trust root decides; this can only
    /// ask for more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, Level>,
}

/// What an App takes that says nothing of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Defaults {
    /// Instead of `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Word>,
    /// For Apps without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// For Apps without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
    /// For Apps without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<bool>,
    /// For Apps without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_removal: Option<OnRemoval>,
    /// For Apps without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
}

/// A level of assurance; each holds all that the ones before it do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Signed by the sealer.
    Signed,
    /// The log is witnessed too.
    Witnessed,
    /// The commits are signed too.
    Authored,
    /// A second renderer agrees too.
    Reproduced,
}
