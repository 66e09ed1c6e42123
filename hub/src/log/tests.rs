//! The log over a store in memory and on disk: order, sharing of claims, what a restart finds, what is refused.

use countersign_ledger::digest::leaf_hash;
use countersign_ledger::key::FileKey;
use countersign_ledger::tlog::merkle;

use super::*;
use crate::seal::FileSigner;

mod crash;
mod open;
pub(crate) mod witness;

pub(crate) const FLEET: &str = "acme";

pub(crate) fn signer() -> Arc<dyn Signer> {
    Arc::new(FileSigner::new(FileKey::from_seed(&[42; 32]).unwrap()))
}

pub(crate) fn parts() -> Parts {
    let signer = signer();
    Parts {
        keys: vec![vkey(FLEET, signer.as_ref()).unwrap()],
        signer,
        policy: None,
        timing: Timing {
            tiles_every: Duration::ZERO,
            retry_after: Duration::from_millis(1),
            ..Timing::default()
        },
        clock: Clock::system(),
        metrics: LogMetrics::default(),
        alarm: Arc::new(|_, _| {}),
        stop: CancellationToken::new(),
    }
}

pub(crate) fn index() -> Arc<Index> {
    Arc::new(Index::in_memory().unwrap())
}

async fn log(store: &Store) -> Log {
    Log::open(store.clone(), index(), parts()).await.unwrap()
}

fn entry(n: u64) -> Bytes {
    Bytes::from(format!("entry {n}"))
}

/// Waits until `size` entries are published.
async fn published_of(log: &Log, size: u64) -> Arc<Signed> {
    let mut published = log.published();
    let found = published
        .wait_for(|signed| signed.as_ref().is_some_and(|signed| signed.size >= size))
        .await
        .unwrap();
    found.clone().unwrap()
}

/// Everything that the log says of its entries holds, by proofs that a stranger checks.
async fn check_proofs(log: &Log, signed: &Signed) {
    let mut before: Option<(u64, Digest)> = None;
    for index in 0..signed.size {
        let bytes = log.entry(index).await.unwrap().unwrap();
        let leaf = leaf_hash(&bytes);
        assert_eq!(log.find(&leaf).unwrap(), Some(index));
        let proof = log.inclusion(index, signed.size).unwrap();
        merkle::verify_inclusion(index, signed.size, &leaf, &proof, &signed.root).unwrap();
    }
    for old in (1..=signed.size).rev().step_by(23).chain([1, signed.size]) {
        let hashes: Vec<Digest> = merkle::root_nodes(old)
            .into_iter()
            .map(|node| log.prover.node(node, old).unwrap())
            .collect();
        let root = merkle::fold_root(old, &hashes).unwrap();
        let proof = log.consistency(old, signed.size).unwrap();
        merkle::verify_consistency(old, &root, signed.size, &signed.root, &proof).unwrap();
        before = Some((old, root));
    }
    assert_eq!(before, Some((signed.size, signed.root)));
}

#[tokio::test]
async fn what_is_appended_is_in_the_log_with_proofs_and_published() {
    let store = Store::in_memory();
    let log = log(&store).await;
    for n in 0..5 {
        let appended = log
            .append(vec![entry(2 * n), entry(2 * n + 1)])
            .await
            .unwrap();
        assert_eq!(appended.indexes, [2 * n, 2 * n + 1]);
        assert_eq!(appended.claim, Some(n));
        assert_eq!(appended.checkpoint.size, 2 * n + 2);
    }
    let published = published_of(&log, 10).await;
    check_proofs(&log, &published).await;
    assert_eq!(
        store.get(CHECKPOINT).await.unwrap(),
        Some(published.note.clone())
    );
}

#[tokio::test]
async fn partial_tiles_make_way_for_full_ones_and_a_stranger_still_reads_all() {
    let store = Store::in_memory();
    let log = log(&store).await;
    for n in 0..600 {
        let appended = log.append(vec![entry(n)]).await.unwrap();
        published_of(&log, appended.checkpoint.size).await;
    }
    let published = published_of(&log, 600).await;
    let mut stop = tokio::time::interval(Duration::from_millis(1));
    while !store
        .list("tile/entries/000.p", "")
        .await
        .unwrap()
        .is_empty()
    {
        stop.tick().await;
    }
    assert!(store.list("tile/0/000.p", "").await.unwrap().is_empty());
    // Those of the newest full one stay for readers on their way.
    assert!(store.exists("tile/entries/001.p/7").await.unwrap());
    assert!(store.exists("tile/entries/002.p/88").await.unwrap());
    assert_eq!(
        tiles::root(&store, published.size).await.unwrap(),
        published.root
    );
    check_proofs(&log, &published).await;
}

#[tokio::test]
async fn an_entry_that_is_in_the_log_keeps_its_index_and_costs_no_claim() {
    let log = log(&Store::in_memory()).await;
    log.append(vec![entry(0), entry(1)]).await.unwrap();
    let again = log.append(vec![entry(1)]).await.unwrap();
    assert_eq!((again.indexes.as_slice(), again.claim), (&[1][..], None));
    let mixed = log
        .append(vec![entry(2), entry(0), entry(2), entry(3)])
        .await
        .unwrap();
    assert_eq!(mixed.indexes, [2, 0, 2, 3]);
    assert_eq!(mixed.checkpoint.size, 4);
    check_proofs(&log, &mixed.checkpoint).await;
}

#[tokio::test]
async fn appends_that_wait_share_a_claim() {
    let store = Store::in_memory();
    let log = log(&store).await;
    let many = (0..500).map(|n| {
        let log = log.clone();
        async move { log.append(vec![entry(n)]).await.unwrap() }
    });
    let appended = futures::future::join_all(many).await;
    let mut indexes: Vec<u64> = appended.iter().map(|one| one.indexes[0]).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..500).collect::<Vec<u64>>());
    let claims = store.list("claims", "").await.unwrap().len();
    assert!(claims < 50, "{claims} claims");
    let published = published_of(&log, 500).await;
    assert_eq!(published.size, 500);
    check_proofs(&log, &published).await;
}

#[tokio::test]
async fn what_no_claim_takes_is_refused() {
    let log = log(&Store::in_memory()).await;
    let large = log.append(vec![Bytes::from(vec![0; 65_536])]).await;
    assert!(matches!(large, Err(LogError::TooLarge(_))));
    let many = log
        .append(vec![Bytes::new(); limits::GROUP_ENTRIES_MAX + 1])
        .await;
    assert!(matches!(many, Err(LogError::TooLarge(_))));
}

#[tokio::test]
async fn of_two_hubs_the_loser_of_a_claim_stops() {
    let store = Store::in_memory();
    let (first, second) = (log(&store).await, log(&store).await);
    first.append(vec![entry(0)]).await.unwrap();
    let lost = second.append(vec![entry(1)]).await;
    assert!(matches!(lost, Err(LogError::ClaimLost { number: 0 })));
    let stopped = second.append(vec![entry(1)]).await;
    assert!(matches!(stopped, Err(LogError::Stopped)));
    let third = log(&store).await;
    assert_eq!(third.append(vec![entry(1)]).await.unwrap().indexes, [1]);
}
