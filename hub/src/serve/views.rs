//! What operators are shown: what was sealed beside what agents report. Pure over snapshots of the state.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use countersign_fleet::api::{
    App, AppOnCluster, AppSummary, AppWants, Cluster, ClusterSummary, Connection, Drift, Drifts,
    Fleet, HealthState, Object, ObjectName, Objects, Registered, SyncState,
};

use crate::log::Log;

use super::heads::Taken;
use super::limits::{DRIFTS_PER_ANSWER_MAX, OBJECTS_PER_PAGE_MAX};
use super::reports::{AppReport, Live};
use super::state::State;

/// One app on one cluster: the hub's half and the agent's half joined.
pub fn joined(
    app: &str,
    cluster: &str,
    wants: Option<&AppWants>,
    reported: Option<&AppReport>,
) -> AppOnCluster {
    let commit_sealed = wants.map(|wants| wants.commit.clone()).unwrap_or_default();
    let commit_applied = reported
        .map(|reported| reported.commit.clone())
        .unwrap_or_default();
    let behind = !commit_sealed.is_empty() && commit_sealed != commit_applied;
    let (sync, health, message, objects, failed) = match reported {
        Some(reported) => {
            // As signed for an older commit is not as signed.
            let sync = if behind && reported.sync == SyncState::Synced {
                SyncState::Syncing
            } else {
                reported.sync
            };
            (
                sync,
                reported.health,
                reported.message.clone(),
                reported.objects,
                reported.failed,
            )
        }
        // A cluster's folder without an object: there is nothing to apply, and no agent will ever speak of it.
        None if wants.is_some_and(|wants| wants.objects == 0 && wants.kept.is_none()) => {
            (SyncState::Synced, HealthState::Healthy, String::new(), 0, 0)
        }
        None => {
            let objects = wants.map_or(0, |wants| wants.objects);
            (
                SyncState::Unknown,
                HealthState::Unknown,
                String::new(),
                objects,
                0,
            )
        }
    };
    let kept = wants.and_then(|wants| wants.kept.clone());
    AppOnCluster {
        app: app.to_owned(),
        cluster: cluster.to_owned(),
        commit_sealed,
        commit_applied,
        sync,
        health,
        message,
        objects,
        failed,
        kept,
    }
}

/// The worst of a group, with the deepest cause of it: what is kept counts as a cause where nothing else is wrong.
fn worst<'a>(
    apps: impl Iterator<Item = &'a AppOnCluster> + Clone,
    name: impl Fn(&AppOnCluster) -> &str,
) -> Worst {
    let sync = apps
        .clone()
        .map(|app| app.sync)
        .max()
        .unwrap_or(SyncState::Unknown);
    let health = apps
        .clone()
        .map(|app| app.health)
        .max()
        .unwrap_or(HealthState::Unknown);
    let reported = apps
        .clone()
        .filter(|app| !app.message.is_empty())
        .max_by_key(|app| (app.health, app.sync))
        .map(|app| format!("{}: {}", name(app), app.message));
    let kept = apps
        .filter_map(|app| {
            app.kept
                .as_ref()
                .map(|kept| format!("{}: {}", name(app), kept.message))
        })
        .next();
    Worst {
        sync,
        health,
        message: reported.or(kept).unwrap_or_default(),
    }
}

struct Worst {
    sync: SyncState,
    health: HealthState,
    message: String,
}

type AllApps = BTreeMap<(String, String), AppOnCluster>;

/// Every app on every cluster, by (app, cluster).
fn all_apps(state: &State) -> AllApps {
    let status = state.fleet_status();
    let wants: BTreeMap<(&str, &str), &AppWants> = status
        .apps
        .iter()
        .map(|wants| ((wants.app.as_str(), wants.cluster.as_str()), wants))
        .collect();
    let mut all = AllApps::new();
    for ((app, cluster), wants) in &wants {
        let key = ((*app).to_owned(), (*cluster).to_owned());
        all.insert(key, joined(app, cluster, Some(wants), None));
    }
    for name in state.trust().clusters.keys() {
        let Some(cluster) = state.cluster(name) else {
            continue;
        };
        let live = cluster.live.lock().unwrap_or_else(PoisonError::into_inner);
        for (app, reported) in &live.apps {
            let wants = wants.get(&(app.as_str(), name.as_str())).copied();
            all.insert(
                (app.clone(), name.clone()),
                joined(app, name, wants, Some(reported)),
            );
        }
    }
    all
}

/// `GET /api/v1/fleet`.
pub fn fleet(state: &State) -> Fleet {
    let status = state.fleet_status();
    let trust = state.trust();
    let all = all_apps(state);
    Fleet {
        fleet: state.fleet.clone(),
        hub_version: env!("CARGO_PKG_VERSION").to_owned(),
        time: state.now(),
        trust_root: trust.in_use.clone(),
        source: status.source.clone(),
        clusters: trust
            .clusters
            .keys()
            .filter_map(|name| summary(state, name, &all))
            .collect(),
        apps: summaries(&all),
        mistakes: status.mistakes.clone(),
        permits_needed: status.permits_needed.clone(),
        alarms: state.alarms(),
        log: state.log.as_ref().map(Log::progress),
    }
}

/// `GET /api/v1/apps`.
pub fn apps(state: &State) -> Vec<AppSummary> {
    summaries(&all_apps(state))
}

fn summaries(all: &AllApps) -> Vec<AppSummary> {
    let mut by_app: BTreeMap<&str, Vec<&AppOnCluster>> = BTreeMap::new();
    for app in all.values() {
        by_app.entry(&app.app).or_default().push(app);
    }
    by_app
        .into_iter()
        .map(|(name, on)| app_summary(name, &on))
        .collect()
}

fn app_summary(name: &str, on: &[&AppOnCluster]) -> AppSummary {
    let worst = worst(on.iter().copied(), |app| &app.cluster);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    AppSummary {
        name: name.to_owned(),
        sync: worst.sync,
        health: worst.health,
        clusters: count(on.len()),
        kept: count(on.iter().filter(|app| app.kept.is_some()).count()),
        message: worst.message,
    }
}

/// `GET /api/v1/apps/{app}`.
pub fn app(state: &State, name: &str) -> Option<App> {
    let all = all_apps(state);
    let on: Vec<AppOnCluster> = all.into_values().filter(|app| app.app == name).collect();
    if on.is_empty() {
        return None;
    }
    Some(App {
        summary: app_summary(name, &on.iter().collect::<Vec<_>>()),
        on,
    })
}

fn summary(state: &State, name: &str, all: &AllApps) -> Option<ClusterSummary> {
    let member = state.trust().clusters.get(name)?.clone();
    let cluster = state.cluster(name)?;
    let registered = state.registration(name);
    let revoked = registered
        .as_ref()
        .is_some_and(|known| state.registry.revoked(&known.key).is_some());
    let streams = cluster.streams.load(Ordering::Acquire);
    let sealed = cluster.newest.get().map_or(0, |head| head.generation());
    let alarms = cluster
        .alarms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .count();
    let live = cluster.live.lock().unwrap_or_else(PoisonError::into_inner);
    let on: Vec<&AppOnCluster> = all.values().filter(|app| app.cluster == name).collect();
    let worst = worst(on.iter().copied(), |app| &app.app);
    // Nothing to run, and that is applied: as good as it gets.
    let idle = on.is_empty() && sealed > 0 && live.generation_applied == sealed;
    let behind = live.generation_verified < sealed;
    let waits = unpublished(state, &member.level).filter(|_| behind);
    Some(ClusterSummary {
        name: name.to_owned(),
        environment: member.environment,
        level: member.level,
        connection: match (registered, streams) {
            (None, _) => Connection::NotRegistered,
            (Some(_), _) if revoked => Connection::Revoked,
            (Some(_), 0) => Connection::Away,
            (Some(_), 1..) => Connection::Connected,
        },
        last_seen: live.last_seen,
        generation_sealed: sealed,
        generation_verified: live.generation_verified,
        generation_applied: live.generation_applied,
        sync: if idle { SyncState::Synced } else { worst.sync },
        health: if idle {
            HealthState::Healthy
        } else {
            worst.health
        },
        message: waits.unwrap_or(worst.message),
        apps: count(live.apps.len()),
        objects: count(live.objects.len()).saturating_add(live.objects_left_out),
        alarms,
        pauses: state.said.pauses(name, state.now()),
    })
}

/// Why a cluster of that level gets no newer state, if it is for want of witnesses.
fn unpublished(state: &State, level: &str) -> Option<String> {
    let waits = state.log.as_ref()?.waits()?;
    (Taken::at(level) == Taken::Published).then(|| format!("LOG_NO_QUORUM: {waits}"))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// `GET /api/v1/clusters/{cluster}`.
pub fn cluster(state: &State, name: &str) -> Option<Cluster> {
    let all = all_apps(state);
    let summary = summary(state, name, &all)?;
    let known = state.cluster(name)?;
    let head = known.newest.get();
    let live = known.live.lock().unwrap_or_else(PoisonError::into_inner);
    let mut refusals: Vec<_> = live.refusals.values().cloned().collect();
    refusals.sort_by_key(|refusal| refusal.time);
    Some(Cluster {
        summary,
        head: head
            .as_ref()
            .map(|head| head.digest().to_string())
            .unwrap_or_default(),
        manifest: head
            .as_ref()
            .map(|head| head.manifest().to_string())
            .unwrap_or_default(),
        registered: state.registration(name).map(|registration| Registered {
            key: registration.key_digest(),
            recipient: registration.recipient.clone(),
            cluster_uid: registration.cluster_uid.clone(),
            kubernetes: if live.kubernetes.is_empty() {
                registration.kubernetes.clone()
            } else {
                live.kubernetes.clone()
            },
            since: registration.time,
            replaced: registration.number.saturating_sub(1),
        }),
        agent_version: live.agent_version.clone(),
        app_list: all
            .into_values()
            .filter(|app| app.cluster == name)
            .collect(),
        refusals,
        alarm_list: known
            .alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .list(),
    })
}

/// Which objects are asked for.
#[derive(Debug, Clone, Default)]
pub struct ObjectQuery {
    /// Of this app only.
    pub app: Option<String>,
    /// In this state only.
    pub sync: Option<SyncState>,
    /// In this state only.
    pub health: Option<HealthState>,
    /// Those after this one.
    pub after: Option<ObjectName>,
    /// At most this many.
    pub limit: Option<usize>,
}

/// `GET /api/v1/clusters/{cluster}/objects`.
pub fn objects(state: &State, name: &str, query: &ObjectQuery) -> Option<Objects> {
    let cluster = state.cluster(name)?;
    let live = cluster.live.lock().unwrap_or_else(PoisonError::into_inner);
    Some(page(name, &live, query))
}

fn page(cluster: &str, live: &Live, query: &ObjectQuery) -> Objects {
    let limit = query
        .limit
        .unwrap_or(OBJECTS_PER_PAGE_MAX)
        .clamp(1, OBJECTS_PER_PAGE_MAX);
    let matching = live.objects.iter().filter(|(_, object)| {
        query.app.as_ref().is_none_or(|app| object.app == *app)
            && query.sync.is_none_or(|sync| object.sync == sync)
            && query.health.is_none_or(|health| object.health == health)
    });
    let total = count(matching.clone().count());
    let mut rest =
        matching.skip_while(|(id, _)| query.after.as_ref().is_some_and(|after| *id <= after));
    let objects: Vec<Object> = rest
        .by_ref()
        .take(limit)
        .map(|(id, object)| Object {
            id: id.clone(),
            app: object.app.clone(),
            sync: object.sync,
            health: object.health,
            message: object.message.clone(),
        })
        .collect();
    let next = rest
        .next()
        .and(objects.last())
        .map(|last| last.id.to_string());
    Objects {
        cluster: cluster.to_owned(),
        objects,
        next,
        total,
    }
}

/// Which drifts are asked for.
#[derive(Debug, Clone, Default)]
pub struct DriftQuery {
    /// Of this cluster only.
    pub cluster: Option<String>,
    /// Of this app only.
    pub app: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
}

/// `GET /api/v1/drifts`.
pub fn drifts(state: &State, query: &DriftQuery) -> Drifts {
    let limit = query.limit.unwrap_or(100).clamp(1, DRIFTS_PER_ANSWER_MAX);
    let mut found: Vec<Drift> = Vec::new();
    for name in state.trust().clusters.keys() {
        if query.cluster.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let Some(cluster) = state.cluster(name) else {
            continue;
        };
        let live = cluster.live.lock().unwrap_or_else(PoisonError::into_inner);
        let of_app = |drift: &&Drift| query.app.as_ref().is_none_or(|app| drift.app == *app);
        found.extend(live.drifts.iter().rev().filter(of_app).take(limit).cloned());
    }
    found.sort_by_key(|drift| std::cmp::Reverse(drift.time));
    found.truncate(limit);
    Drifts { drifts: found }
}

#[cfg(test)]
mod tests;
