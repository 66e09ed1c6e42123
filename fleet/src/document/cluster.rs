//! A `Cluster`: what is known of one, for selectors and for rendering.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::ApiVersion;
use super::words::{ClusterName, Word};

/// Kubernetes version that is rendered for where a cluster names none.
pub const KUBERNETES_VERSION: &str = "v1.35.4";

/// What is known of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Cluster")]
pub struct ClusterDocument {
    /// Always countersign.dev/v1alpha1.
    pub api_version: ApiVersion,
    /// Always Cluster.
    pub kind: ClusterKind,
    /// Its name.
    pub metadata: ClusterMetadata,
    /// What is known of it.
    #[serde(default)]
    pub spec: ClusterSpec,
}

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClusterKind {
    /// The only one.
    Cluster,
}

/// The name of a cluster and notes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterMetadata {
    /// The name of the folder that the document lies in.
    pub name: ClusterName,
    /// For people and their tools. Selectors look at spec.labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What is known of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// What Apps choose it by; usually env, region and runtime. `env` must be its environment in the trust root.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it gets a change, relative to the other clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<Word>,
    /// Values that Apps may name: `{{ .cluster.parameters.domain }}`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Json>,
    /// What its API server knows; never asked of it.
    #[serde(default)]
    pub kubernetes: Kubernetes,
}

/// What an API server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// `v1.35.4`.
    #[serde(default = "version")]
    #[schemars(extend("format" = "kubernetes-version"))]
    pub version: String,
    /// Further versions that charts may ask for: `monitoring.coreos.com/v1`, `monitoring.coreos.com/v1/ServiceMonitor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
    /// Kinds that neither Kubernetes nor a CustomResourceDefinition of the fleet brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<CustomKind>,
}

fn version() -> String {
    KUBERNETES_VERSION.to_owned()
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            version: version(),
            api_versions: Vec::new(),
            kinds: Vec::new(),
        }
    }
}

/// A kind that somebody else installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomKind {
    /// `cert-manager.io`.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Certificate`.
    pub kind: String,
    /// Whether its objects lie in namespaces.
    pub scope: Scope,
    /// `certificates`; guessed from the kind by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// Whether objects of a kind lie in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They don't.
    Cluster,
}
