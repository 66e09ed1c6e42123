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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object(name: &str) -> ObjectName {
        ObjectName {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    fn report(sequence: u64, full: bool, objects: &[(&str, SyncState)]) -> Report {
        Report {
            sequence,
            full,
            generation_verified: sequence,
            generation_applied: sequence,
            time: at(i64::try_from(sequence).unwrap()),
            apps: vec![],
            objects: objects
                .iter()
                .map(|(name, sync)| {
                    let report = ObjectReport {
                        app: "cart".into(),
                        sync: *sync,
                        health: HealthState::Healthy,
                        message: String::new(),
                    };
                    (object(name), report)
                })
                .collect(),
            forgotten: vec![],
            gone: vec![],
            drifts: vec![],
            refusals: vec![],
            agent_version: String::new(),
            kubernetes: String::new(),
        }
    }

    fn names(live: &Live) -> Vec<&str> {
        live.objects.keys().map(|id| id.name.as_str()).collect()
    }

    use SyncState::{Failed, Synced};

    #[test]
    fn a_full_report_replaces_and_a_delta_replaces_what_it_names() {
        let mut live = Live::default();
        assert!(
            !live
                .take_in(report(1, true, &[("a", Synced), ("b", Synced)]), at(1))
                .send_full
        );
        assert!(
            !live
                .take_in(report(2, false, &[("b", Failed), ("c", Synced)]), at(2))
                .send_full
        );
        assert_eq!(names(&live), ["a", "b", "c"]);
        assert_eq!(live.objects[&object("b")].sync, Failed);
        let mut gone = report(3, false, &[]);
        gone.forgotten = vec![object("a")];
        live.take_in(gone, at(3));
        assert_eq!(names(&live), ["b", "c"]);
        live.take_in(report(4, true, &[("z", Synced)]), at(4));
        assert_eq!(names(&live), ["z"]);
    }

    #[test]
    fn a_lost_report_is_asked_for_again_until_a_full_one_comes() {
        let mut live = Live::default();
        assert!(
            live.take_in(report(7, false, &[("a", Synced)]), at(1))
                .send_full,
            "after a restart of the hub"
        );
        assert!(live.take_in(report(8, false, &[]), at(2)).send_full);
        assert!(
            !live
                .take_in(report(9, true, &[("a", Synced)]), at(3))
                .send_full
        );
        assert!(!live.take_in(report(10, false, &[]), at(4)).send_full);
        assert!(live.take_in(report(12, false, &[]), at(5)).send_full);
    }

    #[test]
    fn a_repeated_or_late_report_changes_nothing() {
        let mut live = Live::default();
        live.take_in(report(5, true, &[("a", Synced)]), at(1));
        live.take_in(report(6, false, &[("a", Failed)]), at(2));
        assert!(
            !live
                .take_in(report(6, false, &[("a", Failed)]), at(3))
                .send_full
        );
        assert!(
            live.take_in(report(4, true, &[("old", Synced)]), at(3))
                .send_full
        );
        assert_eq!(names(&live), ["a"]);
        assert_eq!(live.objects[&object("a")].sync, Failed);
    }

    #[test]
    fn a_restarted_agent_begins_anew() {
        let mut live = Live::default();
        live.take_in(report(50, true, &[("a", Synced)]), at(1));
        let mut first = report(1, true, &[("b", Synced)]);
        first.time = at(51);
        assert!(!live.take_in(first, at(2)).send_full);
        assert_eq!(names(&live), ["b"]);
    }

    #[test]
    fn memory_is_bounded_and_what_did_not_fit_is_counted() {
        let mut live = Live::default();
        let names: Vec<String> = (0..OBJECTS_PER_CLUSTER_MAX + 3)
            .map(|n| format!("o{n}"))
            .collect();
        let objects: Vec<_> = names.iter().map(|name| (name.as_str(), Synced)).collect();
        live.take_in(report(1, true, &objects), at(1));
        assert_eq!(
            (live.objects.len(), live.objects_left_out),
            (OBJECTS_PER_CLUSTER_MAX, 3)
        );
        for n in 0..1_000u32 {
            let mut next = report(u64::from(n) + 2, false, &[]);
            next.refusals = vec![RefusalCount {
                code: format!("C{n}"),
                message: String::new(),
                generation: u64::from(n),
                count: 1,
                time: at(i64::from(n)),
            }];
            live.take_in(next, at(1));
        }
        assert_eq!(live.refusals.len(), REFUSALS_PER_CLUSTER_MAX);
        assert!(
            live.refusals.contains_key(&("C999".to_owned(), 999)),
            "the newest stay"
        );
    }

    #[test]
    fn what_is_gone_is_told_until_it_was_taken_in() {
        let mut live = Live::default();
        let mut gone = report(1, true, &[]);
        gone.gone = vec![object("a").into()];
        assert!(live.take_in(gone.clone(), at(1)).newly_gone);
        gone.sequence = 2;
        assert!(!live.take_in(gone, at(2)).newly_gone);
        assert!(live.gone.contains(&ObjectId::from(object("a"))));
    }

    proptest! {
        /// Whatever was lost, repeated or reordered before: after the full report that is asked for, the hub knows
        /// what a fresh hub would know.
        #[test]
        fn any_history_ends_where_a_fresh_full_report_would(
            history in proptest::collection::vec((1u64..30, any::<bool>(), 0usize..6), 0..40)
        ) {
            let pool = ["a", "b", "c", "d", "e", "f"];
            let mut live = Live::default();
            for (sequence, full, n) in history {
                live.take_in(report(sequence, full, &[(pool[n], Synced)]), at(1));
            }
            let last = report(100, true, &[("a", Failed), ("q", Synced)]);
            let mut fresh = Live::default();
            fresh.take_in(last.clone(), at(2));
            prop_assert!(!live.take_in(last, at(2)).send_full);
            prop_assert_eq!(&live.objects, &fresh.objects);
            prop_assert_eq!(live.generation_applied, fresh.generation_applied);
        }
    }
}
