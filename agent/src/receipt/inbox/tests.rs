use countersign_ledger::statement::receipt::AppCounts;
use countersign_ledger::time::Time;
use proptest::prelude::*;

use super::pending::{GROUPS_MAX, PAUSES_MAX, QUESTIONS_MAX, SAMPLES_MAX, SINGLE_MAX};
use super::*;
use crate::health::Status;
use crate::receipt::tests::record;

fn refusal(code: &'static str, words: &str) -> RefusalSeen {
    RefusalSeen {
        code,
        words: Some(words.into()),
        evidence: None,
        attack: false,
        count: 1,
        first: 1,
        last: 1,
    }
}

fn sync(generation: u64, failed: u64) -> SyncSeen {
    SyncSeen {
        generation,
        started: 1,
        ended: 2,
        apps: AppCounts {
            failed,
            ..AppCounts::default()
        },
        health: Status::Healthy,
        results: Bytes::new(),
        dropped: 0,
    }
}

#[test]
fn a_refusal_that_comes_again_and_again_is_told_once_an_hour_with_its_count() {
    let inbox = Inbox::default();
    let start = Instant::now();
    for second in 0..100 {
        inbox.refused(
            refusal("REPLAYED", "same"),
            start + Duration::from_secs(second),
        );
    }
    assert_eq!(inbox.take(true).refusals.len(), 1);
    inbox.refused(refusal("REPLAYED", "same"), start + REFUSED_AGAIN);
    let told = inbox.take(true).refusals;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].count, 100);
}

#[test]
fn other_words_are_told_sooner_but_not_with_each_second() {
    let inbox = Inbox::default();
    let start = Instant::now();
    inbox.refused(refusal("CHECKPOINT_STALE", "at 1"), start);
    inbox.refused(
        refusal("CHECKPOINT_STALE", "at 2"),
        start + Duration::from_secs(5),
    );
    assert_eq!(inbox.take(true).refusals.len(), 1);
    inbox.refused(
        refusal("CHECKPOINT_STALE", "at 3"),
        start + REFUSED_OTHERWISE,
    );
    assert_eq!(inbox.take(true).refusals[0].count, 2);
}

#[test]
fn a_sync_is_told_once_and_again_when_what_failed_changes() {
    let inbox = Inbox::default();
    inbox.recorded(Some(queue::Synced {
        generation: 1,
        failed: 0,
    }));
    inbox.synced(sync(1, 0));
    assert!(inbox.take(true).is_empty(), "recorded before this start");
    inbox.synced(sync(2, 1));
    inbox.synced(sync(2, 1));
    inbox.synced(sync(2, 0));
    let told: Vec<u64> = inbox
        .take(true)
        .syncs
        .iter()
        .map(|it| it.apps.failed)
        .collect();
    assert_eq!(told, [1, 0]);
}

#[test]
fn a_storm_is_folded_and_no_drift_is_lost_from_the_count() {
    let inbox = Inbox::default();
    for n in 0..10_000 {
        inbox.drifted(3, &record(&format!("o{n}"), n));
    }
    let happened = inbox.take(true);
    assert!(happened.is_storm());
    assert!(happened.drifts.len() <= SINGLE_MAX + 1);
    let count: u64 = happened.drifts.iter().map(|drift| drift.count).sum();
    assert_eq!(count, 10_000);
    let folded = happened.drifts.last().unwrap();
    assert_eq!((folded.record.time, folded.last), (20, 9_999));
    assert_eq!(folded.samples.len(), SAMPLES_MAX);
    assert!(folded.samples.iter().all(|sample| sample.patch.is_empty()));
}

#[test]
fn drifts_wait_while_they_are_not_asked_for() {
    let inbox = Inbox::default();
    inbox.drifted(3, &record("a", 1));
    assert!(inbox.take(false).is_empty());
    assert_eq!(inbox.take(true).drifts.len(), 1);
}

proptest! {
    /// Whatever is taken out and put back in whatever order, the counts of all drifts, syncs and deletions stay.
    #[test]
    fn what_is_put_back_is_neither_lost_nor_doubled(steps in prop::collection::vec(0..4_u8, 1..300)) {
        let inbox = Inbox::default();
        let (mut drifts, mut syncs, mut deleted) = (0_u64, 0_u64, 0_u64);
        let mut id = 0;
        for step in steps {
            id += 1;
            match step {
                0 => {
                    let mut record = record(&format!("o{id}"), id);
                    record.app = format!("app-{}", id % 200).into();
                    inbox.drifted(1, &record);
                    drifts += 1;
                }
                1 => {
                    inbox.synced(sync(u64::try_from(id).unwrap(), 0));
                    syncs += 1;
                }
                2 => {
                    inbox.deleted(&record(&format!("o{id}"), id).id, id);
                    deleted += 1;
                }
                _ => {
                    let taken = inbox.take(id % 2 == 0);
                    inbox.put_back(taken);
                }
            }
        }
        let all = inbox.take(true);
        prop_assert!(all.drifts.len() <= SINGLE_MAX + GROUPS_MAX);
        prop_assert_eq!(all.drifts.iter().map(|drift| drift.count).sum::<u64>(), drifts);
        prop_assert_eq!(all.syncs.iter().map(|sync| 1 + sync.dropped).sum::<u64>(), syncs);
        let gone = all.deleted.unwrap_or_default();
        prop_assert_eq!(gone.objects.len() as u64 + gone.more, deleted);
    }
}

#[test]
fn pauses_come_out_in_their_order_also_after_they_were_put_back() {
    let inbox = Inbox::default();
    let pause = |index| PauseSeen {
        index,
        began: true,
        app: None,
        until: Time::default(),
        time: 0,
    };
    inbox.paused(pause(1));
    inbox.paused(pause(2));
    let taken = inbox.take(true);
    assert!(!taken.is_empty());
    inbox.paused(pause(3));
    inbox.put_back(taken);
    let places: Vec<u64> = inbox.take(true).pauses.iter().map(|p| p.index).collect();
    assert_eq!(places, [1, 2, 3]);
    for index in 0..=PAUSES_MAX as u64 {
        inbox.paused(pause(index));
    }
    assert_eq!(inbox.take(true).pauses.len(), PAUSES_MAX);
}

#[test]
fn a_question_is_answered_once_however_often_it_comes() {
    let inbox = Inbox::default();
    inbox.asked("aa".into());
    inbox.asked("aa".into());
    inbox.asked("bb".into());
    let taken = inbox.take(false);
    assert!(!taken.is_empty());
    assert_eq!(taken.questions, ["aa", "bb"]);
    inbox.asked("bb".into());
    assert!(
        inbox.take(false).is_empty(),
        "a stream that began anew asks again"
    );
    inbox.asked("cc".into());
    inbox.put_back(taken);
    assert_eq!(inbox.take(false).questions, ["aa", "bb", "cc"]);
    for n in 0..=QUESTIONS_MAX {
        inbox.asked(format!("{n:04x}"));
    }
    assert_eq!(inbox.take(false).questions.len(), QUESTIONS_MAX);
}
