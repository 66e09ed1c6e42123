//! Job and CronJob.

use serde_json::Value;

use crate::{
    Health, HealthStatus, conditions,
    field::{at, count, counted, flag, number},
};

pub(super) fn job(object: &Value) -> Health {
    if let Some(failed) = conditions::find(object, "Failed").filter(conditions::Condition::is_true)
    {
        return Health::degraded(failed.why());
    }
    if conditions::find(object, "Complete").is_some_and(|complete| complete.is_true()) {
        return Health::new(HealthStatus::Healthy, "completed");
    }
    if let Some(failing) =
        conditions::find(object, "FailureTarget").filter(conditions::Condition::is_true)
    {
        return Health::degraded(failing.why());
    }
    if flag(object, &["spec", "suspend"])
        || conditions::find(object, "Suspended").is_some_and(|suspended| suspended.is_true())
    {
        return Health::suspended("spec.suspend is set");
    }
    if at(object, &["status", "startTime"]).is_none() {
        return Health::progressing("not started yet");
    }
    let wanted = number(object, &["spec", "completions"]);
    let (done, active, failed) = (
        count(object, &["status", "succeeded"]),
        count(object, &["status", "active"]),
        count(object, &["status", "failed"]),
    );
    let mut message = match wanted {
        Some(wanted) => format!(
            "{done} of {} done, {active} running",
            counted(wanted, "completion")
        ),
        None => format!("{active} running"),
    };
    if failed > 0 {
        message.push_str(&format!(", {failed} failed"));
    }
    Health::progressing(message)
}

/// A CronJob works as soon as it exists; what its jobs do is told by the jobs.
pub(super) fn cron_job(object: &Value) -> Health {
    if flag(object, &["spec", "suspend"]) {
        return Health::suspended("spec.suspend is set");
    }
    Health::healthy()
}
