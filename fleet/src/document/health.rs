//! `HealthRules`: how objects of kinds that no built-in rule knows tell their health. A file in `policies/health/`.
//!
//! Here only their shape is checked. The expressions are CEL: `countersign lint` compiles them, and the agent does before
//! it uses them.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiVersion;
use super::words::Word;

/// Rules of the whole fleet for the health of some kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "HealthRules")]
pub struct HealthRulesDocument {
    /// Always countersign.dev/v1alpha1.
    pub api_version: ApiVersion,
    /// Always HealthRules.
    pub kind: HealthRulesKind,
    /// What they are about.
    #[serde(default)]
    pub metadata: HealthRulesMetadata,
    /// The rules.
    pub spec: HealthRulesSpec,
}

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum HealthRulesKind {
    /// The only one.
    HealthRules,
}

/// The name of a set of rules and notes about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthRulesMetadata {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Word>,
    /// For people and their tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Rules, each for one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthRulesSpec {
    /// One a kind.
    pub rules: Vec<HealthRule>,
}

/// How objects of one kind are judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthRule {
    /// API group; without it the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Asked in order; the first that is true decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheck>,
    /// The status if no check is true; without it the built-in rules decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<HealthWord>,
}

/// One question about an object, and the status that follows from a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// The status if `when` is true.
    pub status: HealthWord,
    /// A CEL expression over `self`, the object. A field that is not there makes it false.
    pub when: String,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A CEL expression that gives a text, instead of message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_expression: Option<String>,
}

/// How an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum HealthWord {
    /// It works.
    Healthy,
    /// Paused on purpose.
    Suspended,
    /// On its way.
    Progressing,
    /// It can't be told.
    Unknown,
    /// It should exist and does not.
    Missing,
    /// It does not work.
    Degraded,
}

impl HealthRule {
    /// As it travels to the agents.
    pub fn json(&self) -> serde_json::Value {
        // A struct of texts always becomes JSON.
        serde_json::to_value(self).unwrap_or_default()
    }
}
