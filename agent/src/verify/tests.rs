use super::*;
use std::collections::BTreeMap;

use countersign_ledger::dsse;
use countersign_ledger::key::FileKey;
use countersign_ledger::manifest::{AppEntry, Content, Manifest, ObjectLine, TombstoneLine};
use countersign_ledger::statement::{Admission, Desired as Statement};
use countersign_ledger::trust::TrustRoot;
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
    // A fleet without a log: what stands in one is checked in the ledger crate.
    let mut document = TrustRoot::parse(material.trust.payload()).unwrap();
    document.log = None;
    let root = FileKey::from_pem(material.root_key.as_ref().unwrap()).unwrap();
    let trust = document.sign(&[&root]).unwrap();
    Fleet {
        roots: Roots::new(VerifiedRoot::parse(trust.bytes(), &RingVerifier).unwrap()),
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
        self.seal_manifest(cluster, generation, previous, manifest().digest())
    }

    fn seal_manifest(
        &self,
        cluster: &str,
        generation: u64,
        previous: Option<&[u8]>,
        manifest: Digest,
    ) -> Vec<u8> {
        let statement = Statement {
            manifest,
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

/// Statements of a fleet without a log.
fn batch<E: Into<Bytes>>(envelopes: impl IntoIterator<Item = E>) -> Untrusted<Batch> {
    Untrusted(Batch {
        links: envelopes
            .into_iter()
            .map(|envelope| Link::bare(envelope.into()))
            .collect(),
        ..Batch::default()
    })
}

const NOW: u64 = 1_700_000_000;

fn part(mut batch: Untrusted<Batch>, objects: &[&'static [u8]]) -> Untrusted<Batch> {
    batch.0.more = true;
    batch.0.git_objects = objects
        .iter()
        .map(|bytes| Bytes::from_static(bytes))
        .collect();
    batch
}

#[test]
fn a_chain_that_comes_in_parts_ends_at_its_head_with_all_objects_in_order() {
    let fleet = fleet();
    let one = fleet.seal("a", 1, None);
    let two = fleet.seal("a", 2, Some(&one));
    let none = Vec::<Bytes>::new;
    let mut chain = fleet.chain();
    assert!(chain.is_empty());
    chain.follow(&part(batch([one]), &[]), NOW).unwrap();
    assert!(!chain.is_empty());
    for objects in [&[&b"1"[..], b"2"][..], &[b"3"]] {
        chain.follow(&part(batch(none()), objects), NOW).unwrap();
    }
    let mut last = batch([two]);
    last.0.git_objects = vec![Bytes::from_static(b"4")];
    chain.follow(&last, NOW).unwrap();
    let end = chain.end().unwrap();
    assert_eq!(end.statement.generation(), 2);
    assert_eq!(end.git_objects.0, ["1", "2", "3", "4"]);
}

#[test]
fn a_part_alone_is_nothing_to_apply() {
    let fleet = fleet();
    let mut chain = fleet.chain();
    let one = batch([fleet.seal("a", 1, None)]);
    chain.follow(&part(one, &[]), NOW).unwrap();
    assert!(chain.end().is_none());
}

#[test]
fn more_objects_than_a_judge_looks_at_are_refused_when_they_come() {
    let fleet = fleet();
    let mut chain = fleet.chain();
    let mut flood = part(batch(Vec::<Bytes>::new()), &[]);
    flood.0.git_objects = vec![Bytes::from(vec![0; 12 << 20])];
    assert_eq!(code(chain.follow(&flood, NOW)), "OK");
    assert_eq!(code(chain.follow(&flood, NOW)), "OK");
    assert_eq!(code(chain.follow(&flood, NOW)), "COMMIT_LIMIT");
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
    assert_eq!(code(chain.follow(&batch([one]), NOW)), "OK");
    assert_eq!(code(chain.follow(&batch([two.clone()]), NOW)), "OK");
    let end = chain.end().unwrap();
    assert_eq!(
        (end.statement.generation(), &end.envelope[..]),
        (2, &two[..])
    );
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
                .follow(&batch([fleet.seal("b", 1, None)]), NOW)
        ),
        "WRONG_CLUSTER"
    );
    let mut chain = fleet.chain();
    chain.follow(&batch([one.clone(), two]), NOW).unwrap();
    assert_eq!(code(chain.follow(&batch([one.clone()]), NOW)), "REPLAYED");
    // A refusal leaves the chain where it stood.
    assert_eq!(code(chain.follow(&batch([three.clone()]), NOW)), "OK");
    let mut chain = fleet.chain();
    chain.follow(&batch([one]), NOW).unwrap();
    assert_eq!(code(chain.follow(&batch([three]), NOW)), "SKIPPED");
}

#[test]
fn what_was_saved_is_checked_again_and_a_flipped_byte_is_found() {
    let fleet = fleet();
    let one = fleet.seal("a", 1, None);
    let two = fleet.seal("a", 2, Some(&one));
    for envelope in [&one, &two] {
        assert!(saved_statement("a", fleet.roots.clone(), envelope, None).is_ok());
    }
    assert!(saved_statement("b", fleet.roots.clone(), &two, None).is_err());
    for at in (0..two.len()).step_by(7) {
        let mut changed = two.clone();
        changed[at] ^= 1;
        let found = saved_statement("a", fleet.roots.clone(), &changed, None);
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
            saved_statement("a", fleet.roots.clone(), &fleet.seal("a", 1, None), None).unwrap();
        let sections = sections(statement, &Untrusted(manifest.list_bytes())).unwrap();
        let parts: Vec<Vec<u8>> = manifest
            .sections()
            .iter()
            .map(|section| section.bytes().to_vec())
            .chain([manifest.apps_bytes().to_vec()])
            .collect();
        Assembled::new(sections, None, |digest| {
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
    let kept = assemble()
        .complete(|name| (*name == digest).then_some(checked))
        .unwrap();
    let desired = kept.desired();
    let want = desired.objects.get(&id("a")).unwrap();
    assert_eq!((&*want.app, want.wave, want.blob), ("cart", 3, digest));
    assert!(desired.tombstones.contains_key(&id("gone")) && desired.apps["cart"].exclusive);
}

mod after_another {
    use proptest::prelude::*;

    use super::*;
    use countersign_ledger::manifest::OrphanLine;

    /// What stands for an identity: an object of one of a few contents, a tombstone, an orphan.
    fn line(number: u16, what: u8) -> Line {
        let (id, commit) = (id(&format!("{number:04}")), COMMIT.to_owned());
        match what {
            0 => Line::Tombstone(TombstoneLine {
                id,
                app: "gone".into(),
                commit,
            }),
            1 => Line::Orphan(OrphanLine {
                id,
                app: "cart".into(),
                commit,
                reason: "dropped".into(),
            }),
            what => object(&id.name, &[what]),
        }
    }

    struct Chained {
        fleet: Fleet,
        chain: Vec<u8>,
        generation: u64,
    }

    impl Chained {
        /// Seals the lines as the next state, and reads it with and without the one before.
        fn next(&mut self, lines: &BTreeMap<u16, u8>, before: Option<Kept>) -> (Kept, Kept) {
            let lines = lines.iter().map(|(id, what)| line(*id, *what)).collect();
            let app = AppEntry {
                name: "cart".into(),
                commit: self.generation.to_string(),
                depends_on: vec![],
                exclusive: false,
                health_rules: vec![],
            };
            let manifest = Manifest::build(lines, vec![app]).unwrap();
            let previous = (self.generation > 0).then_some(self.chain.as_slice());
            let last = previous.map(|envelope| verify::Last {
                generation: self.generation,
                envelope: Digest::of(envelope),
                trust_root: 1,
                index: None,
            });
            self.generation += 1;
            let envelope =
                self.fleet
                    .seal_manifest("a", self.generation, previous, manifest.digest());
            let read = |before: Option<Kept>| {
                let mut chain = Chain::new(Known::new("a", self.fleet.roots.clone(), last));
                chain.follow(&batch([envelope.clone()]), NOW).unwrap();
                let End { statement, .. } = chain.end().unwrap();
                let sections = sections(statement, &Untrusted(manifest.list_bytes())).unwrap();
                let parts: BTreeMap<Digest, &[u8]> = manifest
                    .sections()
                    .iter()
                    .map(|section| section.bytes())
                    .chain([manifest.apps_bytes()])
                    .map(|bytes| (Digest::of(bytes), bytes))
                    .collect();
                let assembled =
                    Assembled::new(sections, before, |digest| parts.get(digest).copied()).unwrap();
                let contents: BTreeMap<Digest, Checked> = (2..6u8)
                    .map(|content| {
                        let digest = Digest::of(&[content]);
                        let (checked, _) = blob(&digest, 1, Untrusted([content])).unwrap();
                        (digest, checked)
                    })
                    .collect();
                assembled
                    .complete(|digest| contents.get(digest).copied())
                    .unwrap()
            };
            let both = (read(before), read(None));
            self.chain = envelope;
            both
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// A state that is read at the price of what it changes is the same as one that is read whole.
        #[test]
        fn a_state_read_after_another_is_the_same_as_one_read_whole(
            first in proptest::collection::btree_map(0u16..900, 0u8..6, 200..700),
            steps in proptest::collection::vec(proptest::collection::btree_map(0u16..900, proptest::option::of(0u8..6), 0..60), 1..4),
        ) {
            let mut chained = Chained { fleet: fleet(), chain: Vec::new(), generation: 0 };
            let mut lines = first;
            let (mut kept, whole) = chained.next(&lines, None);
            prop_assert_eq!(kept.desired(), whole.desired());
            for step in steps {
                for (id, what) in step {
                    match what {
                        Some(what) => lines.insert(id, what),
                        None => lines.remove(&id),
                    };
                }
                let (after, whole) = chained.next(&lines, Some(kept));
                prop_assert_eq!(after.desired(), whole.desired());
                prop_assert_eq!(after.manifest(), whole.manifest());
                prop_assert_eq!(after.blobs().collect::<Vec<_>>(), whole.blobs().collect::<Vec<_>>());
                kept = after;
            }
        }
    }
}
