//! Live status to the hub: what changed, within a fraction of a second; everything, when the hub asks.
//!
//! Unsigned, for people to look at, never evidence. [`Reporter::build`] puts a message together; [`run`] sends it, and puts
//! back what did not arrive.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use countersign_ledger::identity::ObjectId;
use countersign_proto::agent::v1 as proto;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::clock;
use crate::engine::Engine;
use crate::health::rollup::{self, AppState};
use crate::health::{Health, Status};
use crate::news::News;
use crate::pull::hub;
use crate::world::{Object, Sync};

/// Changes gather for so long before they are told.
const GATHER: Duration = Duration::from_millis(100);
/// Even if nothing changes.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
/// Objects in one message; a larger report goes in several, the first of them full.
const OBJECTS_PER_REPORT: usize = 5_000;
/// A report that is not answered for so long did not arrive.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Warnings of one answer that are looked at.
const WARNINGS_MAX: usize = 32;
/// What the hub warns of: another agent asked to be this cluster, this Kubernetes cluster to be another one of the fleet, or
/// another cluster to speak with this agent's key.
const IMPOSTORS: [&str; 3] = ["SECOND_KEY", "SECOND_NAME", "SHARED_KEY"];

/// Runs until `stop`.
pub async fn run(
    engine: Arc<Engine>,
    mut channel: watch::Receiver<Option<Channel>>,
    applied: watch::Receiver<u64>,
    identity: proto::ClusterIdentity,
    stop: CancellationToken,
) {
    let mut reporter = Reporter {
        engine,
        applied,
        identity,
        sequence: 0,
        warned: BTreeMap::new(),
        told: BTreeMap::new(),
    };
    let mut changes = reporter.engine.changes();
    loop {
        let open = channel.borrow_and_update().clone();
        let Some(open) = open else {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = channel.changed() => if changed.is_err() { return },
            }
            continue;
        };
        // A new connection may be another hub, or one that restarted: everything is told first.
        let mut full = true;
        let mut client = hub::client(open);
        loop {
            changes.borrow_and_update();
            match reporter.send(&mut client, full).await {
                Ok(again) => full = again,
                Err(status) => {
                    tracing::info!(%status, "report did not arrive");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = channel.changed() => {}
                        () = tokio::time::sleep(clock::jittered(Duration::from_secs(1))) => {}
                    }
                }
            }
            if full && channel.has_changed().is_ok_and(|changed| !changed) {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = channel.changed() => {
                    if changed.is_err() { return }
                    break;
                }
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(ALIVE_EVERY) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Apps with their state and commit.
type Apps = Vec<(Arc<str>, (AppState, String))>;

struct Reporter {
    engine: Arc<Engine>,
    applied: watch::Receiver<u64>,
    identity: proto::ClusterIdentity,
    sequence: u64,
    /// When the hub last saw what it warned of, by its code.
    warned: BTreeMap<String, i64>,
    /// Apps as told last, so that only what changed is told again.
    told: BTreeMap<Arc<str>, (AppState, String)>,
}

impl Reporter {
    /// Sends one report, in parts where it is large; whether a full one is asked for.
    async fn send(&mut self, client: &mut hub::Client, full: bool) -> Result<bool, tonic::Status> {
        let news = self.engine.news().take();
        let ids: HashSet<Arc<ObjectId>> = {
            let mut world = self.engine.world();
            let dirty = world.take_dirty();
            if full {
                world.desired().objects.keys().cloned().collect()
            } else {
                dirty
            }
        };
        let result = self.send_parts(client, full, &ids, &news).await;
        if result.is_err() {
            self.engine.news().put_back(news);
            self.engine.world().dirty_again(ids);
        }
        result
    }

    async fn send_parts(
        &mut self,
        client: &mut hub::Client,
        full: bool,
        ids: &HashSet<Arc<ObjectId>>,
        news: &News,
    ) -> Result<bool, tonic::Status> {
        let ids: Vec<&Arc<ObjectId>> = ids.iter().collect();
        let mut asked = false;
        let mut parts = ids.chunks(OBJECTS_PER_REPORT).peekable();
        let mut first = true;
        loop {
            let part = parts.next().unwrap_or_default();
            let (report, apps) = self.build(full && first, part, first.then_some(news));
            let answer = tokio::time::timeout(CALL_MAX, client.report(report))
                .await
                .map_err(|_| {
                    tonic::Status::deadline_exceeded("the hub did not answer a report in time")
                })??;
            self.told.extend(apps);
            let answer = answer.into_inner();
            asked |= answer.send_full;
            self.warned_by(&answer.warnings);
            first = false;
            if parts.peek().is_none() {
                return Ok(asked && !full);
            }
        }
    }

    /// What the hub saw and this agent can't: somebody else asked to be this cluster. Each time is told once, here and, by the
    /// refusals that reach them, in the cluster's receipts.
    fn warned_by(&mut self, warnings: &[proto::Warning]) {
        for warning in warnings.iter().take(WARNINGS_MAX) {
            let told = self.warned.entry(warning.code.clone()).or_default();
            if *told < warning.time && IMPOSTORS.contains(&warning.code.as_str()) {
                *told = warning.time;
                let text: String = warning.message.chars().take(512).collect();
                let text = format!("{text} ({} times)", warning.count);
                self.engine.refused("CLONE_REFUSED", &text);
            }
        }
        self.warned
            .retain(|code, _| IMPOSTORS.contains(&code.as_str()));
    }

    fn build(
        &mut self,
        full: bool,
        ids: &[&Arc<ObjectId>],
        news: Option<&News>,
    ) -> (proto::ReportRequest, Apps) {
        self.sequence += 1;
        if full {
            self.told.clear();
        }
        let waits = self
            .engine
            .waits
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let world = self.engine.world();
        let desired = Arc::clone(world.desired());
        let apps: Apps = rollup::apps(&world, &waits)
            .into_iter()
            .map(|(name, state)| {
                let commit = desired
                    .apps
                    .get(&name)
                    .map(|app| app.commit.clone())
                    .unwrap_or_default();
                (name, (state, commit))
            })
            .filter(|(name, app)| self.told.get(name) != Some(app))
            .collect();
        let objects = ids
            .iter()
            .filter_map(|id| {
                desired
                    .objects
                    .get(id)
                    .map(|want| object_status(id, &want.app, world.get(id)))
            })
            .collect();
        drop(world);
        let report = proto::ReportRequest {
            sequence: self.sequence,
            full,
            generation_verified: desired.generation,
            generation_applied: *self.applied.borrow(),
            time: clock::unix_millis(),
            apps: apps
                .iter()
                .map(|(name, (state, commit))| app_status(name, state, commit))
                .collect(),
            objects,
            drifts: news.into_iter().flat_map(News::drifts).map(drift).collect(),
            refusals: news
                .into_iter()
                .flat_map(News::refusals)
                .map(|(code, record)| refusal(code, record))
                .collect(),
            gone: news
                .into_iter()
                .flat_map(News::all_gone)
                .map(identity)
                .collect(),
            identity: Some(self.identity.clone()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            forgotten: news
                .into_iter()
                .flat_map(News::all_forgotten)
                .filter(|id| !desired.objects.contains_key(id))
                .map(|id| identity(id))
                .collect(),
        };
        (report, apps)
    }
}

fn identity(id: &ObjectId) -> proto::Identity {
    proto::Identity {
        group: id.group.clone(),
        kind: id.kind.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}

fn app_status(name: &str, state: &AppState, commit: &str) -> proto::AppStatus {
    proto::AppStatus {
        name: name.to_owned(),
        commit: commit.to_owned(),
        sync: state.sync.to_owned(),
        health: state.health.word().to_owned(),
        message: state.message.clone(),
        objects: state.objects,
        failed: state.failed,
    }
}

fn object_status(id: &ObjectId, app: &str, object: Option<&Object>) -> proto::ObjectStatus {
    let missing = Health::because(Status::Missing, "not written yet");
    let (sync, health) = object.map_or((&Sync::Pending, &missing), |object| {
        (&object.sync, &object.health)
    });
    let message = match sync {
        Sync::Failed(problem) => problem.to_string(),
        Sync::ArgoTracked => "ARGO_TRACKED: Argo CD tracks it".to_owned(),
        Sync::Contested => {
            let rival = object
                .and_then(|object| object.rival.as_deref())
                .unwrap_or("somebody");
            format!("CONTESTED: {rival} keeps changing it")
        }
        Sync::Pending | Sync::Synced | Sync::Drifted => {
            health.message.as_deref().unwrap_or("").to_owned()
        }
    };
    proto::ObjectStatus {
        id: Some(identity(id)),
        app: app.to_owned(),
        sync: sync.word().to_owned(),
        health: health.status.word().to_owned(),
        message,
    }
}

fn drift(record: &crate::news::DriftRecord) -> proto::Drift {
    proto::Drift {
        id: Some(identity(&record.id)),
        app: record.app.to_string(),
        what: record.what.to_owned(),
        managers: record.managers.clone(),
        paths: record.paths.clone(),
        patch: record.patch.clone(),
        healed: record.healed,
        healed_after: record.healed_after,
        time: record.time,
    }
}

fn refusal(code: &str, record: &crate::news::RefusalRecord) -> proto::Refusal {
    proto::Refusal {
        code: code.to_owned(),
        message: record.message.clone(),
        generation: record.generation,
        count: record.count,
        time: record.time,
    }
}
