//! Pod: the place where the deepest cause of a broken workload stands.

use serde_json::Value;

use crate::{
    Health, conditions,
    field::{at, because, count, items, number, text},
};

/// Reasons of a waiting container that are a normal part of starting.
fn starts(reason: &str) -> bool {
    matches!(reason, "" | "ContainerCreating" | "PodInitializing")
}

/// Reasons of a waiting container from which it rarely recovers without a change.
fn broken(reason: &str) -> bool {
    conditions::fails(reason) || reason == "ErrImageNeverPull" || reason == "ContainerCannotRun"
}

/// Judges a pod by its phase, then by its worst container, then by its conditions.
pub(crate) fn pod(object: &Value) -> Health {
    let phase = text(object, &["status", "phase"]);
    match phase {
        "Succeeded" => return Health::new(crate::HealthStatus::Healthy, "completed"),
        "Failed" => return Health::degraded(failed(object)),
        "Unknown" => return Health::unknown(lost(object)),
        _ => {}
    }
    if let Some(health) = worst_container(object) {
        return health;
    }
    if phase == "Running" {
        return running(object);
    }
    if let Some(unscheduled) =
        conditions::find(object, "PodScheduled").filter(conditions::Condition::is_false)
    {
        return Health::progressing(format!("not scheduled: {}", unscheduled.why()));
    }
    Health::progressing(match phase {
        "" => "no node has taken it yet".to_owned(),
        phase => format!("phase {phase}"),
    })
}

fn running(object: &Value) -> Health {
    let ready = conditions::find(object, "Ready");
    if ready.is_some_and(|ready| ready.is_true()) {
        return Health::healthy();
    }
    let statuses = items(object, &["status", "containerStatuses"]);
    let unready: Vec<&str> = statuses
        .iter()
        .filter(|status| status.get("ready").and_then(Value::as_bool) == Some(false))
        .map(|status| text(status, &["name"]))
        .take(8)
        .collect();
    if text(object, &["spec", "restartPolicy"]) == "Never"
        || text(object, &["spec", "restartPolicy"]) == "OnFailure"
    {
        return Health::progressing("running to its end");
    }
    if !unready.is_empty() {
        return Health::progressing(format!("container {} is not ready", unready.join(", ")));
    }
    Health::progressing(ready.map_or_else(|| "not ready yet".to_owned(), |ready| ready.why()))
}

/// Why a pod of phase Failed failed: the pod's own reason (Evicted), else its first container that ended badly.
fn failed(object: &Value) -> String {
    let own = because(
        text(object, &["status", "reason"]),
        text(object, &["status", "message"]),
    );
    if !own.is_empty() {
        return own;
    }
    containers(object)
        .filter_map(|(role, status)| {
            let ended = at(status, &["state", "terminated"])?;
            (number(ended, &["exitCode"]) != Some(0)).then(|| exit(role, status, ended))
        })
        .next()
        .unwrap_or_else(|| "failed".to_owned())
}

fn lost(object: &Value) -> String {
    let own = because(
        text(object, &["status", "reason"]),
        text(object, &["status", "message"]),
    );
    if own.is_empty() {
        "its node does not answer".to_owned()
    } else {
        own
    }
}

fn containers(object: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let init = items(object, &["status", "initContainerStatuses"]);
    let main = items(object, &["status", "containerStatuses"]);
    init.iter()
        .map(|status| ("init container", status))
        .chain(main.iter().map(|status| ("container", status)))
}

/// The first container that keeps the pod from working: one that is broken before one that only starts.
fn worst_container(object: &Value) -> Option<Health> {
    let mut starting = None;
    for (role, status) in containers(object) {
        let name = text(status, &["name"]);
        if let Some(waiting) = at(status, &["state", "waiting"]) {
            let reason = text(waiting, &["reason"]);
            if broken(reason) {
                let mut why = because(reason, text(waiting, &["message"]));
                if let Some(last) = at(status, &["lastState", "terminated"]) {
                    why = format!("{why} (last {})", ending(last));
                }
                return Some(Health::degraded(format!("{role} {name}: {why}")));
            }
            if starting.is_none() && !starts(reason) {
                starting = Some(format!(
                    "{role} {name}: {}",
                    because(reason, text(waiting, &["message"]))
                ));
            }
        }
        if let Some(ended) = at(status, &["state", "terminated"]) {
            let bad = number(ended, &["exitCode"]).is_some_and(|code| code != 0);
            if bad && restarts(object) && starting.is_none() {
                starting = Some(exit(role, status, ended));
            }
        }
    }
    starting.map(Health::progressing)
}

fn restarts(object: &Value) -> bool {
    text(object, &["spec", "restartPolicy"]) != "Never"
}

fn exit(role: &str, status: &Value, ended: &Value) -> String {
    let restarts = count(status, &["restartCount"]);
    let again = if restarts > 0 {
        format!(", {restarts} restarts")
    } else {
        String::new()
    };
    format!(
        "{role} {}: {}{again}",
        text(status, &["name"]),
        ending(ended)
    )
}

/// `exit code 137, OOMKilled`.
fn ending(ended: &Value) -> String {
    let code =
        number(ended, &["exitCode"]).map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    let reason = text(ended, &["reason"]);
    if reason.is_empty() || reason == "Error" || reason == "Completed" {
        format!("exit code {code}")
    } else {
        format!("exit code {code}, {reason}")
    }
}
