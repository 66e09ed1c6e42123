//! What the store relies on: of many who create the same key, exactly one succeeds, on S3 as on a local disk.

use std::sync::Arc;

use countersign_tests::s3::S3;
use futures::future::join_all;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, local::LocalFileSystem,
    path::Path,
};

const WRITERS: usize = 8;
const ROUNDS: usize = 10;

async fn one_winner_a_key(store: &Arc<dyn ObjectStore>) {
    for round in 0..ROUNDS {
        let key = Path::from(format!("claims/{round:020}"));
        let create = |writer: usize| {
            let (store, key) = (Arc::clone(store), key.clone());
            async move {
                store
                    .put_opts(
                        &key,
                        PutPayload::from(format!("{writer}")),
                        PutMode::Create.into(),
                    )
                    .await
            }
        };
        let results = join_all((0..WRITERS).map(create)).await;
        let winners: Vec<usize> = (0..WRITERS)
            .filter(|&writer| results[writer].is_ok())
            .collect();
        let [winner] = winners[..] else {
            panic!("round {round}: winners are {winners:?}")
        };
        for lost in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(lost, Error::AlreadyExists { .. }), "{lost:?}");
        }
        let kept = store.get(&key).await.unwrap().bytes().await.unwrap();
        assert_eq!(kept, winner.to_string().as_bytes());
    }
}

#[tokio::test]
async fn s3_creates_a_key_once() {
    let s3 = S3::start("ledger").await.unwrap();
    one_winner_a_key(&s3.store().unwrap()).await;
}

#[tokio::test]
async fn a_local_disk_creates_a_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(
        LocalFileSystem::new_with_prefix(folder.path())
            .unwrap()
            .with_fsync(true),
    );
    one_winner_a_key(&store).await;
}
