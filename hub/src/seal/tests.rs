//! Sealing, as an agent sees it: what comes out is checked with the agent's own verification.

mod crash;
mod log;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::key::{FileKey, PublicKey, RingVerifier, Sign as _, SignFault};
use countersign_ledger::manifest::{AppEntry, Content, Line, ObjectLine};
use countersign_ledger::statement::{Admission, Source, Verdict};
use countersign_ledger::trust::{
    ClusterTrust, Level, NamedKey, RootRole, Roots, SealerKey, TrustRoot, VerifiedRoot,
};
use countersign_ledger::verify::{self, Known, Link};
use countersign_ledger::{Digest, ObjectId};
use futures::future::BoxFuture;

use super::*;
use crate::store::{Index, Store};

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

const ROOT: u8 = 1;
const PROD: u8 = 10;
const DEV: u8 = 20;

fn document() -> TrustRoot {
    let role = RootRole {
        keys: vec![NamedKey {
            key: key(ROOT).public(),
            name: "ada".into(),
        }],
        threshold: 1,
    };
    let mut document = TrustRoot::new("acme", "2026-11-25T08:00:00Z", role, Digest::of(b"ca"));
    for (environment, cluster, seed) in [("prod", "metal-fra", PROD), ("dev", "kind", DEV)] {
        document.sealers.insert(
            environment.into(),
            vec![SealerKey {
                key: key(seed).public(),
            }],
        );
        let trust = ClusterTrust {
            environment: environment.into(),
            level: Level::Signed,
        };
        document.clusters.insert(cluster.into(), trust);
    }
    document
}

fn roots() -> Roots {
    let signed = document().sign(&[&key(ROOT)]).unwrap();
    Roots::new(VerifiedRoot::parse(signed.bytes(), &RingVerifier).unwrap())
}

fn signers() -> BTreeMap<String, Arc<dyn Signer>> {
    let signer = |seed| Arc::new(FileSigner::new(key(seed))) as Arc<dyn Signer>;
    [
        ("prod".to_owned(), signer(PROD)),
        ("dev".to_owned(), signer(DEV)),
    ]
    .into()
}

fn index() -> Arc<Index> {
    Arc::new(Index::in_memory().unwrap())
}

fn parts(store: &Store, index: &Arc<Index>) -> Parts {
    Parts {
        store: store.clone(),
        index: Arc::clone(index),
        roots: roots(),
        signers: signers(),
        log: None,
    }
}

async fn open(store: &Store) -> Sealer {
    Sealer::open(parts(store, &index())).await.unwrap().0
}

fn commit(n: u64) -> String {
    format!("{n:040x}")
}

fn source(n: u64) -> Source {
    Source {
        fleet: "acme".into(),
        repository: "https://git.example/fleet.git".into(),
        reference: "refs/heads/main".into(),
        old: if n == 0 { String::new() } else { commit(n - 1) },
        new: commit(n),
        tree: commit(n + 1000),
        commit_sha256: Digest::of(commit(n).as_bytes()),
        author: "Ada <ada@example.com>".into(),
        signer: String::new(),
        verdict: Verdict::Unsigned,
    }
}

fn moved(n: u64) -> SourceEntry {
    SourceEntry::Moved(source(n))
}

/// The state of `cluster` with one ConfigMap for each of `contents`.
fn state(cluster: &str, contents: &[u64]) -> Unsealed {
    let mut blobs = BTreeMap::new();
    let lines = contents.iter().enumerate().map(|(place, content)| {
        let bytes = Bytes::from(format!("{{\"content\":{content}}}"));
        let sha256 = Digest::of(&bytes);
        let length = bytes.len() as u64;
        blobs.insert(sha256, bytes);
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: format!("c{place}"),
        };
        Line::Object(ObjectLine {
            id,
            app: "cart".into(),
            commit: commit(0),
            wave: 0,
            bytes: length,
            content: Content::Plain { sha256 },
        })
    });
    let lines = lines.collect();
    let app = AppEntry {
        name: "cart".into(),
        commit: commit(0),
        depends_on: Vec::new(),
        exclusive: false,
        health_rules: Vec::new(),
    };
    Unsealed {
        cluster: cluster.into(),
        environment: if cluster == "kind" {
            "dev".into()
        } else {
            "prod".into()
        },
        lines,
        apps: vec![app],
        blobs,
        renderer: "r1".into(),
        admission: Admission::default(),
        ring: String::new(),
        permits: Vec::new(),
    }
}

/// Takes all that was sealed for `cluster` as its agent would, from nothing to the head.
async fn check_as_agent(sealer: &Sealer, cluster: &str) -> verify::VerifiedState {
    let known = Known::new(cluster, roots(), None);
    let chain: Vec<Link<_>> = sealer
        .chain(cluster, 0, 256)
        .unwrap()
        .into_iter()
        .map(Link::bare)
        .collect();
    let statement = verify::verify_chain(&known, &chain, &[], None, &RingVerifier).unwrap();
    let mut blobs = BTreeMap::new();
    let manifest = sealer
        .manifest(&statement.desired().manifest)
        .await
        .unwrap()
        .unwrap();
    for name in manifest.names() {
        blobs.insert(name, sealer.blob(&name).await.unwrap().unwrap());
    }
    let list = blobs.get(&statement.desired().manifest).unwrap().clone();
    let verified = verify::assemble(statement, &list, |digest| blobs.get(digest)).unwrap();
    verify::complete(verified, |digest| {
        let bytes = blobs.get(digest)?;
        verify::check_blob(digest, bytes.len() as u64, bytes)
            .ok()
            .map(|blob| blob.checked())
    })
    .unwrap()
}

#[tokio::test]
async fn one_commit_is_one_batch_its_source_first() {
    let store = Store::in_memory();
    let sealer = open(&store).await;
    let batch = sealer
        .seal(
            moved(0),
            vec![state("metal-fra", &[1, 2]), state("kind", &[3])],
        )
        .await
        .unwrap();
    assert_eq!(batch.claim, Some(0));
    let clusters: Vec<&str> = batch
        .sealed
        .iter()
        .map(|sealed| sealed.head.desired.cluster.as_str())
        .collect();
    assert_eq!(clusters, ["metal-fra", "kind"]);
    for sealed in &batch.sealed {
        assert_eq!(sealed.head.desired.source, batch.source);
        assert_eq!(sealed.head.desired.generation, 1);
    }
    let staging = store.list("staging", "").await.unwrap();
    let bytes = store
        .get(&format!("staging/{}", staging[0]))
        .await
        .unwrap()
        .unwrap();
    let entries = countersign_ledger::bundle::decode(&bytes).unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(
        countersign_ledger::digest::leaf_hash(entries[0]),
        batch.source
    );
    assert_eq!(entries[1], batch.sealed[0].head.envelope);
}

#[tokio::test]
async fn an_agent_takes_what_was_sealed() {
    let sealer = open(&Store::in_memory()).await;
    for n in 0..4 {
        sealer
            .seal(moved(n), vec![state("metal-fra", &[n, n + 1])])
            .await
            .unwrap();
    }
    let state = check_as_agent(&sealer, "metal-fra").await;
    assert_eq!(state.generation(), 4);
    assert_eq!(state.manifest().lines().len(), 2);
    assert_eq!(state.manifest().statement().desired().commit, commit(3));
}

#[tokio::test]
async fn a_commit_that_changes_no_cluster_costs_one_source_entry() {
    let sealer = open(&Store::in_memory()).await;
    sealer
        .seal(moved(0), vec![state("metal-fra", &[1])])
        .await
        .unwrap();
    let batch = sealer
        .seal(moved(1), vec![state("metal-fra", &[1])])
        .await
        .unwrap();
    assert_eq!((batch.claim, batch.sealed.len()), (Some(1), 0));
    let nothing = sealer.seal(moved(2), Vec::new()).await.unwrap();
    assert_eq!((nothing.claim, nothing.sealed.len()), (Some(2), 0));
    assert_eq!(sealer.chain("metal-fra", 0, 256).unwrap().len(), 1);
    assert_eq!(sealer.last_source().unwrap().unwrap().new, commit(2));
}

#[tokio::test]
async fn a_known_commit_is_sealed_again_without_a_second_source_entry() {
    let sealer = open(&Store::in_memory()).await;
    let first = sealer
        .seal(moved(0), vec![state("metal-fra", &[1])])
        .await
        .unwrap();
    let again = SourceEntry::Known { commit: commit(0) };
    let second = sealer
        .seal(again.clone(), vec![state("metal-fra", &[2])])
        .await
        .unwrap();
    assert_eq!(second.sealed[0].head.desired.source, first.source);
    assert_eq!(second.sealed[0].head.desired.generation, 2);
    let same = sealer
        .seal(again, vec![state("metal-fra", &[2])])
        .await
        .unwrap();
    assert_eq!(
        (same.claim, same.source),
        (None, first.source),
        "nothing to seal, nothing written"
    );
    let unknown = sealer
        .seal(SourceEntry::Known { commit: commit(9) }, Vec::new())
        .await;
    assert!(matches!(unknown, Err(SealError::SourceUnknown(_))));
}

#[tokio::test]
async fn one_changed_object_sends_one_section_and_one_object() {
    let sealer = open(&Store::in_memory()).await;
    let mut contents: Vec<u64> = (0..900).collect();
    sealer
        .seal(moved(0), vec![state("metal-fra", &contents)])
        .await
        .unwrap();
    contents[7] = 10_000;
    let batch = sealer
        .seal(moved(1), vec![state("metal-fra", &contents)])
        .await
        .unwrap();
    let sealed = &batch.sealed[0];
    // The section list, one section, one object.
    assert_eq!(sealed.likely.len(), 3);
    assert_eq!(sealed.likely[0].1, sealed.section_list);
    assert!(sealed.names.len() > 900);
    check_as_agent(&sealer, "metal-fra").await;
}

#[tokio::test]
async fn blobs_that_lie_in_the_store_may_be_left_out() {
    let store = Store::in_memory();
    let sealer = open(&store).await;
    sealer
        .seal(moved(0), vec![state("metal-fra", &[1, 2])])
        .await
        .unwrap();
    let mut partial = state("metal-fra", &[1, 3]);
    partial.blobs.retain(|_, bytes| bytes.ends_with(b"3}"));
    sealer.seal(moved(1), vec![partial.clone()]).await.unwrap();
    // An index that knows of no blob asks the store.
    let sealer = open(&store).await;
    partial.lines.truncate(1);
    partial.blobs.clear();
    sealer.seal(moved(2), vec![partial]).await.unwrap();
    check_as_agent(&sealer, "metal-fra").await;
}

#[tokio::test]
async fn a_state_that_no_agent_could_take_is_not_sealed() {
    let store = Store::in_memory();
    let sealer = open(&store).await;
    let seal = async |change: &dyn Fn(&mut Unsealed)| {
        let mut state = state("metal-fra", &[1, 2]);
        change(&mut state);
        sealer.seal(moved(0), vec![state]).await.unwrap_err()
    };
    assert!(matches!(
        seal(&|state| state.cluster = "stranger".into()).await,
        SealError::ClusterUnknown(_)
    ));
    assert!(matches!(
        seal(&|state| state.environment = "dev".into()).await,
        SealError::Environment { .. }
    ));
    assert!(matches!(
        seal(&|state| state.blobs.clear()).await,
        SealError::BlobMissing { .. }
    ));
    let verdicts = Admission {
        policies: None,
        verdicts: Some(Digest::of(b"v")),
    };
    assert!(matches!(
        seal(&|state| state.admission = verdicts.clone()).await,
        SealError::BlobMissing { .. }
    ));
    let swapped = seal(&|state| {
        state.blobs.insert(Digest::of(b"a"), "b".into());
    });
    assert!(matches!(swapped.await, SealError::BlobMismatch { .. }));
    let longer = seal(&|state| {
        if let Some(Line::Object(object)) = state.lines.first_mut() {
            object.bytes += 1;
        }
    });
    assert!(matches!(longer.await, SealError::BlobMismatch { .. }));
    assert!(matches!(
        seal(&|state| state.apps.clear()).await,
        SealError::Manifest { .. }
    ));
    assert!(matches!(
        seal(&|state| state.renderer = "r".repeat(5000)).await,
        SealError::Statement { .. }
    ));
    let twice = sealer
        .seal(moved(0), vec![state("kind", &[1]), state("kind", &[2])])
        .await;
    assert!(matches!(twice, Err(SealError::ClusterTwice(_))));
    let elsewhere = SourceEntry::Moved(Source {
        fleet: "evil".into(),
        ..source(0)
    });
    assert!(matches!(
        sealer.seal(elsewhere, Vec::new()).await,
        Err(SealError::Fleet { .. })
    ));
    assert!(
        store.list("claims", "").await.unwrap().is_empty(),
        "none of them was claimed"
    );
    sealer
        .seal(moved(0), vec![state("metal-fra", &[1, 2])])
        .await
        .unwrap();
}

/// Says that it is one key and signs with another, or not at all.
struct BadSigner {
    says: PublicKey,
    signs: Option<FileKey>,
}

impl Signer for BadSigner {
    fn public(&self) -> PublicKey {
        self.says
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignFault>> {
        Box::pin(async move {
            match &self.signs {
                Some(key) => key.sign(message),
                None => Err(SignFault("not today".into())),
            }
        })
    }
}

async fn seal_with(signer: BadSigner) -> (SealError, Store) {
    let store = Store::in_memory();
    let mut parts = parts(&store, &index());
    parts.signers.insert("prod".into(), Arc::new(signer));
    let (sealer, _) = Sealer::open(parts).await.unwrap();
    let error = sealer
        .seal(moved(0), vec![state("metal-fra", &[1])])
        .await
        .unwrap_err();
    (error, store)
}

#[tokio::test]
async fn a_signature_that_does_not_verify_is_never_claimed() {
    let says = key(PROD).public();
    let (error, store) = seal_with(BadSigner {
        says,
        signs: Some(key(99)),
    })
    .await;
    assert!(
        matches!(error, SealError::Record(RecordError::Entry { .. })),
        "{error}"
    );
    assert!(store.list("claims", "").await.unwrap().is_empty());
    let (error, _) = seal_with(BadSigner { says, signs: None }).await;
    assert!(matches!(error, SealError::Sign { .. }), "{error}");
}

#[tokio::test]
async fn an_environment_without_a_key_waits_and_a_key_that_is_not_listed_is_refused() {
    let store = Store::in_memory();
    let mut missing = parts(&store, &index());
    missing.signers.remove("dev");
    let (sealer, _) = Sealer::open(missing).await.unwrap();
    assert!(sealer.seals("prod") && !sealer.seals("dev"));
    let mut missing = parts(&store, &index());
    missing.signers.clear();
    assert!(matches!(
        Sealer::open(missing).await.err(),
        Some(OpenError::SignerMissing(_))
    ));
    let mut swapped = parts(&store, &index());
    swapped
        .signers
        .insert("prod".into(), Arc::new(FileSigner::new(key(DEV))));
    assert!(matches!(
        Sealer::open(swapped).await.err(),
        Some(OpenError::SignerUnknown { .. })
    ));
}
