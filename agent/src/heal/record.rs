//! What is told of a drift that was healed: who made it, where, and what stood there.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::clock;
use crate::engine::{Done, Engine, Job};
use crate::news::DriftRecord;
use crate::watch::drift::What;
use crate::watch::{difference, ownership};

/// Writes the record of a drift that was healed.
pub(super) fn record(
    engine: &Engine,
    job: &Job,
    evidence: &Bytes,
    what: What,
    found: Option<&Value>,
    done: &Done,
) {
    let Some(want) = engine.world().desired().objects.get(&job.id).cloned() else {
        return;
    };
    let what = match (&done.before, what) {
        // Our label was taken off: the watch calls it a deletion, the UID says otherwise.
        (Some(before), What::Deleted) if before.uid == done.after.uid => What::Changed,
        (_, what) => what,
    };
    let patch = found
        .and_then(|found| {
            let body = engine.body(&want).ok()?;
            Some(difference::told(
                &serde_json::from_slice(&body).ok()?,
                found,
            ))
        })
        .unwrap_or_default();
    let (managers, paths) = culprits(evidence, &done.metadata);
    let took = u32::try_from(job.since.elapsed().as_millis()).unwrap_or(u32::MAX);
    engine.metrics.healed(what.word(), job.since.elapsed());
    tracing::info!(object = %job.id, what = what.word(), ?managers, ?paths, took, "drift healed");
    engine.drifted(DriftRecord {
        id: Arc::clone(&job.id),
        app: want.app,
        what: what.word(),
        managers,
        paths,
        patch,
        healed: true,
        healed_after: took,
        time: clock::unix_millis(),
    });
}

/// Paths in a record; more are cut.
pub(super) const PATHS_MAX: usize = 50;

/// Who made a drift, and where: the paths that our entry had lost, and the entries that own them.
fn culprits(evidence: &Bytes, healed: &Bytes) -> (Vec<String>, Vec<String>) {
    let (Some(then), Some(now)) = (ownership::meta(evidence), ownership::meta(healed)) else {
        return (Vec::new(), Vec::new());
    };
    let ours = |meta: &ownership::Meta<'_>| {
        meta.managed_fields
            .iter()
            .flatten()
            .find(|entry| entry.is_ours())
            .and_then(|entry| entry.fields)
            .map_or_else(BTreeSet::new, |fields| difference::paths(fields.get()))
    };
    let (had, has) = (ours(&then), ours(&now));
    let mut lost: BTreeSet<String> = has.difference(&had).cloned().collect();
    let mut managers = BTreeSet::new();
    for entry in then
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| !entry.is_ours())
    {
        let owned = entry
            .fields
            .map_or_else(BTreeSet::new, |fields| difference::paths(fields.get()));
        if owned.iter().any(|path| {
            lost.iter()
                .any(|lost| lost == path || below(path, lost) || below(lost, path))
        }) {
            managers.insert(entry.manager.as_deref().unwrap_or("unknown").to_owned());
        }
    }
    if lost.is_empty() && had == has {
        // The same fields, another time: an apply under our own name.
        managers.insert(ownership::MANAGER.to_owned());
        lost = has;
    }
    if managers.is_empty() && !lost.is_empty() {
        // Removed, or all bookkeeping was wiped: whoever wrote last beside us.
        let last = then
            .managed_fields
            .iter()
            .flatten()
            .filter(|entry| !entry.is_ours() && !entry.is_expected());
        if let Some(entry) = last.max_by_key(|entry| entry.seconds()) {
            managers.insert(entry.manager.as_deref().unwrap_or("unknown").to_owned());
        }
    }
    (
        managers.into_iter().collect(),
        lost.into_iter().take(PATHS_MAX).collect(),
    )
}

fn below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(entries: &str) -> Bytes {
        format!(r#"{{"metadata":{{"name":"a","managedFields":[{entries}]}}}}"#).into()
    }

    const OURS: &str = r#"{"manager":"countersign","operation":"Apply","fieldsV1":{"f:spec":{"f:replicas":{},"f:image":{}}}}"#;

    #[test]
    fn the_manager_that_took_a_field_is_named_with_its_path() {
        let evidence = object(
            r#"{"manager":"countersign","operation":"Apply","fieldsV1":{"f:spec":{"f:image":{}}}},
               {"manager":"kubectl-scale","operation":"Update","subresource":"scale","fieldsV1":{"f:spec":{"f:replicas":{}}}},
               {"manager":"other","operation":"Update","fieldsV1":{"f:spec":{"f:other":{}}}}"#,
        );
        assert_eq!(
            culprits(&evidence, &object(OURS)),
            (
                vec!["kubectl-scale".to_owned()],
                vec![".spec.replicas".to_owned()]
            )
        );
    }

    #[test]
    fn an_apply_under_our_own_name_is_named_as_such() {
        let (managers, paths) = culprits(&object(OURS), &object(OURS));
        assert_eq!(managers, ["countersign"]);
        assert_eq!(paths.len(), 2);
    }
}
