//! Many writes at the pace that the API server allows, again where that helps; and the wait until they are healthy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_ledger::identity::ObjectId;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::apply::outcome::{Problem, Retry};
use crate::apply::pace;
use crate::clock;
use crate::engine::Engine;
use crate::health::lets_pass;
use crate::world::Sync;

/// Pauses between tries of what failed.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Least pause where a person or another object is needed.
const PAUSE_LATER: Duration = Duration::from_secs(10);

/// Writes, and writes again what failed for a passing reason, until all stand or what is left can't be helped; how
/// many are left.
pub(super) async fn write_with_retries(
    engine: &Arc<Engine>,
    ids: &[Arc<ObjectId>],
    stop: &CancellationToken,
) -> usize {
    let mut todo: Vec<Arc<ObjectId>> = ids.to_vec();
    let (mut pause, mut hopeless) = (PAUSE_MIN, 0);
    while !todo.is_empty() {
        let failed = write_all(engine, &todo, stop).await;
        if stop.is_cancelled() {
            return failed.len() + hopeless;
        }
        todo = Vec::new();
        let (mut wait, mut discover) = (pause, false);
        let mut soon = false;
        for (id, problem) in failed {
            match problem.retry {
                Retry::Never => {
                    hopeless += 1;
                    continue;
                }
                Retry::Soon(least) => {
                    soon = true;
                    wait = wait.max(least.unwrap_or_default().min(PAUSE_MAX));
                }
                Retry::AfterDiscovery => {
                    soon = true;
                    discover = true;
                }
                Retry::Later => {}
            }
            todo.push(id);
        }
        if todo.is_empty() {
            break;
        }
        if discover {
            let _ = engine.discover().await;
        }
        if !soon {
            wait = wait.max(PAUSE_LATER);
        }
        tokio::select! {
            () = stop.cancelled() => return todo.len() + hopeless,
            () = tokio::time::sleep(clock::jittered(wait)) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    hopeless
}

/// Writes all at the pace that the API server allows; what failed, with its problem.
pub(super) async fn write_all(
    engine: &Arc<Engine>,
    ids: &[Arc<ObjectId>],
    stop: &CancellationToken,
) -> Vec<(Arc<ObjectId>, Problem)> {
    let (engine, stop) = (Arc::clone(engine), stop.clone());
    let writes = ids
        .iter()
        .cloned()
        .map(move |id| write_one(Arc::clone(&engine), id, stop.clone()));
    futures::stream::iter(writes)
        .buffer_unordered(pace::IN_FLIGHT_MAX as usize)
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn write_one(
    engine: Arc<Engine>,
    id: Arc<ObjectId>,
    stop: CancellationToken,
) -> Option<(Arc<ObjectId>, Problem)> {
    if stop.is_cancelled() {
        return None;
    }
    let place = tokio::select! {
        () = stop.cancelled() => return None,
        place = engine.pace.enter() => place,
    };
    // On a task of its own, so that its answer is heard even if this plan is given up meanwhile.
    let task = tokio::spawn({
        let id = Arc::clone(&id);
        async move {
            let started = Instant::now();
            let result = engine.write(&id).await;
            let pushback = matches!(&result, Err(problem) if problem.code == "TOO_MANY_REQUESTS");
            engine.pace.leave(place, started.elapsed(), pushback);
            result
        }
    });
    tokio::select! {
        () = stop.cancelled() => None,
        result = task => match result {
            Ok(Err(problem)) => Some((id, problem)),
            Ok(Ok(_)) | Err(_) => None,
        },
    }
}

/// Waits until all are written and healthy.
pub(super) async fn healthy(engine: &Arc<Engine>, ids: &[Arc<ObjectId>]) {
    /// The world changes often during a sync; looking at it more often than this tells nobody anything.
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let mut changes = engine.changes();
    let mut left: Vec<&Arc<ObjectId>> = ids.iter().collect();
    loop {
        changes.borrow_and_update();
        {
            let world = engine.world();
            left.retain(|id| {
                world.get(id).is_some_and(|object| {
                    let stands = matches!(
                        object.sync,
                        Sync::Synced | Sync::Contested | Sync::ArgoTracked
                    );
                    !(stands
                        && (lets_pass(object.health.status) || object.sync == Sync::ArgoTracked))
                })
            });
        }
        if left.is_empty() {
            return;
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
