//! `status.conditions`: the one thing that most kinds have in common, and the verdict that follows from it alone.

use serde_json::Value;

use crate::{
    Health,
    field::{because, flag, items, number, text},
    limits::CONDITIONS_MAX,
};

/// Conditions that are `True` when something is wrong.
const WRONG: [&str; 3] = ["Stalled", "Degraded", "Failed"];

/// Conditions that are `True` while work is under way.
const MOVING: [&str; 2] = ["Reconciling", "Progressing"];

/// Conditions that are `True` when it works, in the order in which they are asked.
const WORKING: [&str; 8] = [
    "Ready",
    "Available",
    "Synced",
    "Accepted",
    "Programmed",
    "Established",
    "Healthy",
    "Succeeded",
];

/// One condition of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'v> {
    name: &'v str,
    status: &'v str,
    /// A word for machines.
    pub(crate) reason: &'v str,
    /// A sentence for people.
    pub(crate) message: &'v str,
}

impl<'v> Condition<'v> {
    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// `reason: message`, or the condition itself if it gives neither.
    pub(crate) fn why(&self) -> String {
        let why = because(self.reason, self.message);
        if why.is_empty() {
            format!("condition {} is {}", self.name, self.status)
        } else {
            why
        }
    }

    /// Does its reason say that it failed, rather than that it has not come so far? Reasons are one CamelCase word.
    fn reason_fails(&self) -> bool {
        fails(self.reason)
    }
}

/// Reasons that by the conventions of Kubernetes and its controllers name a failure.
pub(crate) fn fails(reason: &str) -> bool {
    reason.ends_with("Error")
        || reason.ends_with("Failed")
        || reason.ends_with("Failure")
        || reason.ends_with("BackOff")
        || reason.ends_with("Exceeded")
        || reason.starts_with("Err")
        || reason.starts_with("Invalid")
        || reason.starts_with("Failed")
}

/// All conditions, in the object's order.
pub(crate) fn all(object: &Value) -> impl Iterator<Item = Condition<'_>> {
    items(object, &["status", "conditions"])
        .iter()
        .take(CONDITIONS_MAX)
        .map(|condition| Condition {
            name: text(condition, &["type"]),
            status: text(condition, &["status"]),
            reason: text(condition, &["reason"]),
            message: text(condition, &["message"]),
        })
}

/// The condition of that type.
pub(crate) fn find<'v>(object: &'v Value, name: &str) -> Option<Condition<'v>> {
    all(object).find(|condition| condition.name == name)
}

/// The controller has not yet seen the newest specification.
pub(crate) fn behind(object: &Value) -> Option<Health> {
    let generation = number(object, &["metadata", "generation"])?;
    let observed = number(object, &["status", "observedGeneration"])?;
    (observed < generation).then(|| {
        Health::progressing(format!(
            "the controller has seen generation {observed} of {generation}"
        ))
    })
}

/// The verdict on a kind of which nothing but the conventions is known.
pub(crate) fn standard(object: &Value) -> Health {
    if let Some(behind) = behind(object) {
        return behind;
    }
    if let Some(wrong) = first(object, &WRONG, |condition| condition.is_true()) {
        return Health::degraded(wrong.why());
    }
    if flag(object, &["spec", "suspend"]) {
        return Health::suspended("spec.suspend is set");
    }
    if let Some(failed) = first(object, &WORKING, |condition| {
        condition.is_false() && condition.reason_fails()
    }) {
        return Health::degraded(failed.why());
    }
    if let Some(moving) = first(object, &MOVING, |condition| condition.is_true()) {
        return Health::progressing(moving.why());
    }
    if let Some(not_yet) = first(object, &WORKING, |condition| !condition.is_true()) {
        return Health::progressing(not_yet.why());
    }
    Health::healthy()
}

fn first<'v>(
    object: &'v Value,
    names: &[&str],
    wanted: impl Fn(&Condition<'v>) -> bool,
) -> Option<Condition<'v>> {
    names
        .iter()
        .filter_map(|name| find(object, name))
        .find(|condition| wanted(condition))
}
