use super::*;
use countersign_ledger::dsse;
use countersign_ledger::key::FileKey;
use countersign_ledger::manifest::{AppEntry, Manifest, ObjectLine, TombstoneLine};
use countersign_ledger::statement::{Admission, Desired as Statement};
use countersign_ledger::trust::init::FirstRoot;
use countersign_ledger::trust::{ClusterTrust, Level, VerifiedRoot};
use ring::rand::SystemRandom;

const COMMIT: &str = "c0ffee0000000000000000000000000000000000";

/// A fleet of two clusters and its sealer.
struct Fleet {
    roots: Roots,
    sealer: FileKey,
}

fn fleet() -> Fleet {
    let trust = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    let material = FirstRoot {
        fleet: "acme".into(),
        issued: "2026-01-01T00:00:00Z".into(),
        owner: "owner".into(),
        hub_ca: Digest::of(b"ca"),
        clusters: BTreeMap::from([("a".into(), trust.clone()), ("b".into(), trust)]),
    }
    .make(&SystemRandom::new())
    .unwrap();
    Fleet {
        roots: Roots::new(VerifiedRoot::parse(material.trust.bytes(), &RingVerifier).unwrap()),
        sealer: FileKey::from_pem(&material.sealer_keys["prod"]).unwrap(),
    }
}

fn object(name: &str, content: &[u8]) -> Line {
    Line::Object(ObjectLine {
        id: id(name),
        app: "cart".into(),
        commit: COMMIT.into(),
        wave: 3,
        bytes: content.len() as u64,
        content: Content::Plain {
            sha256: Digest::of(content),
        },
    })
}

fn id(name: &str) -> countersign_ledger::identity::ObjectId {
    countersign_ledger::identity::ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: name.into(),
    }
}

fn manifest() -> Manifest {
    let gone = TombstoneLine {
        id: id("gone"),
        app: "cart".into(),
        commit: COMMIT.into(),
    };
    let app = AppEntry {
        name: "cart".into(),
        commit: COMMIT.into(),
        depends_on: vec![],
        exclusive: true,
        health_rules: vec![],
    };
    Manifest::build(vec![object("a", b"{}"), Line::Tombstone(gone)], vec![app]).unwrap()
}

impl Fleet {
    fn seal(&self, cluster: &str, generation: u64, previous: Option<&[u8]>) -> Vec<u8> {
        let statement = Statement {
            manifest: manifest().digest(),
            fleet: "acme".into(),
            cluster: cluster.into(),
            environment: "prod".into(),
            generation,
            previous: previous.map(Digest::of),
            commit: COMMIT.into(),
            source: Digest::of(b"source"),
            renderer: "test".into(),
            admission: Admission {
                policies: None,
                verdicts: None,
            },
            ring: "default".into(),
            trust_root: 1,
            permits: vec![],
        };
        let payload = statement.payload().unwrap();
        let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&self.sealer]).unwrap();
        envelope.bytes().to_vec()
    }

    fn chain(&self) -> Chain {
        Chain::new(Known::new("a", self.roots.clone(), None))
    }
}

fn code(result: Result<(), Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.code(), |()| "OK")
}

#[test]
fn batches_of_one_chain_follow_each_other_and_the_last_counts() {
    let fleet = fleet();
    let one = fleet.seal("a", 1, None);
    let two = fleet.seal("a", 2, Some(&one));
    let mut chain = fleet.chain();
    assert_eq!(code(chain.follow(&Untrusted(vec![one]))), "OK");
    assert_eq!(code(chain.follow(&Untrusted(vec![two.clone()]))), "OK");
    let (statement, envelope) = chain.end().unwrap();
    assert_eq!((statement.generation(), envelope), (2, two));
}

#[test]
fn another_clusters_a_replayed_and_a_skipped_statement_are_refused() {
    let fleet = fleet();
    let one = fleet.seal("a", 1, None);
    let two = fleet.seal("a", 2, Some(&one));
    let three = fleet.seal("a", 3, Some(&two));
    assert_eq!(
        code(
            fleet
                .chain()
                .follow(&Untrusted(vec![fleet.seal("b", 1, None)]))
        ),
        "WRONG_CLUSTER"
    );
    let mut chain = fleet.chain();
    chain.follow(&Untrusted(vec![one.clone(), two])).unwrap();
    assert_eq!(
        code(chain.follow(&Untrusted(vec![one.clone()]))),
        "REPLAYED"
    );
    // A refusal leaves the chain where it stood.
    assert_eq!(code(chain.follow(&Untrusted(vec![three.clone()]))), "OK");
    let mut chain = fleet.chain();
    chain.follow(&Untrusted(vec![one])).unwrap();
    assert_eq!(code(chain.follow(&Untrusted(vec![three]))), "SKIPPED");
}

#[test]
fn what_was_saved_is_checked_again_and_a_flipped_byte_is_found() {
    let fleet = fleet();
    let one = fleet.seal("a", 1, None);
    let two = fleet.seal("a", 2, Some(&one));
    for envelope in [&one, &two] {
        assert!(saved_statement("a", fleet.roots.clone(), envelope).is_ok());
    }
    assert!(saved_statement("b", fleet.roots.clone(), &two).is_err());
    for at in (0..two.len()).step_by(7) {
        let mut changed = two.clone();
        changed[at] ^= 1;
        let found = saved_statement("a", fleet.roots.clone(), &changed);
        // A flipped bit in the hint which key signed changes nothing that is signed.
        assert!(found.is_err() || found.unwrap().desired().manifest == manifest().digest());
    }
}

#[test]
fn a_state_is_complete_only_with_every_blob_checked() {
    let fleet = fleet();
    let manifest = manifest();
    let assemble = || {
        let statement =
            saved_statement("a", fleet.roots.clone(), &fleet.seal("a", 1, None)).unwrap();
        let sections = sections(statement, &Untrusted(manifest.list_bytes())).unwrap();
        let parts: Vec<Vec<u8>> = manifest
            .sections()
            .iter()
            .map(|section| section.bytes().to_vec())
            .chain([manifest.apps_bytes().to_vec()])
            .collect();
        Assembled::new(sections, |digest| {
            parts.iter().find(|part| Digest::of(part) == *digest)
        })
        .unwrap()
    };
    let digest = Digest::of(b"{}");
    assert_eq!(
        assemble().complete(|_| None).unwrap_err().code(),
        "BLOB_MISSING"
    );
    assert_eq!(
        blob(&digest, 2, Untrusted(b"[]")).unwrap_err().code(),
        "BLOB_TAMPERED"
    );
    assert_eq!(
        blob(&digest, 2, Untrusted(b"{ }")).unwrap_err().code(),
        "BLOB_LENGTH"
    );
    let (checked, _) = blob(&digest, 2, Untrusted(b"{}")).unwrap();
    let state = assemble()
        .complete(|name| (*name == digest).then_some(checked))
        .unwrap();
    let desired = desired(&state);
    let want = &desired.objects[&id("a")];
    assert_eq!((&*want.app, want.wave, want.blob), ("cart", 3, digest));
    assert!(desired.tombstones.contains_key(&id("gone")) && desired.apps["cart"].exclusive);
}
