//! What agents report, kept in memory: states, not events. Pure.
//!
//! A full report replaces what was known, a delta replaces what it names, and whatever was lost in between is asked for
//! again with `send_full`. So any loss, repetition or reordering ends where a fresh report would. Everything is bounded
//! ([`super::limits`]); nothing here is evidence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use countersign_fleet::api::{Drift, HealthState, ObjectName, RefusalCount, SyncState};
use countersign_ledger::identity::ObjectId;
use jiff::Timestamp;

use super::limits::{
    APPS_PER_CLUSTER_MAX, DRIFTS_PER_CLUSTER_MAX, GONE_PER_CLUSTER_MAX, OBJECTS_PER_CLUSTER_MAX,
    REFUSALS_PER_CLUSTER_MAX,
};

/// A report, read and cut to size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Grows by one with each report of one agent process.
    pub sequence: u64,
    /// Replaces all that was known.
    pub full: bool,
    /// Newest verified generation.
    pub generation_verified: u64,
    /// Newest applied generation.
    pub generation_applied: u64,
    /// The agent's clock.
    pub time: Timestamp,
    /// Apps.
    pub apps: Vec<(String, AppReport)>,
    /// Objects.
    pub objects: Vec<(ObjectName, ObjectReport)>,
    /// Objects that the agent no longer manages.
    pub forgotten: Vec<ObjectName>,
    /// Tombstones whose objects are gone.
    pub gone: Vec<ObjectId>,
    /// Drifts since the last report.
    pub drifts: Vec<Drift>,
    /// Refusals, counted by the agent.
    pub refusals: Vec<RefusalCount>,
    /// The agent's version; empty if not said.
    pub agent_version: String,
    /// The API server's version; empty if not said.
    pub kubernetes: String,
}

/// An app, as reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppReport {
    /// Commit of the applied objects, hex.
    pub commit: String,
    /// Is it as signed?
    pub sync: SyncState,
    /// Does it work?
    pub health: HealthState,
    /// The deepest cause.
    pub message: String,
    /// Number of its objects.
    pub objects: u32,
    /// Number of those that failed.
    pub failed: u32,
}

/// An object, as reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectReport {
    /// Its app.
    pub app: String,
    /// Is it as signed?
    pub sync: SyncState,
    /// Does it work?
    pub health: HealthState,
    /// The deepest cause.
    pub message: String,
}

/// All that is known of one cluster from its agent.
#[derive(Debug, Default)]
pub struct Live {
    /// When its agent last reported, by the hub's clock.
    pub last_seen: Option<Timestamp>,
    /// Newest verified generation.
    pub generation_verified: u64,
    /// Newest applied generation.
    pub generation_applied: u64,
    /// Apps by name.
    pub apps: BTreeMap<String, AppReport>,
    /// Objects by name.
    pub objects: BTreeMap<ObjectName, ObjectReport>,
    /// Objects that did not fit.
    pub objects_left_out: u32,
    /// Newest last.
    pub drifts: VecDeque<Drift>,
    /// By code and generation.
    pub refusals: BTreeMap<(String, u64), RefusalCount>,
    /// Reported gone, not yet taken in by the pipeline.
    pub gone: BTreeSet<ObjectId>,
    /// The agent's version.
    pub agent_version: String,
    /// The API server's version.
    pub kubernetes: String,
    position: Option<(u64, Timestamp)>,
}

/// What the agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Something was lost: send a full report.
    pub send_full: bool,
    /// Identities came that were not known to be gone.
    pub newly_gone: bool,
}

impl Live {
    /// Takes in a report.
    pub fn take_in(&mut self, report: Report, now: Timestamp) -> Reply {
        self.last_seen = Some(now);
        match self.order(&report) {
            Order::Next | Order::Fresh => self.replace(report),
            Order::Gap => {
                let mut reply = self.replace(report);
                reply.send_full = true;
                // Until the full report comes, the next delta is a gap again.
                self.position = None;
                reply
            }
            Order::Repeated => Reply {
                send_full: false,
                newly_gone: false,
            },
            Order::Old => Reply {
                send_full: true,
                newly_gone: false,
            },
        }
    }

    fn order(&self, report: &Report) -> Order {
        match (self.position, report.full) {
            (None, false) => Order::Gap,
            (None, true) => Order::Fresh,
            (Some((sequence, _)), _) if report.sequence == sequence.saturating_add(1) => {
                Order::Next
            }
            (Some((sequence, _)), false) if report.sequence > sequence => Order::Gap,
            (Some((sequence, time)), _) if report.sequence == sequence && report.time == time => {
                Order::Repeated
            }
            (Some((sequence, time)), true) if report.sequence > sequence || report.time >= time => {
                Order::Fresh
            }
            (Some(_), _) => Order::Old,
        }
    }

    fn replace(&mut self, report: Report) -> Reply {
        self.position = Some((report.sequence, report.time));
        self.generation_verified = report.generation_verified;
        self.generation_applied = report.generation_applied;
        if !report.agent_version.is_empty() {
            self.agent_version = report.agent_version;
        }
        if !report.kubernetes.is_empty() {
            self.kubernetes = report.kubernetes;
        }
        if report.full {
            self.apps.clear();
            self.objects.clear();
            self.objects_left_out = 0;
        }
        for name in &report.forgotten {
            self.objects.remove(name);
        }
        for (name, app) in report.apps {
            if self.apps.len() < APPS_PER_CLUSTER_MAX || self.apps.contains_key(&name) {
                self.apps.insert(name, app);
            }
        }
        for (name, object) in report.objects {
            if self.objects.len() < OBJECTS_PER_CLUSTER_MAX || self.objects.contains_key(&name) {
                self.objects.insert(name, object);
            } else {
                self.objects_left_out = self.objects_left_out.saturating_add(1);
            }
        }
        for drift in report.drifts {
            if self.drifts.len() == DRIFTS_PER_CLUSTER_MAX {
                self.drifts.pop_front();
            }
            self.drifts.push_back(drift);
        }
        for refusal in report.refusals {
            self.refusals
                .insert((refusal.code.clone(), refusal.generation), refusal);
        }
        while self.refusals.len() > REFUSALS_PER_CLUSTER_MAX {
            let oldest = self
                .refusals
                .iter()
                .min_by_key(|(_, refusal)| refusal.time)
                .map(|(key, _)| key.clone());
            match oldest {
                Some(key) => self.refusals.remove(&key),
                None => break,
            };
        }
        let before = self.gone.len();
        for name in report.gone {
            if self.gone.len() < GONE_PER_CLUSTER_MAX {
                self.gone.insert(name);
            }
        }
        Reply {
            send_full: false,
            newly_gone: self.gone.len() > before,
        }
    }

    /// What is wrong with an app that vanished from the agent's side is no longer told.
    pub fn forget_apps(&mut self, keep: impl Fn(&str) -> bool) {
        self.apps.retain(|name, _| keep(name));
    }
}

/// How a report lies to the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Next,
    Fresh,
    Gap,
    Repeated,
    Old,
}

#[cfg(test)]
mod tests;
