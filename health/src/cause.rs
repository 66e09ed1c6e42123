//! A workload is told by its pods: which of them does not work, and why.

use serde_json::Value;

use crate::{Health, HealthStatus, Rules, field::text, judge, kinds, limits::PODS_MAX};

/// Judges a workload together with pods of it, which the caller has read because the workload alone is not healthy.
///
/// A pod that does not work makes a workload that was still waiting `Degraded`, and names the deepest cause; a pod that
/// is merely waiting lends its message. A healthy, suspended or missing workload is left as it is. At most
/// [`PODS_MAX`] pods are looked at; those being deleted are passed over.
pub fn judge_with_pods(object: &Value, pods: &[Value], rules: &Rules) -> Health {
    let own = judge(object, rules);
    if !matches!(
        own.status,
        HealthStatus::Progressing | HealthStatus::Degraded
    ) {
        return own;
    }
    let worst = pods
        .iter()
        .take(PODS_MAX)
        .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
        .map(|pod| (kinds::pod(pod), text(pod, &["metadata", "name"])))
        .filter(|(health, _)| health.status > HealthStatus::Suspended)
        .max_by(|(a, a_name), (b, b_name)| a.status.cmp(&b.status).then(b_name.cmp(a_name)));
    match worst {
        None => own,
        Some((pod, name)) => {
            let message = format!("{}; pod {name}: {}", own.message, pod.message);
            let status = own.status.max(if pod.status == HealthStatus::Degraded {
                HealthStatus::Degraded
            } else {
                own.status
            });
            Health::new(status, message)
        }
    }
}

/// Does the workload's selector choose that pod? Only `matchLabels` is read; a selector with `matchExpressions`, or
/// with none, chooses nothing here.
pub fn selects(workload: &Value, pod: &Value) -> bool {
    let selector = workload.pointer("/spec/selector");
    let labels = selector
        .and_then(|selector| selector.get("matchLabels"))
        .and_then(Value::as_object);
    let expressions = selector.is_some_and(|selector| selector.get("matchExpressions").is_some());
    let Some(labels) = labels.filter(|labels| !labels.is_empty() && !expressions) else {
        return false;
    };
    text(workload, &["metadata", "namespace"]) == text(pod, &["metadata", "namespace"])
        && labels.iter().all(|(key, value)| {
            pod.pointer("/metadata/labels")
                .and_then(|labels| labels.get(key))
                == Some(value)
        })
}
