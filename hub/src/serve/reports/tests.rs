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
