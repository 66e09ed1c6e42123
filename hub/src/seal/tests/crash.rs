//! Fail each write once, in each flavour; reopen; nothing that was acknowledged is missing, and no generation is used
//! twice.

use super::*;
use crate::store::failing::{FLAVOURS, FailAt, Flavour};
use crate::store::{Backend, Objects, StoreFault, Written};

/// Envelopes that were acknowledged, by cluster and generation.
type Acknowledged = BTreeMap<(String, u64), Bytes>;

const CLUSTERS: [&str; 2] = ["metal-fra", "kind"];

/// Seals `commits` commits; stops at the first error.
async fn seal_until_error(
    store: &Store,
    index: &Arc<Index>,
    commits: std::ops::Range<u64>,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let Ok((sealer, _)) = Sealer::open(parts(store, index)).await else {
        return acknowledged;
    };
    for n in commits {
        let states = CLUSTERS
            .iter()
            .map(|cluster| state(cluster, &[n, n + 1]))
            .collect();
        let Ok(batch) = sealer.seal(moved(n), states).await else {
            break;
        };
        for sealed in batch.sealed {
            let head = &sealed.head;
            acknowledged.insert(
                (head.desired.cluster.clone(), head.desired.generation),
                head.envelope.clone(),
            );
        }
    }
    acknowledged
}

/// Reopens on a whole store: all that was acknowledged is there, each chain is one that an agent takes, sealing goes on.
async fn check_reopened(
    inner: &Arc<Objects>,
    index: &Arc<Index>,
    acknowledged: &Acknowledged,
    what: &str,
) {
    let store = Store::new(FailAt::new(
        Arc::clone(inner),
        u64::MAX,
        Flavour::NotDone,
        true,
    ));
    let (sealer, heads) = Sealer::open(parts(&store, index))
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let chains: BTreeMap<&str, Vec<Bytes>> = CLUSTERS
        .iter()
        .map(|cluster| (*cluster, sealer.chain(cluster, 0, 256).unwrap()))
        .collect();
    for ((cluster, generation), envelope) in acknowledged {
        let place = usize::try_from(generation - 1).unwrap();
        assert_eq!(
            chains[cluster.as_str()].get(place),
            Some(envelope),
            "{what}: {cluster} {generation}"
        );
    }
    for cluster in CLUSTERS {
        assert_eq!(
            heads.get(cluster).map_or(0, |head| head.desired.generation),
            chains[cluster].len() as u64,
            "{what}"
        );
    }
    let states = CLUSTERS
        .iter()
        .map(|cluster| state(cluster, &[77]))
        .collect();
    match sealer.seal(moved(50), states).await {
        Ok(_) => {}
        // A write that hung came through in between: that is another sealer's claim, and the next one goes on.
        Err(SealError::ClaimLost { .. }) => {
            let (sealer, _) = Sealer::open(parts(&store, index)).await.unwrap();
            let states = CLUSTERS
                .iter()
                .map(|cluster| state(cluster, &[77]))
                .collect();
            sealer
                .seal(moved(50), states)
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        Err(error) => panic!("{what}: {error}"),
    }
    let (sealer, _) = Sealer::open(parts(&store, &super::index())).await.unwrap();
    for cluster in CLUSTERS {
        check_as_agent(&sealer, cluster).await;
    }
}

/// Runs every case until the first write that is never reached; returns how many were.
async fn sweep(goes_on: bool, index_survives: bool) -> u64 {
    let mut cases = 0;
    for flavour in FLAVOURS {
        for at in 0.. {
            let what = format!("{flavour:?} at write {at}");
            let (inner, index) = (Arc::new(Objects::in_memory()), super::index());
            let failing = FailAt::new(Arc::clone(&inner), at, flavour, goes_on);
            let acknowledged = seal_until_error(&Store::new(failing.clone()), &index, 0..2).await;
            if !failing.failed() {
                assert_eq!(acknowledged.len(), 4, "{what}");
                break;
            }
            let index = if index_survives {
                index
            } else {
                super::index()
            };
            check_reopened(&inner, &index, &acknowledged, &what).await;
            cases += 1;
        }
    }
    cases
}

#[tokio::test]
async fn a_failed_write_loses_nothing_acknowledged() {
    assert!(sweep(true, true).await > 40);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    assert!(sweep(false, true).await > 40);
}

#[tokio::test]
async fn a_killed_process_that_loses_its_index_too_loses_nothing_acknowledged() {
    assert!(sweep(false, false).await > 40);
}

#[tokio::test]
async fn a_process_that_is_killed_again_and_again_gets_on() {
    let inner = Arc::new(Objects::in_memory());
    let mut acknowledged = Acknowledged::new();
    for round in 0..40 {
        let flavour = FLAVOURS[usize::try_from(round % 3).unwrap()];
        let failing = FailAt::new(Arc::clone(&inner), (round * 7) % 31, flavour, false);
        let got = seal_until_error(
            &Store::new(failing),
            &super::index(),
            round * 10..round * 10 + 3,
        )
        .await;
        for (place, envelope) in got {
            let before = acknowledged.insert(place.clone(), envelope.clone());
            assert!(before.is_none(), "{place:?} was acknowledged twice");
        }
    }
    assert!(acknowledged.len() > 20);
    check_reopened(&inner, &super::index(), &acknowledged, "after 40 kills").await;
}

#[tokio::test]
async fn a_claim_whose_fate_is_not_known_stops_the_sealer() {
    // Writes of the first batch: the trust root, then 2 clusters' parts and objects, the staging object, the claim.
    for at in 0.. {
        let (inner, index) = (Arc::new(Objects::in_memory()), super::index());
        let failing = FailAt::new(Arc::clone(&inner), at, Flavour::NotDone, true);
        let store = Store::new(failing.clone());
        let Ok((sealer, _)) = Sealer::open(parts(&store, &index)).await else {
            continue;
        };
        match sealer.seal(moved(0), vec![state("metal-fra", &[1])]).await {
            // Before the claim nothing has happened: the same sealer tries again.
            Err(SealError::Blob(_) | SealError::Store(_)) => {
                sealer
                    .seal(moved(0), vec![state("metal-fra", &[1])])
                    .await
                    .unwrap();
            }
            Err(SealError::ClaimUnknown { number: 0, .. }) => {
                let again = sealer.seal(moved(0), vec![state("metal-fra", &[1])]).await;
                assert!(matches!(again, Err(SealError::Stopped)));
                return;
            }
            Err(other) => panic!("write {at}: {other}"),
            Ok(_) => panic!("the claim was never reached"),
        }
    }
}

/// A store on which no claim is ever answered.
struct Hanging {
    inner: Objects,
    reached: Arc<tokio::sync::Notify>,
}

impl Backend for Hanging {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreFault>> {
        self.inner.get(path)
    }

    fn exists<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bool, StoreFault>> {
        self.inner.exists(path)
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Written, StoreFault>> {
        if path.starts_with("claims/") {
            self.reached.notify_one();
            return Box::pin(std::future::pending());
        }
        self.inner.create(path, bytes)
    }

    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inner.put(path, bytes)
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inner.remove(path)
    }

    fn list<'a>(
        &'a self,
        folder: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreFault>> {
        self.inner.list(folder, after)
    }
}

#[tokio::test]
async fn a_seal_that_is_dropped_while_it_claims_stops_the_sealer() {
    let reached = Arc::new(tokio::sync::Notify::new());
    let store = Store::new(Hanging {
        inner: Objects::in_memory(),
        reached: Arc::clone(&reached),
    });
    let sealer = open(&store).await;
    tokio::select! {
        sealed = sealer.seal(moved(0), vec![state("metal-fra", &[1])]) => panic!("{sealed:?}"),
        () = reached.notified() => {}
    }
    let again = sealer
        .seal(moved(0), vec![state("metal-fra", &[1])])
        .await
        .unwrap_err();
    assert_eq!(
        (again.next(), matches!(again, SealError::Stopped)),
        (Next::Reopen, true)
    );
}
