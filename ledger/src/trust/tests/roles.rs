//! What the roles of a trust root must be.

use super::*;
use crate::tlog::note::{KeyKind, Vkey};

fn witness(seed: u8) -> String {
    let name = format!("w{seed}.example");
    Vkey::new(&name, KeyKind::Cosignature, key(seed).public())
        .unwrap()
        .to_string()
}

fn policy() -> String {
    format!("witness w {}\nquorum w\n", witness(31))
}

fn full() -> TrustRoot {
    let mut document = document(1, &[1], 1);
    document.log = Some(LogTrust {
        vkey: vkey("acme", 30),
        url: Some("https://hub.example/log".into()),
    });
    document.witnesses = Some(WitnessTrust { policy: policy() });
    document.agent_cas = vec![RoleKey {
        key: key(40).public(),
    }];
    let named = |seed: u8| {
        vec![NamedKey {
            key: key(seed).public(),
            name: "x".into(),
        }]
    };
    document.overriders = named(41);
    document.reproducers = named(42);
    document.ci = named(43);
    document.people = vec![person("ada", "ssh-ed25519 A")];
    document
}

fn person(name: &str, key: &str) -> Person {
    Person {
        name: name.into(),
        keys: vec![PersonKey {
            key: key.into(),
            valid_after: None,
            valid_before: None,
        }],
        paths: vec!["/".into()],
        forge: false,
    }
}

fn refused(change: impl FnOnce(&mut TrustRoot)) -> TrustRootError {
    let mut document = full();
    change(&mut document);
    document.check().unwrap_err()
}

#[test]
fn a_root_with_all_roles_is_read_back() {
    let mut document = full();
    for cluster in document.clusters.values_mut() {
        cluster.level = Level::Reproduced;
    }
    let root = parse(&signed(&document, &[1])).unwrap();
    assert_eq!(*root.document(), document);
    assert_eq!(root.log().map(ToString::to_string), Some(vkey("acme", 30)));
    assert_eq!(root.witnesses().unwrap().witnesses().len(), 1);
    let plain = super::document(1, &[1], 1);
    let plain = parse(&signed(&plain, &[1])).unwrap();
    assert!(plain.log().is_none() && plain.witnesses().is_none());
}

#[test]
fn the_logs_key_is_one_and_named_after_the_fleet() {
    let with = |vkey: String| refused(|d| d.log = Some(LogTrust { vkey, url: None }));
    assert!(matches!(
        with("log+00+AA".into()),
        TrustRootError::LogKey(_)
    ));
    assert!(matches!(
        with(vkey("evil", 30)),
        TrustRootError::LogName { .. }
    ));
    let cosigner = Vkey::new(&log_name("acme"), KeyKind::Cosignature, key(30).public());
    assert_eq!(
        with(cosigner.unwrap().to_string()),
        TrustRootError::LogKeyKind
    );
    assert_eq!(log_name("acme"), "countersign.dev/fleet/acme");
}

#[test]
fn the_logs_address_is_one() {
    for (url, good) in [
        ("http://127.0.0.1:8080/log", true),
        ("https://hub.example", true),
        ("https://", false),
        ("https://hub.example/", false),
        ("ftp://hub.example", false),
        ("", false),
    ] {
        let mut document = full();
        document.log.as_mut().unwrap().url = Some(url.into());
        let want = if good {
            Ok(())
        } else {
            Err(TrustRootError::LogUrl)
        };
        assert_eq!(document.check(), want, "{url}");
    }
}

#[test]
fn a_witness_policy_that_asks_nobody_is_refused() {
    let w = witness(31);
    let with = |policy: String| refused(|d| d.witnesses = Some(WitnessTrust { policy }));
    for policy in [
        String::new(),
        "quorum none\n".into(),
        format!("witness w {w}\n"),
        format!("witness w {w}\nquorum none\n"),
        format!("witness w {w}\ngroup g 0 w\nquorum g\n"),
        format!("witness w {w}\ngroup g any\nquorum g\n"),
        format!("witness w {w}\ngroup g 2 w\nquorum g\n"),
    ] {
        assert!(
            matches!(with(policy.clone()), TrustRootError::Witnesses(_)),
            "{policy}"
        );
    }
}

#[test]
fn a_witness_policy_is_for_this_log() {
    let with = |log: String, fleet_log: bool| {
        let mut document = full();
        if !fleet_log {
            document.log = None;
        }
        let policy = format!("log {log}\n{}", policy());
        document.witnesses = Some(WitnessTrust { policy });
        document.check()
    };
    assert_eq!(with(vkey("acme", 30), true), Ok(()));
    let other = Err(TrustRootError::WitnessesOtherLog);
    assert_eq!(with(vkey("acme", 35), true), other);
    assert_eq!(with(vkey("acme", 30), false), other);
}

#[test]
fn every_level_needs_what_its_checks_look_at() {
    type Change = fn(&mut TrustRoot);
    let cases: [(Change, Level); 4] = [
        (|d| d.log = None, Level::Witnessed),
        (|d| d.witnesses = None, Level::Witnessed),
        (|d| d.people.clear(), Level::Authored),
        (|d| d.reproducers.clear(), Level::Reproduced),
    ];
    for (change, least) in cases {
        for level in Level::ALL {
            let mut document = full();
            change(&mut document);
            for cluster in document.clusters.values_mut() {
                cluster.level = level;
            }
            let checked = document.check();
            if level < least {
                assert_eq!(checked, Ok(()), "{level}");
            } else {
                assert!(
                    matches!(checked, Err(TrustRootError::Level { .. })),
                    "{level}: {checked:?}"
                );
            }
        }
    }
}

#[test]
fn no_key_has_two_roles() {
    type Change = fn(&mut TrustRoot, PublicKey);
    let places: [Change; 7] = [
        |d, key| d.root.keys[0].key = key,
        |d, key| d.sealers.values_mut().next().unwrap()[0].key = key,
        |d, key| d.agent_cas[0].key = key,
        |d, key| d.overriders[0].key = key,
        |d, key| d.reproducers[0].key = key,
        |d, key| d.ci[0].key = key,
        |d, key| {
            let vkey = Vkey::new(&log_name("acme"), KeyKind::Ed25519, key);
            d.log.as_mut().unwrap().vkey = vkey.unwrap().to_string();
        },
    ];
    let shared = key(31).public();
    for (n, first) in places.iter().enumerate() {
        let refused = refused(|d| first(d, shared));
        assert!(
            matches!(refused, TrustRootError::KeyTwice { .. }),
            "{n} with the witness"
        );
        for (m, second) in places.iter().enumerate().skip(n + 1) {
            let fresh = key(77).public();
            let mut document = full();
            first(&mut document, fresh);
            assert_eq!(document.check(), Ok(()), "{n}");
            second(&mut document, fresh);
            assert!(
                matches!(document.check(), Err(TrustRootError::KeyTwice { .. })),
                "{n} and {m}"
            );
        }
    }
}

#[test]
fn a_persons_keys_are_their_own_and_count_at_some_time() {
    let twice = refused(|d| d.people.push(person("bob", "ssh-ed25519 A")));
    assert_eq!(twice, TrustRootError::PersonKeyTwice("bob".into()));
    let again = refused(|d| d.people.push(person("ada", "ssh-ed25519 B")));
    assert_eq!(again, TrustRootError::PersonTwice("ada".into()));
    let empty = refused(|d| d.people.push(person("bob", "")));
    assert!(matches!(empty, TrustRootError::NoKey(_)));
    let window = |after: &str, before: &str| {
        let mut document = full();
        let key = &mut document.people[0].keys[0];
        key.valid_after = Some(after.parse().unwrap());
        key.valid_before = Some(before.parse().unwrap());
        document.check()
    };
    let (early, late) = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.001Z");
    assert_eq!(window(early, late), Ok(()));
    let never = Err(TrustRootError::KeyNeverValid("ada".into()));
    assert_eq!(window(early, early), never);
    assert_eq!(window(late, early), never);
}

#[test]
fn a_root_with_all_roles_has_its_golden_bytes_and_fits_the_schema() {
    let mut document = full();
    document.people[0].keys[0].valid_after = Some("2026-01-01T00:00:00.000Z".parse().unwrap());
    document.people[0].keys[0].valid_before = Some("2027-01-01T00:00:00.000Z".parse().unwrap());
    document.people[0].forge = true;
    let payload = document.payload().unwrap();
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/golden/trust.roles.payload.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &payload).unwrap();
    }
    assert_eq!(
        String::from_utf8(std::fs::read(path).unwrap()).unwrap(),
        String::from_utf8(payload.clone()).unwrap(),
        "UPDATE_GOLDEN=1 writes it anew"
    );
    let schema = std::fs::read(root.join("../proto/schemas/trust.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let mistakes: Vec<String> = validator
        .iter_errors(&value)
        .map(|mistake| mistake.to_string())
        .collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
}
