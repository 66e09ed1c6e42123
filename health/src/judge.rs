//! The order in which an object is judged: gone, going, the fleet's rules, the kind's own rules, the conventions.

use serde_json::Value;

use crate::{
    Health, Rules, conditions,
    field::{at, group, items, text},
    kinds,
};

/// Judges one object as the API server returns it. `null` stands for an object that is not there.
///
/// The fleet's rules come before the built-in ones; a rule that can't decide (its field is absent) leaves the object to
/// them, a rule that is wrong or too dear makes it `Unknown` and says so.
pub fn judge(object: &Value, rules: &Rules) -> Health {
    if object.is_null() {
        return Health::missing("not in the cluster");
    }
    let kind = text(object, &["kind"]);
    if !object.is_object() || kind.is_empty() {
        return Health::unknown("not a Kubernetes object: it has no kind");
    }
    if let Some(going) = terminating(object) {
        return going;
    }
    if let Some(health) = rules.judge(object) {
        return health;
    }
    kinds::judge(group(object), kind, object).unwrap_or_else(|| conditions::standard(object))
}

/// Must the agent read the whole object to judge it? Of a kind that only holds data, its mere existence is enough.
///
/// Kinds that the fleet has a rule for need it too: see [`Rules::needs_status`].
pub fn needs_status(group: &str, kind: &str) -> bool {
    !kinds::is_data(group, kind)
}

fn terminating(object: &Value) -> Option<Health> {
    at(object, &["metadata", "deletionTimestamp"]).filter(|stamp| !stamp.is_null())?;
    let finalizers: Vec<&str> = items(object, &["metadata", "finalizers"])
        .iter()
        .take(8)
        .filter_map(Value::as_str)
        .collect();
    Some(Health::progressing(if finalizers.is_empty() {
        "being deleted".to_owned()
    } else {
        format!("being deleted; held by finalizer {}", finalizers.join(", "))
    }))
}
