//! Deployment, StatefulSet, DaemonSet, ReplicaSet: what is asked for, what is there, and what holds it up.

use serde_json::Value;

use crate::{
    Health, conditions,
    field::{at, count, counted, flag, number, text},
};

/// Replicas asked for; the API server's default is one.
fn wanted(object: &Value) -> i64 {
    number(object, &["spec", "replicas"]).unwrap_or(1).max(0)
}

fn status(object: &Value, name: &str) -> i64 {
    count(object, &["status", name])
}

/// No controller has written a status yet, or not for the newest specification.
fn unseen(object: &Value) -> Option<Health> {
    if let Some(behind) = conditions::behind(object) {
        return Some(behind);
    }
    let seen = number(object, &["status", "observedGeneration"]).is_some();
    // Objects from a file have neither a generation nor a status; live ones have both.
    let live = at(object, &["metadata", "generation"]).is_some();
    (!seen && (live || at(object, &["status"]).is_none()))
        .then(|| Health::progressing("no controller has seen it yet"))
}

pub(super) fn deployment(object: &Value) -> Health {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    let (updated, available) = (
        status(object, "updatedReplicas"),
        status(object, "availableReplicas"),
    );
    let total = status(object, "replicas");
    if flag(object, &["spec", "paused"]) {
        return Health::suspended(format!(
            "paused: {updated} of {} updated",
            counted(wanted, "replica")
        ));
    }
    if let Some(failure) =
        conditions::find(object, "ReplicaFailure").filter(conditions::Condition::is_true)
    {
        return Health::degraded(format!("pods can't be made: {}", failure.why()));
    }
    let counts = if updated < wanted {
        Some(format!(
            "{updated} of {} updated",
            counted(wanted, "replica")
        ))
    } else if total > updated {
        Some(format!(
            "{} still to be ended",
            counted(total.saturating_sub(updated), "old replica")
        ))
    } else if total > wanted {
        Some(format!(
            "{} too many still to be ended",
            counted(total.saturating_sub(wanted), "replica")
        ))
    } else if available < wanted {
        Some(format!(
            "{available} of {} available",
            counted(wanted, "replica")
        ))
    } else {
        None
    };
    let progress = conditions::find(object, "Progressing");
    if let Some(stuck) = progress.filter(|progress| progress.reason == "ProgressDeadlineExceeded") {
        let counts = counts
            .unwrap_or_else(|| format!("{available} of {} available", counted(wanted, "replica")));
        return Health::degraded(format!("{}; {counts}", stuck.why()));
    }
    counts.map_or_else(Health::healthy, Health::progressing)
}

pub(super) fn stateful_set(object: &Value) -> Health {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    let total = status(object, "replicas");
    if total > wanted {
        return Health::progressing(format!(
            "{} still to be ended",
            counted(total.saturating_sub(wanted), "replica")
        ));
    }
    let ready = status(object, "readyReplicas");
    if ready < wanted {
        return Health::progressing(format!("{ready} of {} ready", counted(wanted, "replica")));
    }
    let available = at(object, &["status", "availableReplicas"])
        .map_or(ready, |_| status(object, "availableReplicas"));
    if available < wanted {
        return Health::progressing(format!(
            "{available} of {} available",
            counted(wanted, "replica")
        ));
    }
    if text(object, &["spec", "updateStrategy", "type"]) == "OnDelete" {
        return Health::healthy();
    }
    let partition = count(
        object,
        &["spec", "updateStrategy", "rollingUpdate", "partition"],
    );
    let updated = status(object, "updatedReplicas");
    let to_update = wanted.saturating_sub(partition).max(0);
    if updated < to_update {
        return Health::progressing(format!(
            "{updated} of {} updated",
            counted(to_update, "replica")
        ));
    }
    if partition > 0 {
        return Health::new(
            crate::HealthStatus::Healthy,
            format!(
                "{} updated; partition {partition} holds the rest",
                counted(updated, "replica")
            ),
        );
    }
    let (current, update) = (
        text(object, &["status", "currentRevision"]),
        text(object, &["status", "updateRevision"]),
    );
    if current != update && wanted > 0 {
        return Health::progressing(format!("revision {update} is not current yet"));
    }
    Health::healthy()
}

pub(super) fn daemon_set(object: &Value) -> Health {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = status(object, "desiredNumberScheduled");
    let on_delete = text(object, &["spec", "updateStrategy", "type"]) == "OnDelete";
    let parts = [
        ("currentNumberScheduled", "scheduled"),
        ("updatedNumberScheduled", "updated"),
        ("numberReady", "ready"),
        ("numberAvailable", "available"),
    ];
    for (name, word) in parts {
        if on_delete && name == "updatedNumberScheduled" {
            continue;
        }
        let got = status(object, name);
        if got < wanted {
            return Health::progressing(format!("{got} of {} {word}", counted(wanted, "pod")));
        }
    }
    Health::healthy()
}

pub(super) fn replica_set(object: &Value) -> Health {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if let Some(failure) =
        conditions::find(object, "ReplicaFailure").filter(conditions::Condition::is_true)
    {
        return Health::degraded(format!("pods can't be made: {}", failure.why()));
    }
    let wanted = wanted(object);
    let total = status(object, "replicas");
    if total > wanted {
        return Health::progressing(format!(
            "{} still to be ended",
            counted(total.saturating_sub(wanted), "replica")
        ));
    }
    let available = status(object, "availableReplicas");
    if available < wanted {
        return Health::progressing(format!(
            "{available} of {} available",
            counted(wanted, "replica")
        ));
    }
    Health::healthy()
}
