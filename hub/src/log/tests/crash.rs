//! Fail each operation on the store once, in each flavour; reopen: nothing acknowledged is missing or doubled, nothing
//! published is contradicted, and the whole log can be rebuilt from its static files.

use std::collections::BTreeMap;

use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::fsck::{self, Fsck};
use countersign_ledger::tlog::{Checkpoint, note};

use super::*;
use crate::store::Objects;
use crate::store::failing::{FLAVOURS, FailAt, Flavour};

/// Acknowledged entries by index, and checkpoints that were seen published.
#[derive(Default)]
struct Seen {
    acknowledged: BTreeMap<u64, Bytes>,
    published: Vec<Arc<Signed>>,
}

/// Appends in batches of different sizes, each published before the next; stops at the first error.
async fn run(failing: &FailAt, index: &Arc<Index>, from: u64, batches: &[u64], seen: &mut Seen) {
    let store = Store::new(failing.clone());
    let stop = CancellationToken::new();
    let parts = Parts {
        stop: stop.clone(),
        ..parts()
    };
    let Ok(log) = Log::open(store.clone(), Arc::clone(index), parts).await else {
        return;
    };
    let mut next = from;
    for batch in batches {
        let entries: Vec<Bytes> = (next..next + batch).map(entry).collect();
        next += batch;
        let Ok(appended) = log.append(entries.clone()).await else {
            break;
        };
        for (index, entry) in appended.indexes.iter().zip(entries) {
            seen.acknowledged.insert(*index, entry);
        }
        // A store that fails for good never publishes; one that failed once does at the next attempt.
        tokio::select! {
            signed = published_of(&log, appended.checkpoint.size) => seen.published.push(signed),
            () = failing.died() => break,
        }
    }
    stop.cancel();
    log.ended().await;
}

async fn check_reopened(inner: &Arc<Objects>, index: Arc<Index>, seen: &Seen, what: &str) {
    let store = Store::new(FailAt::new(
        Arc::clone(inner),
        u64::MAX,
        Flavour::NotDone,
        true,
    ));
    let log = Log::open(store.clone(), index, parts())
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let log = match log.append(vec![entry(9_999)]).await {
        Ok(_) => log,
        // A claim that hung came through in between: whoever reads it goes on.
        Err(LogError::ClaimLost { .. }) => {
            let log = Log::open(store.clone(), super::index(), parts())
                .await
                .unwrap();
            log.append(vec![entry(9_999)]).await.unwrap();
            log
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let newest = log.claimed().borrow().clone().unwrap();
    let published = published_of(&log, newest.size).await;
    let mut entries = BTreeMap::new();
    for index in 0..published.size {
        let bytes = log.entry(index).await.unwrap().unwrap();
        assert!(
            entries.insert(bytes, index).is_none(),
            "{what}: entry {index} is there twice"
        );
    }
    for (index, entry) in &seen.acknowledged {
        assert_eq!(
            entries.get(entry),
            Some(index),
            "{what}: an acknowledged entry moved"
        );
    }
    for before in &seen.published {
        let proof = log.consistency(before.size, published.size).unwrap();
        merkle::verify_consistency(
            before.size,
            &before.root,
            published.size,
            &published.root,
            &proof,
        )
        .unwrap_or_else(|error| panic!("{what}: a published checkpoint is contradicted: {error}"));
    }
    fsck(&store, what).await;
}

/// Rebuilds the log from its static files, as a stranger would.
async fn fsck(store: &Store, what: &str) {
    let note = store.get(CHECKPOINT).await.unwrap().unwrap();
    let opened = note::open(&note, &parts().keys, &RingVerifier).unwrap();
    let checkpoint = Checkpoint::parse(opened.text()).unwrap();
    let mut check = Fsck::new(&checkpoint);
    while let Some(file) = check.wanted() {
        let bytes = store.get(&file.to_string()).await.unwrap();
        check.take(bytes.as_deref());
    }
    let findings = check.finish();
    assert!(findings.is_sound(), "{what}: {findings:?}");
    assert!(fsck::files(checkpoint.size).count() > 1);
}

const BATCHES: [u64; 4] = [1, 3, 254, 2];

/// Runs every case until the first operation that is never reached; returns how many were.
async fn sweep(goes_on: bool, index_survives: bool) -> u64 {
    let mut cases = 0;
    for flavour in FLAVOURS {
        for at in 0.. {
            let what = format!("{flavour:?} at write {at}");
            let (inner, index) = (Arc::new(Objects::in_memory()), super::index());
            let failing = FailAt::new(Arc::clone(&inner), at, flavour, goes_on);
            let mut seen = Seen::default();
            run(&failing, &index, 0, &BATCHES, &mut seen).await;
            if !failing.failed() {
                assert_eq!(seen.published.len(), BATCHES.len(), "{what}");
                break;
            }
            let index = if index_survives {
                index
            } else {
                super::index()
            };
            check_reopened(&inner, index, &seen, &what).await;
            cases += 1;
        }
    }
    cases
}

#[tokio::test]
async fn a_failed_write_loses_nothing_acknowledged() {
    assert!(sweep(true, true).await > 60);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    assert!(sweep(false, true).await > 60);
}

#[tokio::test]
async fn a_killed_process_that_loses_its_index_too_loses_nothing_acknowledged() {
    assert!(sweep(false, false).await > 60);
}

#[tokio::test]
async fn a_process_that_is_killed_again_and_again_gets_on() {
    let inner = Arc::new(Objects::in_memory());
    let mut seen = Seen::default();
    for round in 0..30 {
        let flavour = FLAVOURS[usize::try_from(round % 3).unwrap()];
        let failing = FailAt::new(Arc::clone(&inner), (round * 7) % 31, flavour, false);
        run(
            &failing,
            &super::index(),
            round * 1_000,
            &BATCHES,
            &mut seen,
        )
        .await;
    }
    assert!(seen.acknowledged.len() > 1_000);
    check_reopened(&inner, super::index(), &seen, "after 30 kills").await;
}
