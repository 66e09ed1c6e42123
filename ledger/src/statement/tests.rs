use super::*;
use crate::digest::Digest;

mod golden;
mod spoken;

fn desired() -> Desired {
    Desired {
        manifest: Digest::of(b"manifest"),
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        environment: "prod".into(),
        generation: 2,
        previous: Some(Digest::of(b"envelope 1")),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        source: Digest::of(b"source"),
        renderer: "helm/4.0.0".into(),
        admission: Admission {
            policies: Some(Digest::of(b"policies")),
            verdicts: None,
        },
        ring: "canary".into(),
        trust_root: 1,
        permits: vec![Permit {
            permit: PermitKind::Deletion,
            subject: "cart".into(),
            object: Digest::of(b"m").to_string(),
            by: "ada".into(),
            reason: "moved to another fleet".into(),
        }],
    }
}

fn source() -> Source {
    Source {
        fleet: "acme".into(),
        repository: "https://git.example/fleet.git".into(),
        reference: "refs/heads/main".into(),
        old: String::new(),
        new: "0123456789abcdef0123456789abcdef01234567".into(),
        tree: "a".repeat(64),
        commit_sha256: Digest::of(b"raw"),
        author: "Ada <ada@example.com>".into(),
        signer: String::new(),
        verdict: Verdict::Unsigned,
    }
}

#[test]
fn statements_survive() {
    let first = Desired {
        generation: 1,
        previous: None,
        permits: Vec::new(),
        ..desired()
    };
    let signed = Source {
        signer: "ada".into(),
        verdict: Verdict::Verified,
        old: "b".repeat(40),
        ..source()
    };
    for statement in [
        Statement::Desired(desired()),
        Statement::Desired(first),
        Statement::Source(source()),
        Statement::Source(signed),
    ] {
        assert_eq!(
            Statement::parse(&statement.payload().unwrap()),
            Ok(statement)
        );
    }
}

#[test]
fn what_is_no_statement_of_ours_is_refused() {
    let good = String::from_utf8(desired().payload().unwrap()).unwrap();
    let refused = [
        (
            "another _type",
            good.replace("Statement/v1", "Statement/v0.1"),
        ),
        ("no _type", good.replace("\"_type\"", "\"type\"")),
        (
            "unknown predicate",
            good.replace("desired/v1", "desired/v2"),
        ),
        (
            "another predicate's name",
            good.replace("desired/v1", "source/v1"),
        ),
        ("a byte-order mark", format!("\u{feff}{good}")),
        ("trailing bytes", format!("{good}x")),
        ("two documents", format!("{good}{good}")),
        (
            "a duplicate key",
            good.replacen('{', "{\"_type\":\"https://in-toto.io/Statement/v1\",", 1),
        ),
        (
            "a duplicate key inside",
            good.replace("\"fleet\":", "\"fleet\":\"evil\",\"fleet\":"),
        ),
        (
            "no subject",
            good.replace("\"subject\":[{", "\"subject\":[],\"x\":[{"),
        ),
        (
            "two subjects",
            good.replace("\"subject\":[{", "\"subject\":[{},{"),
        ),
        (
            "a subject of another name",
            good.replace("\"name\":\"metal-fra\"", "\"name\":\"metal-muc\""),
        ),
        (
            "a subject of another digest",
            good.replace("\"digest\":{\"sha256\"", "\"digest\":{\"sha512\""),
        ),
        (
            "a text for a number",
            good.replace("\"generation\":2", "\"generation\":\"2\""),
        ),
        (
            "a float",
            good.replace("\"generation\":2", "\"generation\":2.0"),
        ),
        (
            "generation 0",
            good.replace("\"generation\":2", "\"generation\":0"),
        ),
        (
            "generation 1 with a previous one",
            good.replace("\"generation\":2", "\"generation\":1"),
        ),
        (
            "trust root 0",
            good.replace("\"trustRoot\":1", "\"trustRoot\":0"),
        ),
        (
            "a cluster that is no name",
            good.replace("metal-fra", "metal/fra"),
        ),
        ("a missing field", good.replace("\"ring\":\"canary\",", "")),
        (
            "a short commit",
            good.replace("0123456789abcdef0123456789abcdef01234567", "0123"),
        ),
        (
            "an unknown permit",
            good.replace("\"permit\":\"deletion\"", "\"permit\":\"everything\""),
        ),
    ];
    for (what, text) in refused {
        assert_ne!(text, good, "{what}");
        assert!(Statement::parse(text.as_bytes()).is_err(), "{what}");
    }
}

#[test]
fn a_field_that_is_not_known_is_ignored() {
    let good = String::from_utf8(desired().payload().unwrap()).unwrap();
    let more = good.replace("\"ring\":", "\"later\":[],\"ring\":");
    assert_eq!(
        Statement::parse(more.as_bytes()),
        Ok(Statement::Desired(desired()))
    );
}

#[test]
fn what_is_signed_has_at_most_4096_bytes() {
    let with = |length: usize| Desired {
        renderer: "r".repeat(length),
        ..desired()
    };
    let spare = PAE_BYTES_MAX - pae(PAYLOAD_TYPE, &with(2000).payload().unwrap()).len() + 2000;
    let most = with(spare).payload().unwrap();
    assert_eq!(pae(PAYLOAD_TYPE, &most).len(), PAE_BYTES_MAX);
    assert!(Statement::parse(&most).is_ok());
    assert_eq!(
        with(spare + 1).payload(),
        Err(StatementError::TooLarge {
            got: PAE_BYTES_MAX + 1
        })
    );
    let mut more = most;
    more.push(b' ');
    assert_eq!(
        Statement::parse(&more),
        Err(StatementError::TooLarge {
            got: PAE_BYTES_MAX + 1
        })
    );
}

#[test]
fn a_signer_is_named_if_and_only_if_the_signature_is_verified() {
    assert!(
        Source {
            signer: "ada".into(),
            ..source()
        }
        .payload()
        .is_err()
    );
    assert!(
        Source {
            verdict: Verdict::Verified,
            ..source()
        }
        .payload()
        .is_err()
    );
    assert!(
        Source {
            reference: "main".into(),
            ..source()
        }
        .payload()
        .is_err()
    );
    assert!(
        Source {
            old: "x".into(),
            ..source()
        }
        .payload()
        .is_err()
    );
}

#[test]
fn a_statement_has_a_few_permits_only() {
    let permits = vec![desired().permits[0].clone(); 9];
    assert!(matches!(
        Desired {
            permits,
            ..desired()
        }
        .payload(),
        Err(StatementError::Field {
            field: "permits",
            ..
        })
    ));
}
