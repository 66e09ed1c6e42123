//! What a log finds when it begins.

use countersign_ledger::claim::Claim;

use super::*;
use crate::log::chain::grow;
use crate::store::index::FiledClaim;

async fn refused(store: &Store, index: Arc<Index>) -> LogOpenError {
    match Log::open(store.clone(), index, parts()).await {
        Err(error) => error,
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test]
async fn indexes_go_on_after_a_restart_with_or_without_the_index() {
    let (store, kept) = (Store::in_memory(), index());
    let first = Log::open(store.clone(), Arc::clone(&kept), parts())
        .await
        .unwrap();
    for n in 0..3 {
        let entries = (100 * n..100 * n + 100).map(entry).collect();
        first.append(entries).await.unwrap();
    }
    published_of(&first, 300).await;
    for (next, index) in (300..).zip([kept, index()]) {
        let log = Log::open(store.clone(), index, parts()).await.unwrap();
        let published = log.published().borrow().clone().unwrap();
        assert!(published.size >= 300);
        assert_eq!(log.append(vec![entry(7)]).await.unwrap().indexes, [7]);
        let appended = log.append(vec![entry(next)]).await.unwrap();
        check_proofs(&log, &appended.checkpoint).await;
        published_of(&log, appended.checkpoint.size).await;
        // The next one opens on the same store: this one writes nothing more.
    }
}

#[tokio::test]
async fn another_key_than_the_listed_one_is_refused() {
    let mut other = parts();
    other.signer = Arc::new(FileSigner::new(FileKey::from_seed(&[1; 32]).unwrap()));
    let opened = Log::open(Store::in_memory(), index(), other).await;
    assert!(matches!(
        opened.err(),
        Some(LogOpenError::KeyUnlisted { .. })
    ));
}

/// Writes a claim as a hub without a log does.
async fn claim_before_the_log(
    store: &Store,
    number: u64,
    previous: Option<Digest>,
    entries: &[Bytes],
) -> Digest {
    let staging = countersign_ledger::bundle::encode(entries.iter().map(Bytes::as_ref)).unwrap();
    let staging = Bytes::from(staging);
    let staged = Digest::of(&staging);
    sequencer::stage(store, &staged, staging).await.unwrap();
    let claim = Claim {
        number,
        previous,
        staging: staged,
        checkpoint: None,
    };
    let bytes = Bytes::from(claim.bytes());
    let digest = Digest::of(&bytes);
    sequencer::claim(store, number, bytes).await.unwrap();
    digest
}

#[tokio::test]
async fn a_log_begins_with_the_entries_that_were_claimed_before_it() {
    let store = Store::in_memory();
    let first = claim_before_the_log(&store, 0, None, &[entry(0), entry(1)]).await;
    // The ref moved back and forth: the same entry twice is one leaf.
    claim_before_the_log(&store, 1, Some(first), &[entry(0), entry(2)]).await;
    for index in [index(), index()] {
        let log = Log::open(store.clone(), index, parts()).await.unwrap();
        let appended = log.append(vec![entry(3)]).await.unwrap();
        assert_eq!(appended.indexes, [3]);
        check_proofs(&log, &appended.checkpoint).await;
        published_of(&log, 4).await;
    }
}

#[tokio::test]
async fn a_log_over_old_claims_begins_even_if_nothing_new_is_appended() {
    let store = Store::in_memory();
    claim_before_the_log(&store, 0, None, &[entry(0)]).await;
    let log = log(&store).await;
    assert!(log.claimed().borrow().is_none());
    let appended = log.append(vec![entry(0)]).await.unwrap();
    assert_eq!(
        (appended.indexes.as_slice(), appended.checkpoint.size),
        (&[0][..], 1)
    );
    check_proofs(&log, &appended.checkpoint).await;
}

#[tokio::test]
async fn a_claim_without_checkpoint_after_the_log_began_is_refused() {
    let store = Store::in_memory();
    let log = log(&store).await;
    log.append(vec![entry(0)]).await.unwrap();
    let bytes = store.get(&Claim::path(0)).await.unwrap().unwrap();
    claim_before_the_log(&store, 1, Some(Digest::of(&bytes)), &[entry(1)]).await;
    let error = refused(&store, index()).await;
    assert!(
        matches!(
            error,
            LogOpenError::Record(RecordError::Checkpoint {
                number: 1,
                problem: CheckpointProblem::Missing
            })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_claim_whose_checkpoint_is_of_another_tree_is_refused() {
    let (store, other) = (Store::in_memory(), Store::in_memory());
    let log_of_other = log(&other).await;
    let note = log_of_other
        .append(vec![entry(9)])
        .await
        .unwrap()
        .checkpoint
        .note
        .clone();
    let staging = Bytes::from(countersign_ledger::bundle::encode([entry(0).as_ref()]).unwrap());
    let staged = Digest::of(&staging);
    sequencer::stage(&store, &staged, staging).await.unwrap();
    let claim = chain::Chain::default().claim(staged, Some(&note));
    sequencer::claim(&store, 0, claim.bytes().into())
        .await
        .unwrap();
    let error = refused(&store, index()).await;
    assert!(
        matches!(
            error,
            LogOpenError::Record(RecordError::Checkpoint {
                number: 0,
                problem: CheckpointProblem::Tree { .. }
            })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_that_was_set_back_behind_what_is_published_is_refused() {
    let store = Store::in_memory();
    let first = log(&store).await;
    first.append(vec![entry(0)]).await.unwrap();
    let appended = first.append(vec![entry(1)]).await.unwrap();
    published_of(&first, 2).await;
    // Claim 1 is gone, and so is the index; what is published is not.
    let back = Store::in_memory();
    copy(&store, &back, &["claims/00000000000000000000".to_owned()]).await;
    back.put(CHECKPOINT, appended.checkpoint.note.clone())
        .await
        .unwrap();
    let error = refused(&back, index()).await;
    assert!(
        matches!(
            error,
            LogOpenError::SetBack {
                published: 2,
                claimed: 1
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_published_checkpoint_of_another_history_is_refused() {
    let (store, other) = (Store::in_memory(), Store::in_memory());
    log(&store)
        .await
        .append(vec![entry(0), entry(1)])
        .await
        .unwrap();
    let theirs = log(&other).await.append(vec![entry(8)]).await.unwrap();
    let both = log(&other)
        .await
        .append(vec![entry(8), entry(9)])
        .await
        .unwrap();
    for note in [&theirs.checkpoint.note, &both.checkpoint.note] {
        store.put(CHECKPOINT, note.clone()).await.unwrap();
        let error = refused(&store, index()).await;
        assert!(matches!(error, LogOpenError::Forked { .. }), "{error}");
    }
    store.put(CHECKPOINT, "nothing".into()).await.unwrap();
    assert!(matches!(
        refused(&store, index()).await,
        LogOpenError::Published(_)
    ));
}

#[tokio::test]
async fn a_store_behind_the_index_is_refused() {
    let (store, kept) = (Store::in_memory(), index());
    let log = Log::open(store.clone(), Arc::clone(&kept), parts())
        .await
        .unwrap();
    log.append(vec![entry(0)]).await.unwrap();
    let error = refused(&Store::in_memory(), kept).await;
    assert!(
        matches!(
            error,
            LogOpenError::Record(RecordError::SetBack { number: 0 })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_index_whose_tree_is_damaged_is_made_anew() {
    let (store, kept) = (Store::in_memory(), index());
    let digest = claim_before_the_log(&store, 0, None, &[entry(0), entry(1)]).await;
    let hashes = [leaf_hash(&entry(0)), leaf_hash(&entry(1))];
    let grown = grow(&countersign_ledger::tlog::Frontier::new(), &hashes, |_| {
        Ok(None)
    })
    .unwrap();
    kept.file(&FiledClaim {
        number: 0,
        digest: &digest,
        staging: &digest,
        note: None,
        leaves: &grown.leaves,
        nodes: &grown.nodes,
        frontier: b"damaged",
        entries: &[],
        blobs: &[],
    })
    .unwrap();
    let log = Log::open(store, kept, parts()).await.unwrap();
    let appended = log.append(vec![entry(2)]).await.unwrap();
    check_proofs(&log, &appended.checkpoint).await;
}

/// Copies objects, and the staging objects of copied claims.
async fn copy(from: &Store, to: &Store, paths: &[String]) {
    for path in paths {
        let bytes = from.get(path).await.unwrap().unwrap();
        if let Ok(claim) = Claim::parse(&bytes) {
            let staging = crate::store::staging_path(&claim.staging);
            let staged = from.get(&staging).await.unwrap().unwrap();
            to.create(&staging, staged).await.unwrap();
        }
        to.create(path, bytes).await.unwrap();
    }
}
