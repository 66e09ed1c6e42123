//! PodDisruptionBudget and HorizontalPodAutoscaler.

use serde_json::Value;

use crate::{
    Health, conditions,
    field::{at, count, counted},
};

pub(super) fn disruption_budget(object: &Value) -> Health {
    if let Some(behind) = conditions::behind(object) {
        return behind;
    }
    if at(object, &["status"]).is_none() {
        return Health::progressing("no controller has seen it yet");
    }
    if let Some(allowed) = conditions::find(object, "DisruptionAllowed") {
        // InsufficientPods is the budget doing its work; only a budget that can't be computed is broken.
        if allowed.reason == "SyncFailed" {
            return Health::degraded(allowed.why());
        }
    }
    let (healthy, desired) = (
        count(object, &["status", "currentHealthy"]),
        count(object, &["status", "desiredHealthy"]),
    );
    if healthy < desired {
        return Health::progressing(format!("{healthy} of {} healthy", counted(desired, "pod")));
    }
    Health::healthy()
}

pub(super) fn autoscaler(object: &Value) -> Health {
    if let Some(behind) = conditions::behind(object) {
        return behind;
    }
    if let Some(unable) =
        conditions::find(object, "AbleToScale").filter(conditions::Condition::is_false)
    {
        return if conditions::fails(unable.reason) {
            Health::degraded(unable.why())
        } else {
            Health::progressing(unable.why())
        };
    }
    if let Some(inactive) =
        conditions::find(object, "ScalingActive").filter(conditions::Condition::is_false)
    {
        return if inactive.reason == "ScalingDisabled" {
            Health::suspended(inactive.why())
        } else {
            // No metrics: it holds the number of replicas it has, and can't react to load.
            Health::degraded(inactive.why())
        };
    }
    if conditions::find(object, "AbleToScale").is_none() {
        return Health::progressing("no controller has seen it yet");
    }
    Health::healthy()
}
