//! Carries out plans: one at a time, always the newest; a newer state ends every wait.
//!
//! CRDs and namespaces first; then the apps beside each other, each wave by wave. What fails holds up its own app's
//! later waves and nothing else, and is tried again as the table of errors says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_ledger::identity::ObjectId;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::client;
use crate::apply::discovery::{GroupKind, Kinds};
use crate::apply::outcome::{Problem, Retry};
use crate::apply::{pace, request};
use crate::clock;
use crate::delete::{self, Fate};
use crate::engine::Engine;
use crate::health::lets_pass;
use crate::plan::{self, AppPlan, Desired, Plan, waves};
use crate::watch::{Watches, ownership, stream};
use crate::world::Sync;

/// How long CRDs and namespaces may take before the rest starts; what depends on a late one waits by itself.
const FIRST_MAX: Duration = Duration::from_secs(30);
/// How long the first lists of watches may hold up the first plan.
const LISTS_MAX: Duration = Duration::from_secs(10);
/// Pauses between tries of what failed.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Least pause where a person or another object is needed.
const PAUSE_LATER: Duration = Duration::from_secs(10);
/// A plan is made anew so often even if nothing came: retries what a healer gave up.
const AGAIN: Duration = Duration::from_secs(30);

/// Runs until `stop`: each state of `newest` is planned and carried out.
pub async fn run(
    engine: Arc<Engine>,
    mut newest: watch::Receiver<Option<Arc<Desired>>>,
    applied: watch::Sender<u64>,
    stop: CancellationToken,
) {
    let mut watches = Watches::new(Arc::clone(&engine), stop.clone());
    let mut first = true;
    loop {
        let desired = newest.borrow_and_update().clone();
        if engine.world().settle(Instant::now()) {
            engine.touch();
        }
        if let Some(desired) = desired {
            let preempted = stop.child_token();
            let carried = carry_out(&engine, &mut watches, &desired, &preempted, first);
            let done = {
                tokio::pin!(carried);
                tokio::select! {
                    done = &mut carried => Some(done),
                    () = stop.cancelled() => return,
                    _ = newest.changed() => None,
                }
            };
            let Some(done) = done else {
                // A newer state: what is under way is heard, nothing more is begun. An agent whose first plan was cut
                // short still has not seen everything.
                preempted.cancel();
                continue;
            };
            first = false;
            if done {
                applied.send_replace(desired.generation);
                engine
                    .metrics
                    .generation_applied
                    .set(i64::try_from(desired.generation).unwrap_or(0));
                engine.touch();
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = newest.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(clock::jittered(AGAIN)) => {}
        }
    }
}

/// Plans and does; true when all that is desired is applied.
async fn carry_out(
    engine: &Arc<Engine>,
    watches: &mut Watches,
    desired: &Arc<Desired>,
    stop: &CancellationToken,
    first: bool,
) -> bool {
    let kinds: BTreeSet<GroupKind> = desired.objects.keys().map(|id| GroupKind::of(id)).collect();
    while let Err(problem) = engine.discover().await {
        tracing::warn!(%problem, "discovery failed");
        tokio::time::sleep(clock::jittered(Duration::from_secs(1))).await;
    }
    let forgotten = engine.world().adopt(Arc::clone(desired));
    engine.news().forgot(forgotten);
    watches.use_kinds(&kinds);
    if first {
        // What was changed or deleted while we were away must be known before it is planned.
        watches.listed(LISTS_MAX).await;
    }
    survey(engine, desired).await;
    let plan = {
        let world = engine.world();
        plan::plan(desired, &|id| world.live(id))
    };
    for (id, refused) in &plan.refused {
        engine.world().argo_tracked(id);
        tracing::debug!(object = %id, code = refused.code(), "left alone");
    }
    if let Some((id, refused)) = plan.refused.first() {
        let count = plan.refused.len();
        let text =
            format!("{count} objects are tracked by Argo CD and left alone, the first is {id}");
        engine.refused_once(refused.code(), &count.to_string(), &text);
    }
    if !plan.is_empty() {
        tracing::info!(generation = plan.generation, writes = plan.writes(), "plan");
    }
    let done = execute(engine, &plan, stop).await;
    if let Err(error) = sync_inventory(engine).await {
        tracing::error!(%error, "inventory could not be made durable");
    }
    done
}

/// Makes the inventory durable, and short where it has grown.
async fn sync_inventory(engine: &Arc<Engine>) -> std::io::Result<()> {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || {
        let world = engine.world();
        if engine.saved.wants_compaction(world.iter().count()) {
            let held = world
                .iter()
                .filter_map(|(id, object)| object.held.as_ref().map(|held| (&**id, held)));
            return engine.saved.compact(held);
        }
        drop(world);
        engine.saved.sync()
    })
    .await
    .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// Objects of a kind from which one list is cheaper than a look at each.
const LIST_FROM: usize = 16;

/// Looks at what is to be written for the first time: Argo CD may track it, and then it is not touched at all.
async fn survey(engine: &Arc<Engine>, desired: &Desired) {
    let mut new: BTreeMap<GroupKind, Vec<Arc<ObjectId>>> = BTreeMap::new();
    {
        let world = engine.world();
        for id in desired.objects.keys() {
            if world
                .get(id)
                .is_none_or(|object| object.held.is_none() && !object.argo)
            {
                new.entry(GroupKind::of(id))
                    .or_default()
                    .push(Arc::clone(id));
            }
        }
    }
    let kinds = engine.kinds();
    for (kind, ids) in new {
        let Some(collection) = kinds.collection(&kind) else {
            continue;
        };
        if ids.len() >= LIST_FROM {
            let wanted: HashMap<(&str, &str), &Arc<ObjectId>> = ids
                .iter()
                .map(|id| ((id.namespace.as_str(), id.name.as_str()), id))
                .collect();
            let mut tracked: Vec<Arc<ObjectId>> = Vec::new();
            let mut each = |object: &[u8]| {
                if let Some(meta) = ownership::meta(object)
                    && let Some(id) =
                        wanted.get(&(meta.namespace.as_deref().unwrap_or(""), &*meta.name))
                    && meta.seen().argo
                {
                    tracked.push(Arc::clone(id));
                }
            };
            let listed = stream::list(&engine.api, &collection, None, &mut each).await;
            if listed.is_ok() {
                let mut world = engine.world();
                for id in tracked {
                    world.argo_tracked(&id);
                }
                continue;
            }
        }
        let looks: Vec<_> = ids
            .into_iter()
            .map(|id| look(Arc::clone(engine), Arc::clone(&kinds), id))
            .collect();
        futures::stream::iter(looks)
            .for_each_concurrent(pace::IN_FLIGHT_MIN as usize, |look| look)
            .await;
    }
}

async fn look(engine: Arc<Engine>, kinds: Arc<Kinds>, id: Arc<ObjectId>) {
    if let Ok(Some(bytes)) = request::get(&engine.api, &kinds, &id, client::METADATA).await
        && ownership::meta(&bytes).is_some_and(|meta| meta.seen().argo)
    {
        engine.world().argo_tracked(&id);
    }
}

async fn execute(engine: &Arc<Engine>, plan: &Plan, stop: &CancellationToken) -> bool {
    let mut done = true;
    if !plan.first.is_empty() {
        let failed = write_all(engine, &plan.first, stop).await;
        done &= failed.is_empty();
        let written: Vec<Arc<ObjectId>> = plan
            .first
            .iter()
            .filter(|id| !failed.iter().any(|(other, _)| other == *id))
            .cloned()
            .collect();
        let _ = tokio::time::timeout(FIRST_MAX, healthy(engine, &written)).await;
        if written.iter().any(|id| waves::is_crd(id)) {
            let _ = engine.discover_now().await;
        }
    }
    let (finished, _) = watch::channel(BTreeMap::<Arc<str>, ()>::new());
    let mut apps = Vec::with_capacity(plan.apps.len());
    for app in &plan.apps {
        let finished = &finished;
        apps.push(async move {
            let ok = run_app(engine, plan, app, finished, stop).await;
            if ok {
                finished.send_modify(|done| {
                    done.insert(Arc::clone(&app.name), ());
                });
            }
            ok
        });
    }
    let results = futures::future::join_all(apps).await;
    done &= results.into_iter().all(|ok| ok);
    for id in &plan.unknown {
        if stop.is_cancelled() {
            return false;
        }
        prune_one(engine, id).await;
    }
    done && !stop.is_cancelled()
}

/// One app, wave by wave; true when it is written whole.
async fn run_app(
    engine: &Arc<Engine>,
    plan: &Plan,
    app: &AppPlan,
    finished: &watch::Sender<BTreeMap<Arc<str>, ()>>,
    stop: &CancellationToken,
) -> bool {
    let writes = app.waves.iter().any(|wave| !wave.apply.is_empty());
    if writes {
        for other in app
            .after
            .iter()
            .filter(|other| plan.apps.iter().any(|app| app.name == **other))
        {
            engine.wait_for(&app.name, Some(format!("waits for app {other}")));
            let mut others = finished.subscribe();
            tokio::select! {
                () = stop.cancelled() => return false,
                _ = others.wait_for(|done| done.contains_key(other)) => {}
            }
        }
        engine.wait_for(&app.name, None);
    }
    let mut ok = true;
    let last = app.waves.iter().rposition(|wave| !wave.apply.is_empty());
    for (at, wave) in app.waves.iter().enumerate() {
        let failed = write_with_retries(engine, &wave.apply, stop).await;
        if stop.is_cancelled() {
            return false;
        }
        if failed > 0 {
            ok = false;
            break; // the next wave builds on this one; another state, or a person, must help
        }
        // The last wave that is written has none after it to hold back; others wait for it as an app.
        if last.is_some_and(|last| at < last) {
            engine.wait_for(
                &app.name,
                Some(format!("waits for wave {} to be healthy", wave.number)),
            );
            tokio::select! {
                () = stop.cancelled() => return false,
                () = healthy(engine, &wave.all) => {}
            }
            engine.wait_for(&app.name, None);
        }
    }
    if ok {
        for id in &app.prune {
            if stop.is_cancelled() {
                return false;
            }
            ok &= prune_one(engine, id).await;
        }
        if plan
            .apps
            .iter()
            .any(|other| other.after.contains(&app.name))
        {
            let all: Vec<Arc<ObjectId>> = app
                .waves
                .iter()
                .flat_map(|wave| wave.all.iter().cloned())
                .collect();
            tokio::select! {
                () = stop.cancelled() => return false,
                () = healthy(engine, &all) => {}
            }
        }
    }
    ok
}

async fn prune_one(engine: &Arc<Engine>, id: &Arc<ObjectId>) -> bool {
    match delete::delete(engine, id).await {
        Ok(Fate::Gone) => true,
        Ok(Fate::Kept(code, why)) => {
            engine.refused_once(
                code,
                &id.to_string(),
                &format!("{id} is not deleted: {why}"),
            );
            false
        }
        Ok(Fate::Leaving(finalizers)) => {
            engine.refused_once(
                "BLOCKED_BY_FINALIZER",
                &id.to_string(),
                &format!("{id} is being deleted, held by {}", finalizers.join(", ")),
            );
            false
        }
        Err(problem) => {
            engine.refused_once(
                "DELETE_FAILED",
                &id.to_string(),
                &format!("{id}: {problem}"),
            );
            false
        }
    }
}

/// Writes, and writes again what failed for a passing reason, until all stand or what is left can't be helped; how
/// many are left.
async fn write_with_retries(
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
async fn write_all(
    engine: &Arc<Engine>,
    ids: &[Arc<ObjectId>],
    stop: &CancellationToken,
) -> Vec<(Arc<ObjectId>, Problem)> {
    let writes: Vec<_> = ids
        .iter()
        .map(|id| write_one(Arc::clone(engine), Arc::clone(id), stop.clone()))
        .collect();
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
async fn healthy(engine: &Arc<Engine>, ids: &[Arc<ObjectId>]) {
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
