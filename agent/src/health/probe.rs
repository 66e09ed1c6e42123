//! Reads the objects whose health is told by their status, when a watch says that they changed.
//!
//! One read an object at a time and few at once; what holds data only is healthy by being there and is never read. Of
//! a workload that is not healthy its pods are read too, for the deepest cause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_ledger::identity::ObjectId;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Health, Status};
use crate::apply::client;
use crate::apply::request;
use crate::engine::Engine;

/// Reads in flight: status changes are frequent and never urgent beside writes.
const READS_MAX: usize = 4;
/// Pods of one workload that are read for the deepest cause.
const PODS_MAX: u32 = 20;
/// A failed read is tried again after so long.
const AGAIN: Duration = Duration::from_secs(2);

/// What is asked of an object while it is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Once,
    Again,
}

/// Runs until `stop`.
pub async fn run(
    engine: Arc<Engine>,
    mut asked: mpsc::UnboundedReceiver<Arc<ObjectId>>,
    stop: CancellationToken,
) {
    let mut reading: HashMap<Arc<ObjectId>, Asked> = HashMap::new();
    let mut waiting: std::collections::VecDeque<Arc<ObjectId>> = std::collections::VecDeque::new();
    let mut reads: JoinSet<(Arc<ObjectId>, bool)> = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(read) = reads.join_next(), if !reads.is_empty() => {
                if let Ok((id, ok)) = read {
                    let again = reading.remove(&id) == Some(Asked::Again);
                    if again {
                        reading.insert(Arc::clone(&id), Asked::Once);
                        waiting.push_back(id);
                    } else if !ok {
                        let engine = Arc::clone(&engine);
                        tokio::spawn(async move {
                            tokio::time::sleep(AGAIN).await;
                            engine.probe(&id);
                        });
                    }
                }
            }
            next = asked.recv() => {
                let Some(id) = next else { return };
                if by_being(&engine, &id) {
                    continue;
                }
                match reading.entry(id) {
                    std::collections::hash_map::Entry::Occupied(mut entry) => {
                        entry.insert(Asked::Again);
                    }
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        waiting.push_back(Arc::clone(entry.key()));
                        entry.insert(Asked::Once);
                    }
                }
            }
        }
        while reads.len() < READS_MAX
            && let Some(id) = waiting.pop_front()
        {
            // What was asked for while it waited is answered by this very read.
            reading.insert(Arc::clone(&id), Asked::Once);
            let engine = Arc::clone(&engine);
            reads.spawn(async move {
                let ok = read(&engine, &id).await;
                (id, ok)
            });
        }
    }
}

/// Judges what needs no read; true when that was enough.
fn by_being(engine: &Engine, id: &Arc<ObjectId>) -> bool {
    let rules = engine.rules();
    if rules.needs_status(&id.group, &id.kind) {
        return false;
    }
    let mut world = engine.world();
    let Some(object) = world.get(id) else {
        return true;
    };
    let (health, revision) = match &object.held {
        Some(held) => (Health::because(Status::Healthy, ""), held.expected.revision),
        None => (Health::because(Status::Missing, "not written yet"), 0),
    };
    let changed = object.health != health;
    world.judged(id, health, revision.max(1));
    drop(world);
    if changed {
        engine.touch();
    }
    true
}

/// Reads and judges one object; false when it could not be read.
async fn read(engine: &Engine, id: &Arc<ObjectId>) -> bool {
    let kinds = engine.kinds();
    let (object, revision) = match request::get(&engine.api, &kinds, id, client::FULL).await {
        Ok(Some(bytes)) => {
            let Ok(object) = serde_json::from_slice::<Value>(&bytes) else {
                return false;
            };
            let revision = object
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            (object, revision)
        }
        Ok(None) => (Value::Null, 0),
        Err(_) => return false,
    };
    let rules = engine.rules();
    let mut health = countersign_health::judge(&object, &rules);
    if matches!(health.status, Status::Progressing | Status::Degraded)
        && let Some(pods) = pods(engine, id, &object).await
    {
        health = countersign_health::judge_with_pods(&object, &pods, &rules);
    }
    let health = Health::from(health);
    let changed = {
        let mut world = engine.world();
        let changed = world.get(id).is_some_and(|object| object.health != health);
        world.judged(id, health, revision);
        changed
    };
    if changed {
        engine.touch();
    }
    true
}

/// Pods that a workload's selector chooses.
async fn pods(engine: &Engine, id: &ObjectId, object: &Value) -> Option<Vec<Value>> {
    if !matches!(
        (id.group.as_str(), id.kind.as_str()),
        ("apps", _) | ("batch", "Job")
    ) {
        return None;
    }
    let labels = object.pointer("/spec/selector/matchLabels")?.as_object()?;
    let selector: Vec<String> = labels
        .iter()
        .filter_map(|(key, value)| value.as_str().map(|value| format!("{key}%3D{value}")))
        .collect();
    if selector.is_empty() || id.namespace.is_empty() {
        return None;
    }
    let path = format!(
        "/api/v1/namespaces/{}/pods?limit={PODS_MAX}&labelSelector={}",
        id.namespace,
        selector.join("%2C").replace('/', "%2F")
    );
    let answer = engine.api.get(&path, client::FULL).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    let list: Value = serde_json::from_slice(&answer.body).ok()?;
    match list {
        Value::Object(mut list) => match list.remove("items") {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        },
        _ => None,
    }
}
