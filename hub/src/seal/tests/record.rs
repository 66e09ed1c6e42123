//! The record after a restart, and what is refused instead of believed.

use countersign_ledger::claim::Claim;
use countersign_ledger::dsse;
use countersign_ledger::statement::Desired;

use super::*;
use crate::store::{Location, staging_path};

async fn sealed(store: &Store, index: &Arc<Index>, commits: u64) -> Heads {
    let (sealer, _) = Sealer::open(parts(store, index)).await.unwrap();
    for n in 0..commits {
        sealer
            .seal(
                moved(n),
                vec![state("metal-fra", &[n]), state("kind", &[n / 2])],
            )
            .await
            .unwrap();
    }
    sealer.heads().await
}

async fn refused(store: &Store, index: &Arc<Index>) -> RecordError {
    match Sealer::open(parts(store, index)).await {
        Err(OpenError::Record(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test]
async fn generations_go_on_after_a_restart_with_or_without_the_index() {
    let (store, index) = (Store::in_memory(), index());
    let heads = sealed(&store, &index, 5).await;
    assert_eq!(heads["metal-fra"].desired.generation, 5);
    assert_eq!(
        heads["kind"].desired.generation, 3,
        "an unchanged cluster has no generation"
    );
    for index in [index, super::index()] {
        let (sealer, again) = Sealer::open(parts(&store, &index)).await.unwrap();
        assert_eq!(again, heads);
        assert_eq!(sealer.chain("metal-fra", 2, 2).unwrap().len(), 2);
        assert_eq!(sealer.last_source().unwrap().unwrap().new, commit(4));
        check_as_agent(&sealer, "metal-fra").await;
    }
    let (sealer, _) = Sealer::open(parts(&store, &super::index())).await.unwrap();
    let batch = sealer
        .seal(moved(9), vec![state("kind", &[9])])
        .await
        .unwrap();
    assert_eq!(batch.sealed[0].head.desired.generation, 4);
}

#[tokio::test]
async fn a_local_folder_and_an_index_file_survive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let open_store = || Store::open(&Location::Folder(folder.path().join("store"))).unwrap();
    let open_index = || Arc::new(Index::open(&folder.path().join("index.sqlite")).unwrap());
    let heads = sealed(&open_store(), &open_index(), 3).await;
    let (sealer, again) = Sealer::open(parts(&open_store(), &open_index()))
        .await
        .unwrap();
    assert_eq!(again, heads);
    check_as_agent(&sealer, "kind").await;
}

#[tokio::test]
async fn of_two_sealers_the_loser_of_a_claim_stops() {
    let store = Store::in_memory();
    let (first, second) = (open(&store).await, open(&store).await);
    first
        .seal(moved(0), vec![state("metal-fra", &[1])])
        .await
        .unwrap();
    let lost = second.seal(moved(1), vec![state("metal-fra", &[2])]).await;
    assert!(matches!(lost, Err(SealError::ClaimLost { number: 0 })));
    let stopped = second.seal(moved(1), vec![state("metal-fra", &[2])]).await;
    assert!(matches!(stopped, Err(SealError::Stopped)));
    let third = open(&store).await;
    let batch = third
        .seal(moved(1), vec![state("metal-fra", &[2])])
        .await
        .unwrap();
    assert_eq!(
        (batch.claim, batch.sealed[0].head.desired.generation),
        (Some(1), 2)
    );
}

#[tokio::test]
async fn a_store_that_was_set_back_or_rewritten_is_refused() {
    let (store, index) = (Store::in_memory(), index());
    sealed(&store, &index, 3).await;
    assert_eq!(
        refused(&Store::in_memory(), &index).await,
        RecordError::SetBack { number: 2 }
    );
    let older = Store::in_memory();
    sealed(&older, &super::index(), 2).await;
    assert_eq!(
        refused(&older, &index).await,
        RecordError::SetBack { number: 2 }
    );
    let other = Store::in_memory();
    let sealer = open(&other).await;
    for n in 10..13 {
        sealer.seal(moved(n), Vec::new()).await.unwrap();
    }
    assert_eq!(
        refused(&other, &index).await,
        RecordError::Rewritten { number: 2 }
    );
}

/// A store with claims 0 to 2 on disk, so that files can be changed.
async fn on_disk() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Folder(folder.path().to_owned())).unwrap();
    sealed(&store, &index(), 3).await;
    (folder, store)
}

async fn staging_of(store: &Store, number: u64) -> String {
    let claim = store.get(&Claim::path(number)).await.unwrap().unwrap();
    staging_path(&Claim::parse(&claim).unwrap().staging)
}

#[tokio::test]
async fn a_missing_or_changed_piece_of_the_record_is_named() {
    let (folder, store) = on_disk().await;
    std::fs::remove_file(folder.path().join(Claim::path(1))).unwrap();
    assert_eq!(
        refused(&store, &index()).await,
        RecordError::Gap {
            number: 1,
            later: 2
        }
    );

    let (folder, store) = on_disk().await;
    std::fs::remove_file(folder.path().join(staging_of(&store, 2).await)).unwrap();
    assert!(matches!(
        refused(&store, &index()).await,
        RecordError::StagingMissing { number: 2, .. }
    ));

    let (folder, store) = on_disk().await;
    let path = folder.path().join(staging_of(&store, 0).await);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(
        refused(&store, &index()).await,
        RecordError::StagingTampered { number: 0, .. }
    ));

    let (folder, store) = on_disk().await;
    std::fs::copy(
        folder.path().join(Claim::path(0)),
        folder.path().join(Claim::path(1)),
    )
    .unwrap();
    assert_eq!(
        refused(&store, &index()).await,
        RecordError::Order { number: 1 }
    );

    let (folder, store) = on_disk().await;
    std::fs::write(folder.path().join(Claim::path(1)), "{}").unwrap();
    assert!(matches!(
        refused(&store, &index()).await,
        RecordError::Claim { number: 1, .. }
    ));
}

/// Appends a claim with one entry, as somebody does who can write to the store.
async fn smuggle(store: &Store, entry: &[u8]) {
    let names = store.list("claims", "").await.unwrap();
    let last = store
        .get(&format!("claims/{}", names.last().unwrap()))
        .await
        .unwrap()
        .unwrap();
    let staging = Bytes::from(countersign_ledger::bundle::encode([entry]).unwrap());
    store
        .create(&staging_path(&Digest::of(&staging)), staging.clone())
        .await
        .unwrap();
    let number = names.len() as u64;
    let claim = Claim {
        number,
        previous: Some(Digest::of(&last)),
        staging: Digest::of(&staging),
        checkpoint: None,
    };
    store
        .create(&Claim::path(number), claim.bytes().into())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_statement_that_no_sealer_key_signed_is_not_believed() {
    let head = {
        let store = Store::in_memory();
        sealed(&store, &index(), 1).await["metal-fra"].clone()
    };
    let next = Desired {
        generation: 2,
        previous: Some(head.digest),
        ..head.desired.clone()
    };
    let entry = |desired: &Desired, seed| {
        dsse::sign(
            dsse::PAYLOAD_TYPE,
            &desired.payload().unwrap(),
            &[&key(seed)],
        )
        .unwrap()
        .bytes()
        .to_vec()
    };
    let cases = [
        ("another environment's key", entry(&next, DEV), false),
        ("a stranger's key", entry(&next, 99), false),
        (
            "a gap",
            entry(
                &Desired {
                    generation: 3,
                    ..next.clone()
                },
                PROD,
            ),
            false,
        ),
        (
            "another previous one",
            entry(
                &Desired {
                    previous: Some(Digest::of(b"x")),
                    ..next.clone()
                },
                PROD,
            ),
            false,
        ),
        ("no envelope", b"{}".to_vec(), false),
        ("the sealer's own", entry(&next, PROD), true),
    ];
    for (what, entry, good) in cases {
        let store = Store::in_memory();
        sealed(&store, &index(), 1).await;
        smuggle(&store, &entry).await;
        let opened = Sealer::open(parts(&store, &index())).await;
        match opened {
            Ok(_) => assert!(good, "{what}"),
            Err(OpenError::Record(RecordError::Entry {
                number: 1,
                entry: 0,
                ..
            })) => assert!(!good, "{what}"),
            Err(other) => panic!("{what}: {other}"),
        }
    }
}

#[tokio::test]
async fn the_store_keeps_the_trust_root_and_takes_no_other_of_its_version() {
    let store = Store::in_memory();
    open(&store).await;
    let kept = store.get("trust/1.json").await.unwrap().unwrap();
    assert_eq!(kept, roots().newest().bytes());
    let mut other = document();
    other.issued = "2027-01-01T00:00:00Z".into();
    let other = other.sign(&[&key(ROOT)]).unwrap();
    let roots = Roots::new(VerifiedRoot::parse(other.bytes(), &RingVerifier).unwrap());
    let opened = Sealer::open(Parts {
        roots,
        ..parts(&store, &index())
    })
    .await;
    assert!(matches!(
        opened.err(),
        Some(OpenError::TrustRootConflict(1))
    ));
}

#[tokio::test]
async fn a_new_trust_root_seals_every_cluster_anew_and_old_entries_still_count() {
    const NEXT: u8 = 11;
    let store = Store::in_memory();
    sealed(&store, &index(), 2).await;
    let mut next = document();
    next.version = 2;
    next.sealers.insert(
        "prod".into(),
        vec![SealerKey {
            key: key(NEXT).public(),
        }],
    );
    let mut roots = roots();
    roots
        .extend(next.sign(&[&key(ROOT)]).unwrap().bytes(), &RingVerifier)
        .unwrap();
    let mut parts = Parts {
        roots: roots.clone(),
        ..parts(&store, &index())
    };
    parts
        .signers
        .insert("prod".into(), Arc::new(FileSigner::new(key(NEXT))));
    let (sealer, _) = Sealer::open(parts).await.unwrap();
    let again = SourceEntry::Known { commit: commit(1) };
    let batch = sealer
        .seal(again, vec![state("metal-fra", &[1])])
        .await
        .unwrap();
    assert_eq!(
        batch.sealed[0].head.desired.generation, 3,
        "the same manifest under the new root"
    );
    let known = Known::new("metal-fra", roots, None);
    let chain: Vec<Link<_>> = sealer
        .chain("metal-fra", 0, 256)
        .unwrap()
        .into_iter()
        .map(Link::bare)
        .collect();
    assert_eq!(
        verify::verify_chain(&known, &chain, &[], None, &RingVerifier)
            .unwrap()
            .generation(),
        3
    );
}
