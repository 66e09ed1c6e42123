use std::collections::BTreeMap;

use crate::Digest;
use crate::Refusal;
use crate::dsse::{self, Envelope};
use crate::key::{FileKey, PublicKey, RingVerifier, Sign};

use super::init::{FirstRoot, Held, InitError};
use super::*;

mod draft;
mod roles;
mod windows;

/// The key of a fleet's log.
fn vkey(fleet: &str, seed: u8) -> String {
    use crate::tlog::note::{KeyKind, Vkey};
    Vkey::new(&log_name(fleet), KeyKind::Ed25519, key(seed).public())
        .unwrap()
        .to_string()
}

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn role(seeds: &[u8], threshold: usize) -> RootRole {
    let keys = seeds
        .iter()
        .map(|seed| NamedKey {
            key: key(*seed).public(),
            name: format!("person {seed}"),
        })
        .collect();
    RootRole { keys, threshold }
}

fn document(version: u64, seeds: &[u8], threshold: usize) -> TrustRoot {
    let mut document = TrustRoot::new(
        "acme",
        "2026-11-25T08:00:00Z",
        role(seeds, threshold),
        Digest::of(b"ca"),
    );
    document.version = version;
    document.sealers.insert(
        "prod".into(),
        vec![SealerKey {
            key: key(100).public(),
        }],
    );
    let cluster = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    document.clusters.insert("metal-fra".into(), cluster);
    document
}

fn signed(document: &TrustRoot, seeds: &[u8]) -> Envelope {
    let keys: Vec<FileKey> = seeds.iter().map(|seed| key(*seed)).collect();
    let signers: Vec<&dyn Sign> = keys.iter().map(|key| key as &dyn Sign).collect();
    document.sign(&signers).unwrap()
}

/// Signs content that the builder would refuse.
fn forged(document: &TrustRoot, seeds: &[u8]) -> Envelope {
    let keys: Vec<FileKey> = seeds.iter().map(|seed| key(*seed)).collect();
    let signers: Vec<&dyn Sign> = keys.iter().map(|key| key as &dyn Sign).collect();
    let payload = crate::json::canonical(&serde_json::to_value(document).unwrap()).unwrap();
    dsse::sign(super::document::PAYLOAD_TYPE, &payload, &signers).unwrap()
}

fn parse(envelope: &Envelope) -> Result<VerifiedRoot, Refusal> {
    VerifiedRoot::parse(envelope.bytes(), &RingVerifier)
}

#[test]
fn a_root_that_meets_its_own_threshold_is_read_back() {
    let document = document(1, &[1, 2, 3], 2);
    let root = parse(&signed(&document, &[1, 3])).unwrap();
    assert_eq!(*root.document(), document);
    assert_eq!(
        root.sealers("prod").collect::<Vec<_>>(),
        [&key(100).public()]
    );
    assert_eq!(root.sealers("dev").count(), 0);
    assert_eq!(
        root.cluster("other"),
        Err(Refusal::ClusterUnknown {
            cluster: "other".into()
        })
    );
}

#[test]
fn a_root_below_its_own_threshold_is_refused_however_often_one_key_signs() {
    let document = document(1, &[1, 2, 3], 2);
    for seeds in [&[1][..], &[1, 1], &[1, 100], &[]] {
        let refused = parse(&signed(&document, seeds)).unwrap_err();
        assert!(
            matches!(refused, Refusal::TrustRootSignatures { want: 2, .. }),
            "{seeds:?}: {refused}"
        );
    }
}

#[test]
fn thresholds_that_nobody_or_everybody_meets_are_refused() {
    for threshold in [0, 4] {
        let document = document(1, &[1, 2, 3], threshold);
        assert_eq!(
            document.payload(),
            Err(TrustRootError::Threshold {
                keys: 3,
                got: threshold
            })
        );
        assert!(matches!(
            parse(&forged(&document, &[1, 2, 3])),
            Err(Refusal::TrustRootMalformed { .. })
        ));
    }
}

#[test]
fn a_key_has_one_role() {
    let twice = document(1, &[1, 1], 2);
    assert!(
        matches!(twice.check(), Err(TrustRootError::KeyTwice { .. })),
        "one person counted twice"
    );
    let online = document(1, &[100], 1);
    assert!(
        matches!(online.check(), Err(TrustRootError::KeyTwice { .. })),
        "a root key that seals"
    );
    let mut shared = document(1, &[1], 1);
    shared.sealers.insert(
        "dev".into(),
        vec![SealerKey {
            key: key(100).public(),
        }],
    );
    assert!(
        matches!(shared.check(), Err(TrustRootError::KeyTwice { .. })),
        "two environments, one sealer"
    );
}

#[test]
fn content_that_can_not_be_is_refused() {
    type Change = fn(&mut TrustRoot);
    let cases: [(&str, Change); 7] = [
        ("version 0", |d| d.version = 0),
        ("no fleet", |d| d.fleet.clear()),
        ("an environment without sealers", |d| d.sealers.clear()),
        ("an empty list of sealers", |d| {
            d.sealers.values_mut().for_each(Vec::clear)
        }),
        ("a cluster that is no name", |d| {
            let cluster = d.clusters.values().next().unwrap().clone();
            d.clusters.insert("../etc".into(), cluster);
        }),
        ("a log without key", |d| {
            d.log = Some(LogTrust {
                vkey: String::new(),
                url: None,
            })
        }),
        ("a person without key", |d| {
            d.people.push(Person {
                name: "ada".into(),
                keys: vec![],
                paths: vec![],
                forge: false,
            })
        }),
    ];
    for (what, change) in cases {
        let mut document = document(1, &[1], 1);
        change(&mut document);
        assert!(document.check().is_err(), "{what}");
        assert!(
            matches!(
                parse(&forged(&document, &[1])),
                Err(Refusal::TrustRootMalformed { .. })
            ),
            "{what}"
        );
    }
}

#[test]
fn fields_that_are_not_known_are_refused_and_an_absent_log_may_be_null() {
    let text = String::from_utf8(document(1, &[1], 1).payload().unwrap()).unwrap();
    let with =
        |field: &str| TrustRoot::parse(text.replacen('{', &format!("{{{field},"), 1).as_bytes());
    assert!(with("\"log\":null").is_ok());
    assert!(with("\"people\":[]").is_ok());
    assert!(with("\"witnesses\":[]").is_err());
    assert!(TrustRoot::parse(text.replace("trust/v1", "trust/v2").as_bytes()).is_err());
    assert!(
        TrustRoot::parse(
            text.replace("\"level\":\"signed\"", "\"level\":\"none\"")
                .as_bytes()
        )
        .is_err()
    );
}

#[test]
fn another_payload_type_is_no_trust_root() {
    let payload = document(1, &[1], 1).payload().unwrap();
    let statement = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(1)]).unwrap();
    assert!(matches!(
        parse(&statement),
        Err(Refusal::TrustRootMalformed { .. })
    ));
}

#[test]
fn a_pinned_digest_takes_no_other_document() {
    let (mine, other) = (
        signed(&document(1, &[1], 1), &[1]),
        signed(&document(1, &[2], 1), &[2]),
    );
    assert!(VerifiedRoot::pinned(mine.bytes(), &mine.digest(), &RingVerifier).is_ok());
    let refused = VerifiedRoot::pinned(other.bytes(), &mine.digest(), &RingVerifier).unwrap_err();
    assert_eq!(refused.code(), "TRUST_ROOT_OTHER");
}

#[test]
fn a_root_follows_only_with_the_signatures_of_the_old_and_the_new() {
    let old = parse(&signed(&document(1, &[1, 2], 2), &[1, 2])).unwrap();
    let next = document(2, &[3, 4], 1);
    let succeed = |seeds: &[u8]| old.succeed(signed(&next, seeds).bytes(), &RingVerifier);
    assert!(succeed(&[1, 2, 3]).is_ok());
    let by = |refused: Result<VerifiedRoot, Refusal>| match refused {
        Err(Refusal::TrustRootSignatures { by, .. }) => by,
        other => panic!("{other:?}"),
    };
    assert_eq!(by(succeed(&[3, 4])), 1, "the new keys alone");
    assert_eq!(by(succeed(&[1, 3])), 1, "too few of the old");
    assert_eq!(by(succeed(&[1, 2])), 2, "the old keys alone");
}

#[test]
fn a_root_follows_by_exactly_one_version_in_one_fleet() {
    let old = parse(&signed(&document(3, &[1], 1), &[1])).unwrap();
    let succeed = |document: &TrustRoot| old.succeed(signed(document, &[1]).bytes(), &RingVerifier);
    assert!(succeed(&document(4, &[1], 1)).is_ok());
    let mut elsewhere = document(4, &[1], 1);
    elsewhere.fleet = "evil".into();
    for other in [
        document(2, &[1], 1),
        document(3, &[1], 1),
        document(5, &[1], 1),
        elsewhere,
    ] {
        assert_eq!(succeed(&other).unwrap_err().code(), "TRUST_ROOT_ORDER");
    }
}

#[test]
fn roots_are_followed_from_the_pinned_one() {
    let mut roots = Roots::new(parse(&signed(&document(1, &[1], 1), &[1])).unwrap());
    roots
        .extend(
            signed(&document(2, &[2], 1), &[1, 2]).bytes(),
            &RingVerifier,
        )
        .unwrap();
    let skipped = roots.extend(signed(&document(4, &[2], 1), &[2]).bytes(), &RingVerifier);
    assert_eq!(skipped.unwrap_err().code(), "TRUST_ROOT_ORDER");
    assert_eq!(roots.newest().version(), 2);
    assert_eq!(roots.at(1), Some(roots.pinned()));
    assert_eq!(roots.at(3), None);
}

#[test]
fn the_first_root_comes_with_its_keys() {
    let cluster = |environment: &str| ClusterTrust {
        environment: environment.into(),
        level: Level::Signed,
    };
    let clusters: BTreeMap<String, ClusterTrust> = [("a", "prod"), ("b", "prod"), ("c", "dev")]
        .map(|(name, environment)| (name.to_owned(), cluster(environment)))
        .into();
    let first = FirstRoot {
        fleet: "acme".into(),
        issued: "2026-11-25T08:00:00Z".into(),
        owner: "ada".into(),
        hub_ca: Digest::of(b"ca"),
        clusters: clusters.clone(),
    };
    let made = first
        .clone()
        .make(&ring::rand::SystemRandom::new())
        .unwrap();
    let root = parse(&made.trust).unwrap();
    assert_eq!(root.document().clusters, clusters);
    assert_eq!(
        root.document().root.keys[0].key,
        FileKey::from_pem(made.root_key.as_ref().unwrap())
            .unwrap()
            .public()
    );
    let sealers: Vec<(&String, PublicKey)> = made
        .sealer_keys
        .iter()
        .map(|(environment, pem)| (environment, FileKey::from_pem(pem).unwrap().public()))
        .collect();
    assert_eq!(sealers.len(), 2);
    for (environment, key) in sealers {
        assert_eq!(root.sealers(environment).collect::<Vec<_>>(), [&key]);
    }
    let bad = FirstRoot {
        fleet: "Acme Inc".into(),
        ..first
    };
    assert!(bad.make(&ring::rand::SystemRandom::new()).is_err());
}

#[test]
fn a_key_that_is_held_elsewhere_is_listed_and_no_file_of_it_is_made() {
    let random = ring::rand::SystemRandom::new();
    let first = FirstRoot {
        fleet: "acme".into(),
        issued: "2026-11-25T08:00:00Z".into(),
        owner: "ada".into(),
        hub_ca: Digest::of(b"ca"),
        clusters: [("a", "prod"), ("b", "dev")]
            .map(|(name, environment)| {
                let environment = environment.to_owned();
                let level = Level::Signed;
                (name.to_owned(), ClusterTrust { environment, level })
            })
            .into(),
    };
    let (root, sealer, log, ca) = (key(1), key(2).public(), key(3).public(), key(4).public());
    let held = || Held {
        root: Some(&root),
        sealers: [("prod".to_owned(), sealer)].into(),
        log: Some(log),
        agent_ca: Some(ca),
    };
    let made = first.clone().make_with(&random, held()).unwrap();
    let verified = parse(&made.trust).unwrap();
    let document = verified.document();
    assert_eq!(document.root.keys[0].key, root.public());
    assert_eq!(document.sealers["prod"][0].key, sealer);
    assert_eq!(verified.log().unwrap().key(), &log);
    assert_eq!(document.agent_cas[0].key, ca);
    let files: Vec<&String> = made.sealer_keys.keys().collect();
    assert_eq!(files, ["dev"]);
    assert!(made.root_key.is_none() && made.log_key.is_none() && made.agent_ca_key.is_none());

    // A key for an environment that nothing belongs to is a slip of the pen; a key with two roles is refused as ever.
    let stray = Held {
        sealers: [("production".to_owned(), sealer)].into(),
        ..held()
    };
    let stray = first.clone().make_with(&random, stray).err();
    assert_eq!(stray, Some(InitError::NoCluster("production".into())));
    let twice = Held {
        log: Some(sealer),
        ..held()
    };
    assert!(first.make_with(&random, twice).is_err());
}
