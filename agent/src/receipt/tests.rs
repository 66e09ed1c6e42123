use std::sync::Arc;

use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::key::FileKey;

use super::*;
use crate::receipt::queue::Item;

pub(super) fn key() -> FileKey {
    FileKey::from_seed(&[5; 32]).unwrap()
}

pub(super) fn facts() -> Facts {
    Facts {
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        checkpoint: SeenCheckpoint {
            size: 7,
            root: Digest::of(b"root"),
            time: None,
        },
        trust_root: 1,
        nonce: "ab".into(),
        health: Status::Healthy,
    }
}

pub(super) fn standing() -> Standing {
    Standing {
        generation: 3,
        envelope: Digest::of(b"envelope"),
        manifest: Digest::of(b"manifest"),
        glass: None,
    }
}

pub(super) fn record(name: &str, time: i64) -> DriftRecord {
    DriftRecord {
        id: Arc::new(ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: name.into(),
        }),
        app: "cart".into(),
        what: "changed",
        managers: vec!["kubectl-edit".into()],
        paths: vec![".data.v".into()],
        patch: "[{\"op\":\"replace\",\"value\":\"a-value\"}]".into(),
        healed: true,
        healed_after: 12,
        time,
    }
}

pub(super) fn signed(told: &Told) -> Item {
    let payload = told.statement.payload().unwrap();
    let envelope = dsse::sign(PAYLOAD_TYPE, &payload, &[&key()]).unwrap();
    Item {
        envelope: Bytes::copy_from_slice(envelope.bytes()),
        blobs: told.blobs.clone(),
    }
}

fn first() -> Place {
    Place {
        seq: 1,
        previous: None,
    }
}

fn refusal(code: &'static str, attack: bool) -> RefusalSeen {
    RefusalSeen {
        code,
        words: Some("why".into()),
        evidence: None,
        attack,
        count: 3,
        first: 5,
        last: 9,
    }
}

fn read(told: &Told) -> Statement {
    Statement::parse(&told.statement.payload().unwrap()).unwrap()
}

#[test]
fn a_refusal_names_the_attack_that_it_shows_and_counts_those_that_were_folded() {
    let told = facts()
        .refusal(first(), None, &refusal("SIGNATURE_INVALID", true))
        .unwrap();
    let Statement::Receipt(receipt) = read(&told) else {
        panic!("a receipt")
    };
    assert_eq!(receipt.kind, ReceiptKind::Refusal);
    assert_eq!((receipt.generation, receipt.dropped), (0, 2));
    let attack = receipt.attack.unwrap();
    assert_eq!(attack.code, "SIGNATURE_INVALID");
    let named: Vec<Digest> = told.blobs.iter().map(|blob| Digest::of(blob)).collect();
    assert!(named.contains(&attack.evidence));
    assert!(named.contains(&receipt.results.unwrap()));

    let told = facts()
        .refusal(first(), Some(standing()), &refusal("GUARD_RAIL", false))
        .unwrap();
    let Statement::Receipt(receipt) = read(&told) else {
        panic!("a receipt")
    };
    assert_eq!((receipt.generation, receipt.attack), (3, None));
}

#[test]
fn evidence_of_a_fork_is_a_blob_of_its_own() {
    let seen = RefusalSeen {
        evidence: Some(Bytes::from_static(b"two notes")),
        ..refusal("LOG_FORKED", true)
    };
    let told = facts().refusal(first(), None, &seen).unwrap();
    let Statement::Receipt(receipt) = read(&told) else {
        panic!("a receipt")
    };
    assert_eq!(receipt.attack.unwrap().evidence, Digest::of(b"two notes"));
    assert!(told.blobs.contains(&Bytes::from_static(b"two notes")));
}

#[test]
fn a_drift_names_object_manager_and_path_and_no_value() {
    let seen = DriftSeen {
        generation: 3,
        count: 2,
        healed_after: 12,
        last: 20,
        samples: vec![record("a", 10), record("b", 20)],
        record: record("a", 10),
    };
    let told = facts().drift(first(), standing(), &seen).unwrap();
    let Statement::Drift(drift) = read(&told) else {
        panic!("a drift record")
    };
    assert_eq!((drift.count, drift.generation), (2, 3));
    assert_eq!(drift.managers, ["kubectl-edit"]);
    assert_eq!(drift.samples, Some(Digest::of(&told.blobs[0])));
    let samples = String::from_utf8(told.blobs[0].to_vec()).unwrap();
    assert_eq!(samples.lines().count(), 2);
    assert!(!samples.contains("a-value"), "{samples}");
}

#[test]
fn what_a_clock_can_not_say_is_said_as_near_as_it_can() {
    assert_eq!(time(-5), Time::default());
    assert_eq!(time(1).ms(), 1);
    let told = facts().heartbeat(first(), Some(standing()), AppCounts::default(), -1);
    assert!(told.statement.payload().is_ok());
}

#[test]
fn a_pause_is_told_by_its_place_in_the_log_and_without_words_of_others() {
    let mut pause = PauseSeen {
        index: 9,
        began: true,
        app: Some("cart".into()),
        until: Time::from_ms(7_000).unwrap(),
        time: 5,
    };
    let told = |pause: &PauseSeen| facts().pause(first(), Some(standing()), pause).unwrap();
    let Statement::Receipt(receipt) = read(&told(&pause)) else {
        panic!("a receipt")
    };
    assert_eq!(receipt.kind, ReceiptKind::Pause);
    assert_eq!(receipt.generation, 3);
    let blobs = told(&pause).blobs;
    assert_eq!(receipt.results, Some(Digest::of(&blobs[0])));
    let text = r#"{"app":"cart","override":9,"paused":true,"until":"1970-01-01T00:00:07.000Z"}"#;
    assert_eq!(blobs, [text]);
    (pause.began, pause.app) = (false, None);
    let Statement::Receipt(before_any_state) = read(&facts().pause(first(), None, &pause).unwrap())
    else {
        panic!("a receipt")
    };
    assert_eq!(before_any_state.generation, 0);
}

#[test]
fn what_came_without_witnesses_says_so_as_long_as_it_stands() {
    let glass = Standing {
        glass: Some(12),
        ..standing()
    };
    let said = |standing| {
        let told = facts().heartbeat(first(), standing, AppCounts::default(), 5);
        let Statement::Receipt(receipt) = read(&told) else {
            panic!("a receipt")
        };
        receipt.break_glass
    };
    assert_eq!(said(Some(glass)), Some(12));
    assert_eq!(said(Some(standing())), None);
    assert_eq!(said(None), None);
}
