//! The fleet's own health rules.

use serde_json::Value;

use crate::Health;

/// Rules of a fleet, compiled.
#[derive(Debug, Clone, Default)]
pub struct Rules {}

impl Rules {
    /// No rules but the built-in ones.
    pub fn none() -> Self {
        Self::default()
    }

    /// The verdict of the rule for the object's kind, if there is one and it decides.
    pub(crate) fn judge(&self, _object: &Value) -> Option<Health> {
        None
    }

    /// Must the agent read the whole object, for the built-in rules or for one of these?
    pub fn needs_status(&self, group: &str, kind: &str) -> bool {
        crate::needs_status(group, kind)
    }
}
