//! Undoes what was changed behind Git's back, at once, and tells who did what.
//!
//! The first fifty drifts of a second are fetched before they are healed, so that the record can say what was found;
//! beyond that, healing goes first and records are short.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::identity::ObjectId;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::apply::outcome::Retry;
use crate::apply::{client, request};
use crate::clock::{self, PerSecond};
use crate::engine::{Engine, Job, Task};
use crate::news::DriftRecord;
use crate::watch::drift::What;
use crate::watch::{additions, difference, ownership};

mod record;

use record::{PATHS_MAX, record};

/// Heals in flight; they do not share the places of a sync, so a push never delays one.
const HEALS_MAX: usize = 24;
/// Full compares in flight: they are never urgent.
const COMPARES_MAX: usize = 4;
/// Drifts in a second that are fetched before they are healed.
const SAMPLES_PER_SECOND: u32 = 50;
/// How long a fetch for the record may hold up the healing.
const SAMPLE_MAX: Duration = Duration::from_millis(500);

/// Runs until `stop`.
pub async fn run(
    engine: Arc<Engine>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
) {
    let heals = Arc::new(Semaphore::new(HEALS_MAX));
    let samples = Arc::new(PerSecond::new(SAMPLES_PER_SECOND));
    let (slow, slow_in) = mpsc::unbounded_channel();
    tokio::spawn(look_closer(Arc::clone(&engine), slow_in, stop.clone()));
    loop {
        let job = tokio::select! {
            () = stop.cancelled() => return,
            job = jobs.recv() => match job {
                Some(job) => job,
                None => return,
            },
        };
        match job.task {
            Task::Heal(what, Some(at)) => {
                let (engine, stop) = (Arc::clone(&engine), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep_until(at.into()) => {
                            engine.queue(Job { task: Task::Heal(what, None), ..job });
                        }
                    }
                });
            }
            Task::Heal(what, None) => {
                // A place first, then a task: a storm waits in the queue, where an object is small.
                let Ok(place) = Arc::clone(&heals).acquire_owned().await else {
                    return;
                };
                let (engine, samples) = (Arc::clone(&engine), Arc::clone(&samples));
                tokio::spawn(async move {
                    heal(&engine, &samples, &job, what).await;
                    drop(place);
                });
            }
            Task::Compare(_) | Task::Others => {
                let _ = slow.send(job);
            }
        }
    }
}

/// Full compares and looks at additions, few at once, in the order asked for.
async fn look_closer(
    engine: Arc<Engine>,
    jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
) {
    let jobs = tokio_stream::wrappers::UnboundedReceiverStream::new(jobs);
    let all = jobs.for_each_concurrent(COMPARES_MAX, |job| {
        let engine = Arc::clone(&engine);
        async move {
            if let Task::Compare(Some(at)) = job.task {
                tokio::time::sleep_until(at.into()).await;
            }
            match job.task {
                Task::Compare(_) => compare(&engine, &job).await,
                Task::Others => others(&engine, &job, job.evidence.clone()).await,
                Task::Heal(..) => {}
            }
        }
    });
    tokio::select! {
        () = stop.cancelled() => {}
        () = all => {}
    }
}

async fn heal(engine: &Arc<Engine>, samples: &PerSecond, job: &Job, what: What) {
    const ATTEMPTS: u32 = 5;
    if !engine.world().waits_for_heal(&job.id) {
        return; // written since, by a newer state
    }
    // A deletion is fetched too: where only our label was taken off, the object still stands and says who did it.
    let found = if samples.take() {
        look(engine, &job.id).await
    } else {
        None
    };
    let evidence = match &found {
        Some((bytes, _)) if what == What::Deleted || job.evidence.is_empty() => bytes.clone(),
        None if what == What::Deleted => Bytes::new(),
        _ => job.evidence.clone(),
    };
    let found = found.and_then(|(_, found)| found);
    for attempt in 0..ATTEMPTS {
        match engine.write(&job.id).await {
            Ok(Some(done)) => {
                record(engine, job, &evidence, what, found.as_ref(), &done);
                return;
            }
            Ok(None) => return,
            Err(problem) => {
                match problem.retry {
                    Retry::Never => return, // these bytes help nobody: another state must come
                    Retry::AfterDiscovery => {
                        let _ = engine.discover().await;
                    }
                    Retry::Soon(_) | Retry::Later => {}
                }
                tokio::time::sleep(clock::jittered(Duration::from_millis(50 << (2 * attempt))))
                    .await;
            }
        }
    }
    // The sync's own retries go on from here: the object stands as failed.
    engine.plan_again();
}

/// What stands there: the object whole, of a Secret its metadata only.
async fn look(engine: &Engine, id: &ObjectId) -> Option<(Bytes, Option<Value>)> {
    let secret = request::is_secret(id);
    let accept = if secret {
        client::METADATA
    } else {
        client::FULL
    };
    let kinds = engine.kinds();
    let answer = request::get(&engine.api, &kinds, id, accept);
    let bytes = tokio::time::timeout(SAMPLE_MAX, answer)
        .await
        .ok()?
        .ok()??;
    let found = if secret {
        None
    } else {
        Some(serde_json::from_slice(&bytes).ok()?)
    };
    Some((bytes, found))
}

/// Compares in full: what was found against what is desired; a Secret by an equal re-apply, which never reads it.
async fn compare(engine: &Arc<Engine>, job: &Job) {
    let id = &job.id;
    let Some(want) = engine.world().desired().objects.get(id).cloned() else {
        return;
    };
    if engine
        .world()
        .get(id)
        .is_none_or(|object| object.held.is_none() || object.argo)
    {
        return;
    }
    let found = if want.commitment.is_some() || request::is_secret(id) {
        None
    } else {
        match request::get(&engine.api, &engine.kinds(), id, client::FULL).await {
            Ok(Some(bytes)) => {
                let (Ok(found), Ok(body)) =
                    (serde_json::from_slice::<Value>(&bytes), engine.body(&want))
                else {
                    return;
                };
                let Ok(desired) = serde_json::from_slice::<Value>(&body) else {
                    return;
                };
                if difference::patch(&desired, &found).is_none() {
                    // The second in which this was asked for may hide an addition too.
                    if engine.world().others_changed(id, &bytes) {
                        others(engine, job, bytes).await;
                    }
                    return;
                }
                Some((bytes, found))
            }
            Ok(None) => {
                let effect = engine.world().drifted(id, What::Deleted, Instant::now());
                engine.carry_out(id, effect, &[]);
                return;
            }
            Err(_) => return,
        }
    };
    // Equal in meaning though written differently ("1000m" and "1"): the re-apply changes nothing then.
    if let Ok(Some(done)) = engine.write(id).await
        && done.before.as_ref().is_some_and(|before| {
            Some(before.mark) != done.after.mark || before.uid != done.after.uid
        })
        && done
            .before
            .as_ref()
            .is_some_and(|before| before.revision != done.after.revision)
    {
        let (evidence, found): (Option<Bytes>, Option<Value>) = found.unzip();
        record(
            engine,
            job,
            &evidence.unwrap_or_default(),
            What::Changed,
            found.as_ref(),
            &done,
        );
    }
}

/// Tells what was added beside ours, and removes it where the app is exclusive.
async fn others(engine: &Arc<Engine>, job: &Job, evidence: Bytes) {
    let (want, exclusive) = {
        let world = engine.world();
        let Some(want) = world.desired().objects.get(&job.id).cloned() else {
            return;
        };
        let exclusive = world
            .desired()
            .apps
            .get(&want.app)
            .is_some_and(|app| app.exclusive);
        (want, exclusive)
    };
    let evidence = if evidence.is_empty() {
        match request::get(&engine.api, &engine.kinds(), &job.id, client::METADATA).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(_) => return,
        }
    } else {
        evidence
    };
    let added = additions::of(&evidence);
    if added.is_empty() {
        return;
    }
    let healed = exclusive && !request::is_secret(&job.id) && remove(engine, job, &added).await;
    let took = u32::try_from(job.since.elapsed().as_millis()).unwrap_or(u32::MAX);
    engine
        .metrics
        .healed(What::Added.word(), job.since.elapsed());
    let managers: BTreeSet<String> = added.iter().map(|added| added.manager.clone()).collect();
    let paths = added
        .iter()
        .flat_map(|added| added.paths.iter().cloned())
        .take(PATHS_MAX)
        .collect();
    tracing::info!(object = %job.id, ?managers, healed, "added beside ours");
    engine.drifted(DriftRecord {
        id: Arc::clone(&job.id),
        app: want.app,
        what: What::Added.word(),
        managers: managers.into_iter().collect(),
        paths,
        patch: String::new(),
        healed,
        healed_after: if healed { took } else { 0 },
        time: clock::unix_millis(),
    });
}

/// Removes additions by a JSON patch that holds only if nothing changed since it was made.
async fn remove(engine: &Engine, job: &Job, added: &[additions::Added]) -> bool {
    let Some((_, Some(found))) = look(engine, &job.id).await else {
        return false;
    };
    let Some(patch) = additions::removal(&found, added) else {
        return false;
    };
    if engine.settings.rails.check(&job.id).is_err() {
        return false;
    }
    let Ok(path) = engine.kinds().path(&job.id, None) else {
        return false;
    };
    engine.is_sure().await;
    let answer = engine
        .api
        .call(
            http::Method::PATCH,
            &format!("{path}?fieldManager={}", ownership::MANAGER),
            client::METADATA,
            Some(("application/json-patch+json", patch.into())),
            client::CALL_MAX,
        )
        .await;
    answer.is_ok_and(|answer| answer.status.is_success())
}
