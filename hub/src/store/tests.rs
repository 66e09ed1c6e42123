use std::sync::Arc;

use super::failing::{FailAt, Flavour};
use super::*;

fn folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Folder(folder.path().join("store"))).unwrap();
    (folder, store)
}

async fn check_create_if_absent(store: &Store) {
    let path = "claims/00000000000000000000";
    assert_eq!(store.get(path).await.unwrap(), None);
    assert!(!store.exists(path).await.unwrap());
    assert_eq!(store.create(path, "a".into()).await.unwrap(), Created::Ours);
    assert_eq!(
        store.create(path, "a".into()).await.unwrap(),
        Created::Ours,
        "the same bytes again"
    );
    assert_eq!(
        store.create(path, "b".into()).await.unwrap(),
        Created::Theirs("a".into())
    );
    assert_eq!(store.get(path).await.unwrap(), Some("a".into()));
    assert!(store.exists(path).await.unwrap());
}

async fn check_list(store: &Store) {
    for name in ["c", "a", "b"] {
        store
            .create(&format!("names/{name}"), "x".into())
            .await
            .unwrap();
    }
    assert_eq!(store.list("names", "").await.unwrap(), ["a", "b", "c"]);
    assert_eq!(store.list("names", "a").await.unwrap(), ["b", "c"]);
    assert!(store.list("names", "c").await.unwrap().is_empty());
    assert!(store.list("nothing", "").await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_first_bytes_under_a_path_stay() {
    let (_folder, store) = folder();
    for store in [store, Store::in_memory()] {
        check_create_if_absent(&store).await;
        check_list(&store).await;
    }
}

#[tokio::test]
async fn the_checkpoint_alone_is_replaced_and_leaves_nothing_behind() {
    let (folder, on_disk) = folder();
    for store in [on_disk, Store::in_memory()] {
        for text in ["a", "longer", "b"] {
            store.put(CHECKPOINT, text.into()).await.unwrap();
            assert_eq!(store.get(CHECKPOINT).await.unwrap(), Some(text.into()));
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.path().join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [CHECKPOINT]);
}

#[tokio::test]
async fn of_many_writers_of_one_path_one_wins() {
    let (_folder, store) = folder();
    let writers = (0..16_u8).map(|n| {
        let store = store.clone();
        async move {
            store
                .create("claims/1", Bytes::from(vec![n]))
                .await
                .unwrap()
                == Created::Ours
        }
    });
    let won = futures::future::join_all(writers).await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_found_by_reading_back() {
    let inner = Arc::new(Objects::in_memory());
    let store = Store::new(FailAt::new(
        Arc::clone(&inner),
        0,
        Flavour::DoneButFailed,
        true,
    ));
    assert_eq!(store.create("a", "x".into()).await.unwrap(), Created::Ours);
    let store = Store::new(FailAt::new(inner, 0, Flavour::NotDone, true));
    assert!(store.create("b", "x".into()).await.is_err());
    assert_eq!(
        store.create("a", "y".into()).await.unwrap(),
        Created::Theirs("x".into())
    );
}

#[tokio::test]
async fn a_blob_lies_under_its_digest_and_a_changed_one_is_found() {
    let (folder, store) = folder();
    let digest = store.put_blob("abc".into()).await.unwrap();
    assert_eq!(
        store.put_blob("abc".into()).await.unwrap(),
        digest,
        "twice is once"
    );
    assert_eq!(store.blob(&digest).await.unwrap(), Some("abc".into()));
    assert_eq!(store.blob(&Digest::of(b"other")).await.unwrap(), None);
    let path = folder.path().join("store").join(blob_path(&digest));
    assert!(
        path.ends_with("blobs/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    );
    std::fs::write(path, "abd").unwrap();
    assert!(matches!(
        store.blob(&digest).await,
        Err(BlobError::Tampered { .. })
    ));
    assert!(matches!(
        store.put_blob("abc".into()).await,
        Err(BlobError::Tampered { .. })
    ));
}
