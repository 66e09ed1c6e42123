//! What became of a plan, app by app: what a receipt tells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::statement::receipt::AppCounts;
use serde_json::{Value, json};

use crate::clock;
use crate::engine::Engine;
use crate::health::rollup;
use crate::plan::{Desired, Plan};
use crate::receipt::inbox::SyncSeen;
use crate::receipt::json_lines;
use crate::world::Sync;

/// Failed objects that are named in all; further ones are in their app's count.
const FAILED_MAX: usize = 1_000;
/// Apps that are named; further ones are in the counts.
const APPS_MAX: usize = 5_000;

/// How an app ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Applied,
    Unchanged,
    Pruned,
    Failed,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
        }
    }
}

/// Looks at the world after `plan`, which began at `started` (milliseconds since 1970).
pub(super) fn of(engine: &Engine, desired: &Desired, plan: &Plan, started: i64) -> SyncSeen {
    let waits = engine
        .waits
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let world = engine.world();
    let states = rollup::apps(&world, &waits);
    let mut failed: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
    let all_failed = world.iter().filter_map(|(id, object)| {
        let want = desired.objects.get(id)?;
        match &object.sync {
            Sync::Failed(problem) => Some((id, Arc::clone(&want.app), problem.code)),
            _ => None,
        }
    });
    for (id, app, code) in all_failed.take(FAILED_MAX) {
        let line = json!({"code": code, "object": id.to_value()});
        failed.entry(app).or_default().push(line);
    }
    drop(world);
    let written = written(desired, plan);
    let pruned: BTreeSet<&Arc<str>> = plan
        .apps
        .iter()
        .filter(|app| !app.prune.is_empty() && !states.contains_key(&app.name))
        .map(|app| &app.name)
        .collect();
    let mut apps = AppCounts::default();
    let mut lines = Vec::with_capacity(states.len());
    for (name, state) in &states {
        let outcome = if state.failed > 0 {
            Outcome::Failed
        } else if written.contains(name) {
            Outcome::Applied
        } else {
            Outcome::Unchanged
        };
        count(&mut apps, outcome);
        let commit = desired.apps.get(name).map_or("", |app| app.commit.as_str());
        lines.push(json!({
            "app": &**name,
            "commit": commit,
            "failed": state.failed,
            "failures": failed.remove(name).unwrap_or_default(),
            "health": state.health.word(),
            "objects": state.objects,
            "outcome": outcome.word(),
        }));
    }
    for name in pruned {
        count(&mut apps, Outcome::Pruned);
        lines.push(json!({"app": &**name, "outcome": Outcome::Pruned.word()}));
    }
    lines.truncate(APPS_MAX);
    let results = json_lines(lines).unwrap_or_else(|error| {
        tracing::error!(%error, "results have no canonical form");
        Bytes::new()
    });
    SyncSeen {
        generation: plan.generation,
        started,
        ended: clock::unix_millis(),
        apps,
        health: rollup::cluster(&states).0,
        results,
        dropped: 0,
    }
}

/// Apps of which the plan writes something.
fn written(desired: &Desired, plan: &Plan) -> BTreeSet<Arc<str>> {
    let first = plan.first.iter();
    let of = |id: &Arc<ObjectId>| desired.objects.get(id).map(|want| Arc::clone(&want.app));
    let waves = plan.apps.iter().filter(|app| !app.waves.is_empty());
    let waves = waves.map(|app| Arc::clone(&app.name));
    first.filter_map(of).chain(waves).collect()
}

fn count(apps: &mut AppCounts, outcome: Outcome) {
    let place = match outcome {
        Outcome::Applied => &mut apps.applied,
        Outcome::Unchanged => &mut apps.unchanged,
        Outcome::Pruned => &mut apps.pruned,
        Outcome::Failed => &mut apps.failed,
    };
    *place += 1;
}
