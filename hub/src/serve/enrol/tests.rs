//! A hub that dies at any write to its log leaves no key that speaks twice, none that speaks on, and none that is forgotten.

use std::collections::BTreeMap;

use countersign_ledger::key::FileKey;
use countersign_ledger::key::Sign as _;
use countersign_ledger::statement::enrolment::Method;
use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::log;
use crate::seal::FileSigner;
use crate::serve::heads::{Sealed, SealedFault};
use crate::serve::join::Issuers;
use crate::serve::registry::Candidate;
use crate::serve::{Authority, Clock, Member, Metrics, Setup, Trust};
use crate::store::failing::{FLAVOURS, FailAt, Flavour};
use crate::store::{Index, Objects, Store};

struct Nothing;

impl Sealed for Nothing {
    fn envelopes<'a>(
        &'a self,
        _: &'a str,
        _: u64,
        _: usize,
    ) -> futures::future::BoxFuture<'a, Result<Vec<Bytes>, SealedFault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn blob<'a>(
        &'a self,
        _: &'a Digest,
    ) -> futures::future::BoxFuture<'a, Result<Option<Bytes>, SealedFault>> {
        Box::pin(async { Ok(None) })
    }
}

/// One life of a hub.
struct Life {
    state: Arc<State>,
    log: Log,
    stop: CancellationToken,
}

impl Life {
    async fn new(store: Store, index: Arc<Index>, records: &Arc<InMemory>) -> Option<Self> {
        let stop = CancellationToken::new();
        let parts = log::Parts {
            stop: stop.clone(),
            ..log::tests::parts()
        };
        let log = Log::open(store, index, parts).await.ok()?;
        let (key, ca) = crate::serve::tests::authority();
        let member = Member {
            environment: "prod".into(),
            level: "signed".into(),
        };
        let setup = Setup {
            guests: Default::default(),
            fleet: "acme".into(),
            trust: Trust {
                clusters: BTreeMap::from([("metal".to_owned(), member)]),
                ..Trust::default()
            },
            authority: Authority::load(&key, &ca).unwrap(),
            sealed: Arc::new(Nothing),
            commits: None,
            log: Some(log.clone()),
            agent_ca: Some(Arc::new(FileSigner::new(key_of(43)))),
            issuers: Issuers::default(),
            store: records.clone(),
            wake: Arc::new(|| {}),
            agents_url: String::new(),
            clock: Clock::from_fn(|| jiff::Timestamp::from_second(1_800_000_000).unwrap()),
            metrics: Metrics::default(),
        };
        let state = State::open(setup).await.unwrap();
        state.set_ready(true);
        Some(Self { state, log, stop })
    }

    async fn end(self) {
        self.stop.cancel();
        drop(self.state);
        self.log.ended().await;
    }

    /// One agent joins, another takes its place, and that one is revoked; it ends at the first fault.
    async fn live(&self) -> Result<(), Status> {
        settle(&self.state).await.map_err(|error| fault(&error))?;
        for (seed, replace) in [(1, false), (2, true)] {
            let newest = self.state.registration("metal");
            if newest.is_none_or(|newest| newest.key != key_of(2).public().0) {
                let asked = candidate(seed, replace);
                let now = self.state.now();
                self.state.registry.register(&asked, now).await.unwrap();
                settle_one(&self.state, "metal")
                    .await
                    .map_err(|error| fault(&error))?;
                self.enrol(seed).await?;
            } else if seed == 2 && self.state.registry.all_revoked().is_empty() {
                self.enrol(seed).await?;
            }
        }
        let done = crate::serve::revoke::revoke(&self.state, "metal", "stolen", "uid 0").await;
        match done
            .unwrap_or_else(|_| panic!("records never fail here"))
            .pending
        {
            None => Ok(()),
            Some(pending) => Err(Status::unavailable(pending)),
        }
    }

    async fn enrol(&self, seed: u8) -> Result<(), Status> {
        let key = key_of(seed);
        let peer = Arc::new(Peer {
            cluster: "metal".into(),
            key: key.public().0,
            not_before: 0,
            not_after: i64::MAX,
        });
        let cluster = self.state.cluster("metal").unwrap();
        let mut request = wire::EnrolRequest::default();
        let ask = |request| enrol(self.state.clone(), peer.clone(), cluster.clone(), request);
        let offered = ask(request.clone()).await?;
        if offered.entry.is_none() {
            let message = dsse::pae(PAYLOAD_TYPE, &offered.payload);
            request.signature = Bytes::copy_from_slice(&key.sign(&message).unwrap());
            request.payload = offered.payload;
            assert!(ask(request).await?.entry.is_some());
        }
        Ok(())
    }
}

fn key_of(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn candidate(seed: u8, replace: bool) -> Candidate {
    Candidate {
        cluster: "metal".into(),
        key: key_of(seed).public().0,
        recipient: format!("age1{seed}"),
        cluster_uid: "uid".into(),
        ca_fingerprint: "ab".repeat(32),
        kubernetes: "v1.35.4".into(),
        token: "t".into(),
        method: Method::Token,
        replace,
    }
}

/// Who spoke from when to when, as the log says.
async fn told(log: &Log) -> Vec<String> {
    let mut told = Vec::new();
    let mut index = 0;
    let name = |key: &PublicKey| {
        let seed = (1..=2).find(|seed| key_of(*seed).public() == *key);
        seed.unwrap().to_string()
    };
    while let Some(entry) = log.entry(index).await.unwrap() {
        let envelope = Envelope::parse(&entry, &Limits::entry()).unwrap();
        told.push(match Statement::parse(envelope.payload()).unwrap() {
            Statement::Enrolment(said) => {
                let keys = [key_of(43).public(), said.receipt_key];
                assert_eq!(envelope.signed_by(&keys, &RingVerifier).len(), 2);
                format!("{} enrolled as {}", name(&said.receipt_key), said.number)
            }
            Statement::Revocation(said) => format!("{} revoked", name(&said.key)),
            other => panic!("{other:?}"),
        });
        index += 1;
    }
    told
}

const WANTED: [&str; 4] = [
    "1 enrolled as 1",
    "1 revoked",
    "2 enrolled as 2",
    "2 revoked",
];

#[tokio::test]
async fn a_hub_that_dies_at_any_write_goes_on_where_the_log_ends() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut at = 0;
    loop {
        let mut reached = false;
        for flavour in FLAVOURS {
            let what = format!("write {at}, {flavour:?}");
            let inner = Arc::new(Objects::in_memory());
            let records = Arc::new(InMemory::new());
            let failing = FailAt::new(inner.clone(), at, flavour, false);
            let store = Store::new(failing.clone());
            if let Some(life) = Life::new(store, log::tests::index(), &records).await {
                let _ = life.live().await;
                reached |= failing.failed();
                life.end().await;
            }
            let mut lives = 0;
            let log = loop {
                let whole = FailAt::new(inner.clone(), u64::MAX, Flavour::NotDone, true);
                let life = Life::new(Store::new(whole), log::tests::index(), &records).await;
                let life = life.unwrap();
                let lived = life.live().await;
                lives += 1;
                match lived {
                    Ok(()) => break life.log.clone(),
                    // A claim that hung came through in between: the next life reads it.
                    Err(_) if lives < 3 => life.end().await,
                    Err(status) => panic!("{what}: {status}"),
                }
            };
            assert_eq!(told(&log).await, WANTED, "{what}");
        }
        if !reached {
            assert!(at > 4, "the sweep must reach every write");
            return;
        }
        at += 1;
    }
}
