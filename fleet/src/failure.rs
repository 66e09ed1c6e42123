//! Why an app could not be taken in. It keeps what it last had; the others move on.
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mistake::Mistake;
use crate::render::RenderFailure;

/// Why an app could not be taken in on a cluster.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct AppFailure {
    /// UPPER_SNAKE, stable.
    pub code: String,
    /// File that is to blame; empty if none is.
    #[serde(default)]
    pub file: String,
    /// Line in it, from 1; 0 if unknown.
    #[serde(default)]
    pub line: u32,
    /// Field in it; empty if unknown.
    #[serde(default)]
    pub field: String,
    /// For a person: what is wrong and the way out. Never holds content of a file.
    pub message: String,
    /// Whether the environment failed, not the input: a later try of the same commit may succeed.
    #[serde(default)]
    pub fault: bool,
    /// Digest that a person can permit, hex; empty if no permit helps.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permit: String,
}

impl AppFailure {
    /// A failure without a place.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// The same failure, blamed on a file.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: u32) -> Self {
        self.file = file.into();
        self.line = line;
        self
    }

    /// The same failure as one of the environment.
    #[must_use]
    pub fn as_fault(mut self) -> Self {
        self.fault = true;
        self
    }

    /// The failure of an app whose document has these mistakes.
    pub fn of_mistakes(mistakes: &[Mistake]) -> Self {
        let Some(first) = mistakes.first() else {
            return Self::new("SPEC_INVALID", "the app's document can't be used");
        };
        let more = match mistakes.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        Self {
            field: first.field.clone(),
            ..Self::new("SPEC_INVALID", format!("{}{more}", first.problem))
                .at(first.file.to_string(), first.line)
        }
    }
}

impl From<&RenderFailure> for AppFailure {
    fn from(failure: &RenderFailure) -> Self {
        Self {
            code: failure.code.to_string(),
            file: failure.file.clone(),
            line: failure.line,
            field: failure.field.clone(),
            message: failure.message.clone(),
            fault: failure.code.is_fault(),
            permit: String::new(),
        }
    }
}

impl fmt::Display for AppFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}", self.line)?;
            }
            f.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
