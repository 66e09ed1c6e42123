//! Carries out plans: one at a time, always the newest; a newer state ends every wait.
//!
//! CRDs and namespaces first; then the apps beside each other, each wave by wave. What fails holds up its own app's
//! later waves and nothing else, and is tried again as the table of errors says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_ledger::identity::ObjectId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::discovery::GroupKind;
use crate::clock;
use crate::delete::{self, Fate};
use crate::engine::{Engine, guard_rail};
use crate::plan::consent::Refused;
use crate::plan::{self, AppPlan, Desired, Plan, waves};
use crate::receipt::inbox::SyncSeen;
use crate::watch::Watches;

mod kinds;
mod outcome;
mod survey;
mod writes;

use kinds::KindsInUse;
use survey::survey;
use writes::{healthy, write_all, write_with_retries};

/// How long CRDs and namespaces may take before the rest starts; what depends on a late one waits by itself.
const FIRST_MAX: Duration = Duration::from_secs(30);
/// How long the first lists of watches may hold up the first plan.
const LISTS_MAX: Duration = Duration::from_secs(10);
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
    let mut kinds = KindsInUse::default();
    let mut first = true;
    loop {
        let desired = newest.borrow_and_update().clone();
        if engine.world().settle(Instant::now()) {
            engine.touch();
        }
        if let Some(desired) = desired {
            let preempted = stop.child_token();
            let used = kinds.of(&desired, &engine.settings.rails);
            let carried = carry_out(&engine, &mut watches, (&desired, &used), &preempted, first);
            let done = {
                tokio::pin!(carried);
                tokio::select! {
                    done = &mut carried => Some(done),
                    () = stop.cancelled() => return,
                    _ = newest.changed() => None,
                    () = engine.plan_is_due() => None,
                }
            };
            let Some(done) = done else {
                // A newer state: what is under way is heard, nothing more is begun. An agent whose first plan was cut
                // short still has not seen everything.
                preempted.cancel();
                continue;
            };
            first = false;
            let (done, seen) = done;
            engine.receipts.synced(seen);
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
            () = engine.plan_is_due() => {}
            () = tokio::time::sleep(clock::jittered(AGAIN)) => {}
        }
    }
}

/// Plans and does; true when all that is desired is applied, and what became of it.
async fn carry_out(
    engine: &Arc<Engine>,
    watches: &mut Watches,
    (desired, kinds): (&Arc<Desired>, &BTreeSet<GroupKind>),
    stop: &CancellationToken,
    first: bool,
) -> (bool, SyncSeen) {
    let started = clock::unix_millis();
    let rails = &engine.settings.rails;
    // What is known is not asked for again with each state: a write or a watch that fails asks.
    while !engine.kinds().know(kinds) {
        match engine.discover().await {
            Ok(()) => break,
            Err(problem) => tracing::warn!(%problem, "discovery failed"),
        }
        tokio::time::sleep(clock::jittered(Duration::from_secs(1))).await;
    }
    let forgotten = engine.world().adopt(Arc::clone(desired));
    engine.news().forgot(forgotten);
    watches.use_kinds(kinds);
    if first {
        // What was changed or deleted while we were away must be known before it is planned.
        watches.listed(LISTS_MAX).await;
    }
    let open = engine.world().open(rails);
    survey(engine, &open).await;
    let plan = {
        let mut world = engine.world();
        let open = world.open(rails);
        plan::replan(desired, &open, &|id| world.live(id), rails)
    };
    let within = tell_refused(engine, &plan);
    if !plan.is_empty() {
        tracing::info!(generation = plan.generation, writes = plan.writes(), "plan");
    }
    let done = execute(engine, desired, &plan, stop).await && within;
    if let Err(error) = sync_inventory(engine).await {
        tracing::error!(%error, "inventory could not be made durable");
    }
    (done, outcome::of(engine, desired, &plan, started))
}

/// Marks and tells what is left alone; whether all of it is within the guard rails.
fn tell_refused(engine: &Engine, plan: &Plan) -> bool {
    let (mut argo, mut rails) = (Vec::new(), Vec::new());
    for (id, refused) in &plan.refused {
        match refused {
            Refused::ArgoTracked => {
                engine.world().argo_tracked(id);
                argo.push(id);
            }
            Refused::GuardRail(breach) => {
                engine.world().kept_out(id, guard_rail(breach));
                rails.push((id, "written", breach));
            }
        }
    }
    rails.extend(plan.kept.iter().map(|(id, breach)| (id, "deleted", breach)));
    if let Some(first) = argo.first() {
        let count = argo.len();
        let text =
            format!("{count} objects are tracked by Argo CD and left alone, the first is {first}");
        engine.refused_once("ARGO_TRACKED", &count.to_string(), &text);
    }
    if let Some((first, verb, breach)) = rails.first() {
        let text = match rails.len() {
            1 => format!("{first} is not {verb}: {breach}"),
            count => format!("{first} and {} more are not {verb}: {breach}", count - 1),
        };
        engine.refused_once("GUARD_RAIL", &text, &text);
    }
    rails.is_empty()
}

/// Makes the inventory durable, and short where it has grown.
async fn sync_inventory(engine: &Arc<Engine>) -> std::io::Result<()> {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || {
        let world = engine.world();
        if engine.saved.wants_compaction(world.len()) {
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

async fn execute(
    engine: &Arc<Engine>,
    desired: &Desired,
    plan: &Plan,
    stop: &CancellationToken,
) -> bool {
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
    let (finished, _) = watch::channel(Finished::new());
    let mut apps = Vec::with_capacity(plan.apps.len());
    for app in &plan.apps {
        let finished = &finished;
        apps.push(async move {
            let ok = run_app(engine, desired, plan, app, finished, stop).await;
            finished.send_modify(|done| {
                done.insert(Arc::clone(&app.name), ok);
            });
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

/// Apps that were carried out, and whether they are written whole and healthy.
type Finished = BTreeMap<Arc<str>, bool>;

/// One app, wave by wave; true when it is written whole.
async fn run_app(
    engine: &Arc<Engine>,
    desired: &Desired,
    plan: &Plan,
    app: &AppPlan,
    finished: &watch::Sender<Finished>,
    stop: &CancellationToken,
) -> bool {
    let needed = plan
        .apps
        .iter()
        .any(|other| other.after.contains(&app.name));
    if app.waves.is_empty() && app.prune.is_empty() && !needed {
        return true;
    }
    if !app.waves.is_empty() {
        for other in app
            .after
            .iter()
            .filter(|other| plan.apps.iter().any(|app| app.name == **other))
        {
            engine.wait_for(&app.name, Some(format!("waits for app {other}")));
            let mut others = finished.subscribe();
            let ok = tokio::select! {
                () = stop.cancelled() => return false,
                done = others.wait_for(|done| done.contains_key(other)) => {
                    done.is_ok_and(|done| done.get(other) == Some(&true))
                }
            };
            if !ok {
                return false; // it waits on; the next plan tries the other again
            }
        }
        engine.wait_for(&app.name, None);
    }
    let all = waves::all(desired, &app.name, &engine.settings.rails);
    let mut ok = true;
    let mut stood = i32::MIN;
    for wave in &app.waves {
        // Waves below that need no write must be healthy all the same.
        for (number, ids) in all.range(stood..wave.number) {
            let why = format!("waits for wave {number} to be healthy");
            engine.wait_for(&app.name, Some(why));
            tokio::select! {
                () = stop.cancelled() => return false,
                () = healthy(engine, ids) => {}
            }
            engine.wait_for(&app.name, None);
        }
        stood = wave.number;
        let failed = write_with_retries(engine, &wave.apply, stop).await;
        if stop.is_cancelled() {
            return false;
        }
        if failed > 0 {
            ok = false;
            break; // the next wave builds on this one; another state, or a person, must help
        }
    }
    if ok {
        for id in &app.prune {
            if stop.is_cancelled() {
                return false;
            }
            ok &= prune_one(engine, id).await;
        }
        if needed {
            let all: Vec<Arc<ObjectId>> = all.into_values().flatten().collect();
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
