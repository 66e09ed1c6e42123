use std::collections::BTreeMap;

use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::trust::init::{FirstRoot, Material};
use countersign_ledger::trust::{ClusterTrust, Level, NamedKey, TrustRoot};
use ring::rand::SystemRandom;

use super::*;

const ADA: u8 = 2;

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn root() -> VerifiedRoot {
    let trust = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    let Material {
        trust, root_key, ..
    } = FirstRoot {
        fleet: "acme".into(),
        issued: "2026-01-01T00:00:00Z".into(),
        owner: "owner".into(),
        hub_ca: Digest::of(b"ca"),
        clusters: BTreeMap::from([("one".to_owned(), trust)]),
    }
    .make(&SystemRandom::new())
    .unwrap();
    let mut document = TrustRoot::parse(trust.payload()).unwrap();
    document.overriders = vec![NamedKey {
        key: key(ADA).public(),
        name: "ada".into(),
    }];
    let signed = document
        .sign(&[&FileKey::from_pem(root_key.as_ref().unwrap()).unwrap()])
        .unwrap();
    VerifiedRoot::parse(signed.bytes(), &RingVerifier).unwrap()
}

fn word(index: u64, kind: OverrideKind, cluster: Option<&str>, until: u64, seed: u8) -> Word {
    let says = Override {
        fleet: "acme".into(),
        kind,
        cluster: cluster.map(str::to_owned),
        app: None,
        what: String::new(),
        reason: format!("storm {index}"),
        by: "ada".into(),
        issued: Time::default(),
        until: Time::from_ms(until).unwrap(),
    };
    let envelope = dsse::sign(PAYLOAD_TYPE, &says.payload().unwrap(), &[&key(seed)]).unwrap();
    Word {
        index,
        bytes: envelope.bytes().to_vec(),
        says,
    }
}

#[test]
fn each_word_says_what_became_of_it() {
    use OverrideKind::{Pause, Resume};
    let one = Some("one");
    let words = || {
        vec![
            word(1, Pause, one, 100, ADA),
            word(2, Pause, None, 100, ADA),
            word(3, Resume, one, 10, ADA),
            word(4, Pause, one, 20, ADA),
            word(5, Pause, one, 100, 9),
        ]
    };
    let rows = judged(&root(), words(), Time::from_ms(50).unwrap());
    let states: Vec<_> = rows.iter().map(|row| (row.index, row.state)).collect();
    assert_eq!(
        states,
        [
            (1, "resumed"),
            (2, "inForce"),
            (3, "done"),
            (4, "ended"),
            (5, "invalid")
        ]
    );
    assert_eq!(rows[0].resumed_by, Some(3));
    assert_eq!(rows[4].code, Some("OVERRIDE_INVALID"));
    let text = table(&rows, true);
    for part in [
        "resumed by 3",
        "in force",
        "does not count: OVERRIDE_INVALID",
        "storm 2",
        "older ones",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(table(&[], false), "none\n");
}
