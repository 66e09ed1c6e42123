//! What agents, people, CI and second renderers say.

use super::super::drift::DriftKind;
use super::super::override_::OverrideKind;
use super::super::receipt::{Attack, ReceiptKind};
use super::super::*;
use crate::digest::Digest;
use crate::limits::{DRIFT_MANAGERS_MAX, DRIFT_PATHS_MAX};

fn problem(statement: &Statement) -> &'static str {
    match statement.payload() {
        Err(StatementError::Field { field, .. }) => field,
        Err(StatementError::Name(_)) => "name",
        other => panic!("{statement:?}: {other:?}"),
    }
}

#[test]
fn each_survives_and_is_canonical() {
    for statement in samples::all() {
        let payload = statement.payload().unwrap();
        assert_eq!(Statement::parse(&payload), Ok(statement.clone()));
        let value = json::parse(&payload, &Limits::document(PAE_BYTES_MAX)).unwrap();
        assert_eq!(json::canonical(&value).unwrap(), payload);
        assert_eq!(value["predicateType"], statement.predicate_type());
        assert_eq!(statement.fleet(), "acme");
    }
}

#[test]
fn a_subject_says_the_same_as_its_predicate() {
    let other = Digest::of(b"other").to_string();
    for statement in samples::all() {
        let value: Value = serde_json::from_slice(&statement.payload().unwrap()).unwrap();
        let parse = |value: &Value| Statement::parse(&json::canonical(value).unwrap());
        let mut renamed = value.clone();
        renamed["subject"][0]["name"] = "somebody".into();
        let mut redigested = value.clone();
        redigested["subject"][0]["digest"]["sha256"] = other.clone().into();
        let mut short = value;
        short["subject"][0]["digest"]["sha256"] = "ab".into();
        assert!(parse(&short).is_err(), "{statement:?}");
        // The workspace of a plan stands in the subject alone, and so do digests of what a statement is about.
        if !matches!(statement, Statement::Infrastructure(_)) {
            assert!(parse(&renamed).is_err(), "{statement:?}");
        }
        let alone = matches!(
            statement,
            Statement::Receipt(_)
                | Statement::Drift(_)
                | Statement::TrustEntry(_)
                | Statement::Infrastructure(_)
        );
        assert_eq!(parse(&redigested).is_ok(), alone, "{statement:?}");
    }
}

#[test]
fn receipts_that_can_not_be_are_refused() {
    type Change = fn(&mut Receipt);
    let cases: [(&str, Change); 15] = [
        ("name", |r| r.fleet = "Acme".into()),
        ("name", |r| r.cluster.clear()),
        ("seq", |r| r.seq = 0),
        ("previous", |r| r.seq = 2),
        ("previous", |r| r.previous = Some(Digest::default())),
        ("subject", |r| r.desired = None),
        ("manifest", |r| r.manifest = None),
        ("subject", |r| r.generation = 0),
        ("attack", |r| r.kind = ReceiptKind::Attack),
        ("attack.code", |r| {
            r.attack = Some(Attack {
                code: "log_forked".into(),
                evidence: Digest::default(),
            });
        }),
        ("ended", |r| r.ended = samples::time(0).earlier()),
        ("agent", |r| r.agent.clear()),
        ("nonce", |r| r.nonce = "0".into()),
        ("nonce", |r| r.nonce = "aa".repeat(33)),
        ("trustRoot", |r| r.trust_root = 0),
    ];
    for (field, change) in cases {
        let mut receipt = samples::receipt();
        change(&mut receipt);
        assert_eq!(problem(&Statement::Receipt(receipt)), field);
    }
}

#[test]
fn before_the_first_state_a_cluster_can_only_refuse_and_wait() {
    for (kind, may) in [
        (ReceiptKind::Sync, false),
        (ReceiptKind::Deletion, false),
        (ReceiptKind::Heartbeat, true),
        (ReceiptKind::Refusal, true),
        (ReceiptKind::Pause, true),
    ] {
        let receipt = Receipt {
            kind,
            generation: 0,
            desired: None,
            manifest: None,
            ..samples::receipt()
        };
        let payload = receipt.payload();
        assert_eq!(payload.is_ok(), may, "{kind:?}");
        if let Ok(payload) = payload {
            assert_eq!(Statement::parse(&payload), Ok(Statement::Receipt(receipt)));
        }
    }
}

#[test]
fn drift_records_that_can_not_be_are_refused() {
    type Change = fn(&mut Drift);
    let cases: [(&str, Change); 14] = [
        ("name", |d| d.fleet.clear()),
        ("name", |d| d.cluster.clear()),
        ("name", |d| d.app.clear()),
        ("previous", |d| d.previous = None),
        ("generation", |d| d.generation = 0),
        ("object", |d| d.object.kind.clear()),
        ("managers", |d| {
            d.managers = vec![String::new(); DRIFT_MANAGERS_MAX + 1];
        }),
        ("managers", |d| d.managers = vec!["a\nb".into()]),
        ("paths", |d| {
            d.paths = vec![String::new(); DRIFT_PATHS_MAX + 1];
        }),
        ("paths", |d| d.paths = vec!["p".repeat(513)]),
        ("healedAfterMs", |d| d.healed = false),
        ("count", |d| d.count = 0),
        ("last", |d| d.last = samples::time(0).earlier()),
        ("nonce", |d| d.nonce = "AA".into()),
    ];
    for (field, change) in cases {
        let mut drift = samples::drift();
        change(&mut drift);
        assert_eq!(problem(&Statement::Drift(drift)), field);
    }
    let missing = Drift {
        healed: false,
        healed_after_ms: 0,
        what: DriftKind::Deleted,
        managers: vec![String::new(); DRIFT_MANAGERS_MAX],
        paths: vec!["p".into(); DRIFT_PATHS_MAX],
        ..samples::drift()
    };
    assert!(missing.payload().is_ok());
}

#[test]
fn a_drift_record_is_cut_to_what_can_be_signed_paths_first() {
    let long = Drift {
        managers: (0..20)
            .map(|n| format!("m{n}{}", "x".repeat(100)))
            .collect(),
        paths: (0..90)
            .map(|n| format!("p{n}{}", "y".repeat(100)))
            .collect(),
        ..samples::drift()
    };
    let bounded = long.clone().bounded();
    assert!(bounded.payload().is_ok());
    assert_eq!(bounded.managers, long.managers[..DRIFT_MANAGERS_MAX]);
    assert!(long.paths.starts_with(&bounded.paths) && !bounded.paths.is_empty());
    let more = Drift {
        paths: long.paths[..=bounded.paths.len()].to_vec(),
        ..bounded
    };
    assert!(matches!(
        more.payload(),
        Err(StatementError::TooLarge { .. })
    ));
    let odd = Drift {
        managers: vec!["a\nb".into(), "c".into()],
        paths: vec!["p".repeat(513), ".q".into()],
        ..samples::drift()
    };
    let odd = odd.bounded();
    assert_eq!(
        (odd.managers, odd.paths),
        (vec!["c".into()], vec![".q".into()])
    );
    assert_eq!(samples::drift().bounded(), samples::drift());
}

#[test]
fn enrolments_and_revocations_that_can_not_be_are_refused() {
    type Change = fn(&mut Enrolment);
    let cases: [(&str, Change); 7] = [
        ("name", |e| e.fleet.clear()),
        ("name", |e| e.cluster.clear()),
        ("uid", |e| e.uid.clear()),
        ("recipient", |e| e.recipient = "age2x".into()),
        ("recipient", |e| e.recipient = "age1X".into()),
        ("recipient", |e| {
            e.recipient = format!("age1{}", "q".repeat(125))
        }),
        ("number", |e| e.number = 0),
    ];
    for (field, change) in cases {
        let mut enrolment = samples::enrolment();
        change(&mut enrolment);
        assert_eq!(problem(&Statement::Enrolment(enrolment)), field);
    }
    type Undo = fn(&mut Revocation);
    let cases: [(&str, Undo); 4] = [
        ("name", |r| r.fleet.clear()),
        ("name", |r| r.cluster = Some(String::new())),
        ("reason", |r| r.reason.clear()),
        ("reason", |r| r.reason = "two\nlines".into()),
    ];
    for (field, change) in cases {
        let mut revocation = samples::revocation();
        change(&mut revocation);
        assert_eq!(problem(&Statement::Revocation(revocation)), field);
    }
    let of_the_fleet = Revocation {
        cluster: None,
        ..samples::revocation()
    };
    let payload = of_the_fleet.payload().unwrap();
    assert!(String::from_utf8_lossy(&payload).contains("\"name\":\"acme\""));
    assert_eq!(
        Statement::parse(&payload),
        Ok(Statement::Revocation(of_the_fleet))
    );
}

#[test]
fn trust_entries_that_can_not_be_are_refused() {
    let with = |version, previous| {
        Statement::TrustEntry(TrustEntry {
            version,
            previous,
            ..samples::trust_entry()
        })
    };
    assert_eq!(problem(&with(0, None)), "version");
    assert_eq!(problem(&with(1, Some(Digest::default()))), "previous");
    assert!(with(1, None).payload().is_ok());
    assert!(with(2, None).payload().is_ok(), "a hub that began with it");
    let nowhere = TrustEntry {
        fleet: String::new(),
        ..samples::trust_entry()
    };
    assert_eq!(problem(&Statement::TrustEntry(nowhere)), "name");
}

#[test]
fn an_override_says_exactly_what() {
    let digest = Digest::of(b"x").to_string();
    let rewrite = format!("refs/heads/main {}", samples::COMMIT);
    let with = |kind, what: &str| Override {
        kind,
        what: what.into(),
        ..samples::override_()
    };
    for (kind, good, bad) in [
        (OverrideKind::Pause, "", "x"),
        (OverrideKind::Resume, "", "x"),
        (OverrideKind::BreakGlass, digest.as_str(), ""),
        (OverrideKind::Deletion, &digest, "sha256:ab"),
        (OverrideKind::Policies, &digest, ""),
        (OverrideKind::Rewrite, &rewrite, "refs/heads/main"),
    ] {
        let this = with(kind, good);
        let payload = this.payload().unwrap();
        assert_eq!(Statement::parse(&payload), Ok(Statement::Override(this)));
        assert_eq!(
            problem(&Statement::Override(with(kind, bad))),
            "what",
            "{kind:?}"
        );
    }
    let no_ref = format!("main {}", samples::COMMIT);
    for bad in [no_ref.as_str(), "refs/heads/main 0123", samples::COMMIT] {
        let this = Statement::Override(with(OverrideKind::Rewrite, bad));
        assert_eq!(problem(&this), "what");
    }
    assert_eq!(
        with(OverrideKind::Deletion, &digest)
            .permits()
            .unwrap()
            .to_string(),
        digest
    );
    assert_ne!(
        with(OverrideKind::Pause, "").permits(),
        with(OverrideKind::Resume, "").permits()
    );
}

#[test]
fn an_override_has_a_reason_a_person_and_an_end() {
    type Change = fn(&mut Override);
    let cases: [(&str, Change); 9] = [
        ("name", |o| o.fleet.clear()),
        ("name", |o| o.cluster = Some("../x".into())),
        ("name", |o| o.app = Some(String::new())),
        ("cluster", |o| o.cluster = None),
        ("app", |o| o.app = None),
        ("reason", |o| o.reason.clear()),
        ("by", |o| o.by.clear()),
        ("until", |o| o.until = o.issued),
        ("cluster", |o| {
            o.kind = OverrideKind::BreakGlass;
            o.cluster = None;
        }),
    ];
    for (field, change) in cases {
        let mut this = samples::override_();
        change(&mut this);
        assert_eq!(problem(&Statement::Override(this)), field);
    }
    let this = samples::override_();
    assert!(!this.holds_at(this.issued.earlier()));
    assert!(this.holds_at(this.issued));
    assert!(this.holds_at(this.until.earlier()));
    assert!(!this.holds_at(this.until));
}

#[test]
fn plans_and_reproductions_that_can_not_be_are_refused() {
    type Change = fn(&mut Infrastructure);
    let cases: [(&str, Change); 6] = [
        ("subject", |i| i.workspace.clear()),
        ("name", |i| i.fleet.clear()),
        ("name", |i| i.environment.clear()),
        ("commit", |i| i.commit = "main".into()),
        ("run", |i| i.run = "a\nb".into()),
        ("by", |i| i.by.clear()),
    ];
    for (field, change) in cases {
        let mut this = samples::infrastructure();
        change(&mut this);
        assert_eq!(problem(&Statement::Infrastructure(this)), field);
    }
    let bare = Infrastructure {
        commit: String::new(),
        run: String::new(),
        ..samples::infrastructure()
    };
    assert!(bare.payload().is_ok());
    type Again = fn(&mut Reproduction);
    let cases: [(&str, Again); 4] = [
        ("name", |r| r.fleet.clear()),
        ("name", |r| r.cluster.clear()),
        ("generation", |r| r.generation = 0),
        ("commit", |r| r.commit.clear()),
    ];
    for (field, change) in cases {
        let mut this = samples::reproduction();
        change(&mut this);
        assert_eq!(problem(&Statement::Reproduction(this)), field);
    }
}
