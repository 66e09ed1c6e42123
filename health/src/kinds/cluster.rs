//! Kinds that the cluster itself is made of: Namespace, CustomResourceDefinition, APIService, Node.

use serde_json::Value;

use crate::{
    Health, conditions,
    field::{flag, text},
};

pub(super) fn namespace(object: &Value) -> Health {
    if text(object, &["status", "phase"]) != "Terminating" {
        return Health::healthy();
    }
    let holds = [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ];
    let held = holds
        .into_iter()
        .filter_map(|name| conditions::find(object, name))
        .find(conditions::Condition::is_true);
    Health::progressing(held.map_or_else(
        || "being deleted".to_owned(),
        |held| format!("being deleted; {}", held.why()),
    ))
}

pub(super) fn definition(object: &Value) -> Health {
    if let Some(refused) =
        conditions::find(object, "NamesAccepted").filter(conditions::Condition::is_false)
    {
        return Health::degraded(format!("its names are taken: {}", refused.why()));
    }
    let established = conditions::find(object, "Established");
    if established.is_some_and(|established| established.is_true()) {
        return conditions::find(object, "NonStructuralSchema")
            .filter(conditions::Condition::is_true)
            .map_or_else(Health::healthy, |wrong| Health::degraded(wrong.why()));
    }
    Health::progressing(established.map_or_else(
        || "not established yet".to_owned(),
        |established| format!("not established yet: {}", established.why()),
    ))
}

pub(super) fn api_service(object: &Value) -> Health {
    match conditions::find(object, "Available") {
        Some(available) if available.is_true() => Health::healthy(),
        Some(available) if available.is_false() => {
            Health::degraded(format!("not served: {}", available.why()))
        }
        Some(available) => Health::progressing(available.why()),
        None => Health::progressing("no controller has seen it yet"),
    }
}

pub(super) fn node(object: &Value) -> Health {
    match conditions::find(object, "Ready") {
        Some(ready) if ready.is_true() => {
            if flag(object, &["spec", "unschedulable"]) {
                return Health::suspended("cordoned");
            }
            let pressed = [
                "MemoryPressure",
                "DiskPressure",
                "PIDPressure",
                "NetworkUnavailable",
            ]
            .into_iter()
            .filter_map(|name| conditions::find(object, name))
            .find(conditions::Condition::is_true);
            pressed.map_or_else(Health::healthy, |pressed| Health::degraded(pressed.why()))
        }
        Some(ready) => Health::degraded(ready.why()),
        None => Health::progressing("not registered yet"),
    }
}
