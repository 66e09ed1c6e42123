//! An `App`: what runs, from where, on which clusters, within which limits.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::ApiVersion;
use super::health::HealthRule;
use super::words::{AppName, Duration, KindName, Selector, Word};
use crate::path::RepoPath;

/// Objects that an app may lose at once without a permit.
pub const PRUNE_OBJECTS_MAX: u32 = countersign_ledger::deletion::OBJECTS_MAX;
/// Percent of its objects that an app of more than 20 may lose at once without a permit.
pub const PRUNE_PERCENT_MAX: u32 = countersign_ledger::deletion::PERCENT_MAX;

/// What runs, from where, on which clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "App")]
pub struct AppDocument {
    /// Always countersign.dev/v1alpha1.
    pub api_version: ApiVersion,
    /// Always App.
    pub kind: AppKind,
    /// Its name.
    pub metadata: AppMetadata,
    /// What runs.
    pub spec: AppSpec,
}

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AppKind {
    /// The only one.
    App,
}

/// The name of an app and notes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppMetadata {
    /// Unique in the fleet.
    pub name: AppName,
    /// For people and their tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For people and their tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSpec {
    /// Where its files come from.
    pub source: Source,
    /// How they become objects; by default as the files suggest: a Chart.yaml means Helm, a kustomization.yaml
    /// Kustomize, anything else plain files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub render: Option<Render>,
    /// Which clusters it runs on; only for an App that does not lie in a cluster's folder. Without it: every cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Selector>,
    /// Namespace of the release, and of objects that name none; by default the fleet's, else `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Word>,
    /// Apps that must be healthy on the cluster before this one changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<AppName>,
    /// In which order clusters get a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How much a commit may delete without a permit; can only be stricter than the built-in limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
    /// Whether what others add to its objects is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<bool>,
    /// Rules for the health of kinds that no built-in rule knows, in the form of the files under policies/health.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_rules: Vec<HealthRule>,
    /// What happens to its objects when this document is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_removal: Option<OnRemoval>,
    /// What it may touch at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
}

/// Where files come from: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A folder or file of this repository, from its root. May name the cluster: `{{ .cluster.labels.env }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Another Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// A chart of a Helm repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmSource>,
    /// A chart of an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
}

/// Another Git repository; the commit stands in the lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// HTTPS or SSH.
    #[schemars(extend("format" = "git-url"))]
    pub url: String,
    /// Branch or tag that `countersign lock` looks up.
    #[schemars(extend("format" = "git-ref"))]
    pub r#ref: String,
    /// Folder in that repository; its root by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RepoPath>,
}

/// A chart of a Helm repository; the archive's digest stands in the lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmSource {
    /// Where its index.yaml lies.
    #[schemars(extend("format" = "https-url"))]
    pub repository: String,
    /// Name of the chart.
    #[schemars(extend("format" = "chart-name"))]
    pub chart: String,
    /// The exact version.
    #[schemars(extend("format" = "chart-version"))]
    pub version: String,
}

/// A chart of an OCI registry; the manifest's digest stands in the lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// `oci://registry/path/chart`.
    #[schemars(extend("format" = "oci-url"))]
    pub url: String,
    /// The tag.
    #[schemars(extend("format" = "chart-version"))]
    pub version: String,
}

/// How files become objects: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Render {
    /// The files as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<PlainRender>,
    /// A Kustomize build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizeRender>,
    /// A Helm chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmRender>,
}

/// The files as they are: every .yaml, .yml and .json below the source's path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlainRender {}

/// A Kustomize build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizeRender {
    /// Folder with the kustomization, from the source's path. May name the cluster: `overlays/{{ .cluster.labels.env }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A Helm chart. Later values win: files in their order, then `values`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmRender {
    /// Files of this repository, from its root, wherever the chart comes from. May name the cluster:
    /// `values/{{ .cluster.labels.env }}.yaml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value_files: Vec<String>,
    /// Whether value files that are not there are skipped. By default each must be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_value_files: bool,
    /// Values. Texts may name the cluster: `{{ .cluster.parameters.replicas }}`; a text that is nothing else takes the
    /// parameter's type.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Json>,
}

/// In which order clusters get a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// Rings in their order; clusters of no listed ring come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rings: Vec<Word>,
    /// How long a ring must stay healthy before the next one starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_time: Option<Duration>,
    /// What else must hold before the next ring starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
}

/// What must hold between two rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    /// Every app of the ring's clusters is healthy, not only this one.
    ClusterHealthy,
    /// No drift was found during the bake time.
    NoDrift,
    /// A person approved.
    Approval,
}

/// How much a commit may delete of an app without a permit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prune {
    /// Objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 50))]
    pub max_objects: Option<u32>,
    /// Percent of the app's objects, if it has more than 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub max_percent: Option<u32>,
    /// Further kinds that are never deleted without a permit, besides Namespace, CustomResourceDefinition,
    /// PersistentVolumeClaim and PersistentVolume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected_kinds: Vec<KindName>,
}

/// What happens to an app's objects when its document is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnRemoval {
    /// They stay, listed as orphans.
    #[default]
    Keep,
    /// They are deleted, within the limits.
    Delete,
}

/// What an app may touch at all. What is not listed is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// Namespaces that its objects may lie in; without this list, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<Word>>,
    /// Kinds that it may have; without this list, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<KindName>>,
    /// Whether its Namespaces may carry `pod-security.kubernetes.io/*` and other keys that decide what others may do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_protected_keys: bool,
}
