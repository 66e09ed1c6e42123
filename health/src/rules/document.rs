//! What a person writes: a file of rules.
//!
//! ```yaml
//! apiVersion: countersign.dev/v1alpha1
//! kind: HealthRules
//! metadata:
//!   name: rollouts
//! spec:
//!   rules:
//!     - group: argoproj.io
//!       kind: Rollout
//!       checks:                       # the first one that is true decides
//!         - status: Degraded
//!           when: self.status.phase == "Degraded"
//!           messageExpression: self.status.message
//!         - status: Healthy
//!           when: self.status.phase == "Healthy"
//!       otherwise: Progressing        # without it the built-in rules decide
//! ```

use serde::{Deserialize, Serialize};

use crate::{HealthStatus, limits::RULES_FILE_MAX};

/// The one `apiVersion` that is read.
const API_VERSION: &str = "countersign.dev/v1alpha1";

/// The one `kind` that is read.
const KIND: &str = "HealthRules";

/// How objects of one kind are judged, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Asked in order; the first that is true decides.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The status if no check is true; without it the built-in rules decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<HealthStatus>,
}

/// One question about an object, and the status that follows from a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// The status if `when` is true.
    pub status: HealthStatus,
    /// A CEL expression over `self`, the object. A field that is not there makes it false.
    pub when: String,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A CEL expression that gives a text, instead of `message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    #[serde(rename = "metadata", default)]
    _metadata: serde_json::Value,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    rules: Vec<Rule>,
}

/// Why a file of rules can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// It is larger than [`RULES_FILE_MAX`].
    #[error("a file of health rules must be at most {RULES_FILE_MAX} bytes, is {0}")]
    TooLarge(usize),
    /// It is not YAML, or has another shape.
    #[error("{0}")]
    Yaml(String),
    /// A rule that travels as JSON has another shape.
    #[error("rule {index}: {problem}")]
    Json {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        problem: String,
    },
    /// It is another kind of document.
    #[error("must be {KIND} of {API_VERSION}, is {kind} of {api_version}")]
    OtherKind {
        /// Its apiVersion.
        api_version: String,
        /// Its kind.
        kind: String,
    },
}

/// Reads a file of rules: one YAML document. Compile what it gives with [`super::Rules::compile`].
///
/// # Errors
/// [`RulesError`] says what is wrong; a YAML error names line and column.
pub fn parse(yaml: &str) -> Result<Vec<Rule>, RulesError> {
    if yaml.len() > RULES_FILE_MAX {
        return Err(RulesError::TooLarge(yaml.len()));
    }
    let document: Document =
        serde_saphyr::from_str(yaml).map_err(|error| RulesError::Yaml(error.to_string()))?;
    if document.api_version != API_VERSION || document.kind != KIND {
        return Err(RulesError::OtherKind {
            api_version: document.api_version,
            kind: document.kind,
        });
    }
    Ok(document.spec.rules)
}

/// Reads rules that travel as JSON, one value a rule: `healthRules` of an app in a signed manifest.
///
/// # Errors
/// [`RulesError::Json`] names the rule that has another shape.
pub fn from_json(rules: &[serde_json::Value]) -> Result<Vec<Rule>, RulesError> {
    rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            Rule::deserialize(rule).map_err(|error| RulesError::Json {
                index,
                problem: error.to_string(),
            })
        })
        .collect()
}
