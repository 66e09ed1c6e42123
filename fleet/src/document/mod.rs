//! What an operator writes: Kubernetes-style YAML of `countersign.dev/v1alpha1`.
//!
//! The Rust types are the one truth: the published JSON Schemas come from them (`proto/schemas/`), [`check`] walks a
//! document along its schema so that every mistake is found at once with its line, and what passes becomes the type.
//!
//! Read first: [`app`], then [`cluster`], [`fleet`]; [`words`] holds the small types that they share.
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub mod app;
pub mod check;
pub mod cluster;
pub mod fleet;
pub mod health;
pub mod words;

pub use app::{
    AppDocument, AppSpec, Gate, GitSource, HelmRender, HelmSource, KustomizeRender, OciSource,
    OnRemoval, PlainRender, Project, Prune, Render, Rollout, Source,
};
pub use cluster::{ClusterDocument, ClusterSpec, CustomKind, Kubernetes, Scope};
pub use fleet::{Defaults, FleetDocument, FleetSpec, Level};
pub use health::{
    HealthCheck, HealthRule, HealthRulesDocument, HealthRulesMetadata, HealthRulesSpec, HealthWord,
};
pub use words::{AppName, ClusterName, Duration, KindName, Requirement, Selector, Word};

/// The group of all our documents.
pub const GROUP: &str = "countersign.dev";
/// The one version that is read.
pub const API_VERSION: &str = "countersign.dev/v1alpha1";

/// The version of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ApiVersion {
    /// The first.
    #[serde(rename = "countersign.dev/v1alpha1")]
    V1Alpha1,
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocumentKind {
    /// What runs on which clusters.
    App,
    /// One cluster.
    Cluster,
    /// The fleet as a whole.
    Fleet,
    /// How objects of some kinds tell their health.
    HealthRules,
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::App, Self::Cluster, Self::Fleet, Self::HealthRules];

    /// As it is written in `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "App",
            Self::Cluster => "Cluster",
            Self::Fleet => "Fleet",
            Self::HealthRules => "HealthRules",
        }
    }

    /// Name of its schema's file.
    pub fn schema_file(self) -> &'static str {
        match self {
            Self::App => "app.schema.json",
            Self::Cluster => "cluster.schema.json",
            Self::Fleet => "fleet.schema.json",
            Self::HealthRules => "health-rules.schema.json",
        }
    }

    /// Its JSON Schema, as it is published.
    pub fn schema(self) -> Json {
        let schema = match self {
            Self::App => schema_for!(AppDocument),
            Self::Cluster => schema_for!(ClusterDocument),
            Self::Fleet => schema_for!(FleetDocument),
            Self::HealthRules => schema_for!(HealthRulesDocument),
        };
        let mut schema = schema.to_value();
        if let Some(object) = schema.as_object_mut() {
            let id = format!("https://countersign.dev/schemas/{}", self.schema_file());
            object.insert("$id".to_owned(), Json::String(id));
        }
        schema
    }
}

#[cfg(test)]
mod tests;
