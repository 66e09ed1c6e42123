//! Policies: what they say, what is none, and who is counted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::key::PublicKey;
use crate::tlog::note::KeyKind;

fn log(party: &str, key: u8) -> String {
    Vkey::new(party, KeyKind::Ed25519, PublicKey([key; 32]))
        .unwrap()
        .to_string()
}

fn witness(party: &str, key: u8) -> String {
    Vkey::new(party, KeyKind::Cosignature, PublicKey([key; 32]))
        .unwrap()
        .to_string()
}

/// A policy with witnesses `w1` to `w9`, each a party of its own, and these lines.
fn with(lines: &str) -> Result<Policy, PolicyError> {
    let mut text = format!("log {}\n", log("log.example", 100));
    for number in 1..=9 {
        text.push_str(&format!(
            "witness w{number} {}\n",
            witness(&format!("w{number}.example"), number)
        ));
    }
    text.push_str(lines);
    Policy::parse(text.as_bytes())
}

/// The mistake in the last line of those after the ten of [`with`].
fn mistake(lines: &str) -> PolicyMistake {
    match with(lines) {
        Err(PolicyError::Line { line, mistake }) => {
            assert_eq!(line, 10 + lines.lines().count(), "{mistake}");
            mistake
        }
        other => panic!("{other:?}"),
    }
}

fn satisfied(policy: &Policy, names: &str) -> bool {
    policy.satisfied(&names.split_whitespace().collect())
}

#[test]
fn the_specifications_example_is_read() {
    let x = |number: u8| witness(&format!("x{number}.example"), number);
    let y = |number: u8| witness(&format!("y{number}.example"), 10 + number);
    let text = format!(
        "log {}\n\nwitness X1 {}\nwitness X2 {}\nwitness X3 {}\ngroup X-witnesses 2 X1 X2 X3\n\n\
         witness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log("log.example", 99),
        x(1),
        x(2),
        x(3),
        y(1),
        y(2),
        y(3),
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(
        (
            policy.logs().len(),
            policy.witnesses().len(),
            policy.groups().len()
        ),
        (1, 6, 3)
    );
    assert_eq!(policy.quorum(), Member::Group(2));
    assert_eq!(policy.vkeys().len(), 7);
    assert_eq!(policy.witness("Y2").unwrap().vkey.to_string(), y(2));
    for (names, want) in [
        ("", false),
        ("X1 X2 X3", false),
        ("X1 Y1 Y2 Y3", false),
        ("X1 X3 Y2", true),
        ("X1 X2 X3 Y1 Y2 Y3", true),
        ("X1 X9 Y1", false),
    ] {
        assert_eq!(satisfied(&policy, names), want, "{names}");
    }
}

#[test]
fn spaces_comments_and_addresses_are_read() {
    let policy = Policy::parse(
        format!(
            "# comment\n\n \t # quorum none\n\t log  {}\thttps://log.example/a \n witness w {} https://w.example \nquorum w\n",
            log("log.example", 1),
            witness("w.example", 2)
        )
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(
        policy.logs()[0].url.as_deref(),
        Some("https://log.example/a")
    );
    assert_eq!(
        policy.witnesses()[0].url.as_deref(),
        Some("https://w.example")
    );
    assert_eq!(policy.quorum(), Member::Witness(0));
    assert!(satisfied(&policy, "w"));
    assert!(!satisfied(&policy, "log"));
}

#[test]
fn threat_cve_2026_23992_a_policy_that_asks_nobody_is_refused() {
    assert_eq!(mistake("quorum none\n"), PolicyMistake::QuorumNone);
    assert_eq!(mistake("group g 0 w1\n"), PolicyMistake::Threshold);
    assert_eq!(mistake("group g any\n"), PolicyMistake::Words);
    assert_eq!(mistake("group g all\n"), PolicyMistake::Words);
    assert_eq!(mistake("group g 0\n"), PolicyMistake::Words);
    assert_eq!(with(""), Err(PolicyError::NoQuorum));
    assert_eq!(Policy::parse(b""), Err(PolicyError::NoQuorum));
    assert_eq!(
        mistake("group none any w1\n"),
        PolicyMistake::NoneIsReserved
    );
    assert_eq!(
        mistake("group g any none\n"),
        PolicyMistake::UnknownName {
            name: "none".to_owned()
        }
    );
}

#[test]
fn a_threshold_is_a_number_of_its_members() {
    assert_eq!(
        mistake("group g 3 w1 w2\n"),
        PolicyMistake::ThresholdTooHigh {
            threshold: 3,
            parties: 2
        }
    );
    for threshold in [
        "01",
        "+1",
        "-1",
        "1.0",
        "ALL",
        "some",
        "18446744073709551616",
    ] {
        assert_eq!(
            mistake(&format!("group g {threshold} w1 w2\n")),
            PolicyMistake::Threshold,
            "{threshold}"
        );
    }
    assert!(with("group g 2 w1 w2\nquorum g\n").is_ok());
}

#[test]
fn a_name_stands_for_one_thing_and_in_one_group() {
    let taken = |name: &str| PolicyMistake::DuplicateName {
        name: name.to_owned(),
    };
    let grouped = |name: &str| PolicyMistake::InTwoGroups {
        name: name.to_owned(),
    };
    let unknown = |name: &str| PolicyMistake::UnknownName {
        name: name.to_owned(),
    };
    assert_eq!(mistake("group w9 any w1\n"), taken("w9"));
    assert_eq!(mistake("group g any w1\ngroup g any w2\n"), taken("g"));
    assert_eq!(
        mistake(&format!("witness w1 {}\n", witness("new", 50))),
        taken("w1")
    );
    assert_eq!(
        mistake("group g any w1\ngroup h any w1 w2\n"),
        grouped("w1")
    );
    assert_eq!(mistake("group g 2 w1 w1\n"), grouped("w1"));
    assert_eq!(
        mistake("group g any w1\ngroup h any g\ngroup i any g w2\n"),
        grouped("g")
    );
    assert_eq!(mistake("group g any g w1\n"), unknown("g"));
    assert_eq!(mistake("group g any later\n"), unknown("later"));
    assert_eq!(mistake("quorum W1\n"), unknown("W1"));
    assert_eq!(
        mistake("quorum w1\nquorum w1\n"),
        PolicyMistake::SecondQuorum
    );
}

#[test]
fn one_key_has_one_name() {
    let stolen = witness("other.example", 1);
    assert_eq!(
        mistake(&format!("witness w10 {stolen}\n")),
        PolicyMistake::DuplicateKey { line: 2 }
    );
    assert_eq!(
        mistake(&format!("log {}\n", log("second.example", 100))),
        PolicyMistake::DuplicateKey { line: 1 }
    );
    // Nor may the log be its own witness.
    assert_eq!(
        mistake(&format!("witness w10 {}\n", witness("w", 100))),
        PolicyMistake::DuplicateKey { line: 1 }
    );
}

#[test]
fn a_party_counts_once_however_many_keys_it_has() {
    let keys = format!(
        "witness old {}\nwitness new {}\n",
        witness("p.example", 50),
        witness("p.example", 51)
    );
    let policy = with(&format!("{keys}group g 2 old new w1\nquorum g\n")).unwrap();
    assert!(!satisfied(&policy, "old new"));
    assert!(satisfied(&policy, "old w1"));
    assert!(satisfied(&policy, "new w1"));
    assert_eq!(
        mistake(&format!("{keys}group g all old new\n")),
        PolicyMistake::ThresholdTooHigh {
            threshold: 2,
            parties: 1
        }
    );
    assert_eq!(
        mistake(&format!("{keys}group g any old w1\ngroup h any new w2\n")),
        PolicyMistake::PartyInTwoGroups {
            party: "p.example".to_owned()
        }
    );
}

#[test]
fn a_log_and_a_witness_have_different_kinds_of_keys() {
    assert_eq!(
        mistake(&format!("log {}\n", witness("l", 60))),
        PolicyMistake::KeyKind
    );
    assert_eq!(
        mistake(&format!("witness w {}\n", log("l", 60))),
        PolicyMistake::KeyKind
    );
    assert!(matches!(
        mistake("log example.com+1234+AA==\n"),
        PolicyMistake::Vkey(_)
    ));
}

#[test]
fn other_lines_are_refused() {
    for (line, want) in [
        ("sunlight\n", PolicyMistake::Keyword),
        ("Quorum w1\n", PolicyMistake::Keyword),
        ("quorum\n", PolicyMistake::Words),
        ("quorum w1 w2\n", PolicyMistake::Words),
        ("log\n", PolicyMistake::Words),
        ("witness w10\n", PolicyMistake::Words),
        ("group g\n", PolicyMistake::Words),
    ] {
        assert_eq!(mistake(line), want, "{line}");
    }
    let long = format!("witness w10 {} a b\n", witness("l", 60));
    assert_eq!(mistake(&long), PolicyMistake::Words);
    assert_eq!(Policy::parse(b"quorum w1"), Err(PolicyError::Unterminated));
    assert_eq!(
        Policy::parse(b"quorum w1\r\n"),
        Err(PolicyError::NotText { at: 9 })
    );
    assert_eq!(
        Policy::parse(b"# \x7f\n"),
        Err(PolicyError::NotText { at: 2 })
    );
    assert_eq!(
        Policy::parse(b"# \xff\n"),
        Err(PolicyError::NotText { at: 2 })
    );
    assert_eq!(
        Policy::parse(&vec![b'\n'; POLICY_BYTES_MAX + 1]),
        Err(PolicyError::TooLarge {
            bytes: POLICY_BYTES_MAX + 1
        })
    );
    // A no-break space separates nothing.
    assert_eq!(mistake("quorum\u{a0}w1\n"), PolicyMistake::Keyword);
}

#[test]
fn a_policy_has_a_bounded_number_of_lines_and_no_fewer_than_32() {
    let many = |count: u8| {
        let mut text = String::new();
        for number in 0..count {
            text.push_str(&format!(
                "witness w{number} {}\n",
                witness(&format!("p{number}"), number)
            ));
        }
        Policy::parse(format!("{text}quorum w0\n").as_bytes())
    };
    assert!(many(32).is_ok() && many(64).is_ok());
    assert_eq!(
        many(65),
        Err(PolicyError::Line {
            line: 65,
            mistake: PolicyMistake::TooMany
        })
    );
}

#[test]
fn the_newest_time_is_one_that_a_whole_quorum_reached() {
    let policy = with("group g 2 w1 w2 w3\nquorum g\n").unwrap();
    let at = |times: &[(&'static str, u64)]| policy.newest_time(&times.iter().copied().collect());
    assert_eq!(at(&[]), None);
    assert_eq!(at(&[("w1", 5)]), None);
    assert_eq!(at(&[("w1", 5), ("w9", 9)]), None);
    assert_eq!(at(&[("w1", 5), ("w2", 9)]), Some(5));
    assert_eq!(at(&[("w1", 5), ("w2", 9), ("w3", 7)]), Some(7));
    assert_eq!(at(&[("w1", 0), ("w2", 0)]), Some(0));
    // One clock that runs ahead moves nothing.
    assert_eq!(at(&[("w1", 5), ("w2", 6), ("w3", u64::MAX)]), Some(6));
}

proptest! {
    #[test]
    fn the_newest_time_is_the_largest_with_a_quorum(
        times in prop::collection::btree_map(1_u8..7, 0_u64..5, 0..7), first in 1_usize..4, second in 1_usize..3,
    ) {
        let policy = with(&format!(
            "group g {first} w1 w2 w3\ngroup h {second} w4 w5 g\nquorum h\n"
        )).unwrap();
        let named: BTreeMap<String, u64> = times.iter().map(|(w, time)| (format!("w{w}"), *time)).collect();
        let cosigned: Cosigned<'_> = named.iter().map(|(name, time)| (name.as_str(), *time)).collect();
        let since = |least: u64| -> BTreeSet<&str> {
            cosigned.iter().filter(|(_, time)| **time >= least).map(|(name, _)| *name).collect()
        };
        let want = (0..5).rev().find(|least| policy.satisfied(&since(*least)));
        prop_assert_eq!(policy.newest_time(&cosigned), want);
    }

    #[test]
    fn more_cosignatures_never_hurt(had in prop::collection::btree_set(1_u8..7, 0..6), more in 1_u8..7, first in 1_usize..4) {
        let policy = with(&format!("group g {first} w1 w2 w3\ngroup h all w4 g\nquorum h\n")).unwrap();
        let names = |set: &BTreeSet<u8>| set.iter().map(|w| format!("w{w}")).collect::<Vec<_>>().join(" ");
        let before = satisfied(&policy, &names(&had));
        let mut with = had;
        with.insert(more);
        prop_assert!(!before || satisfied(&policy, &names(&with)));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "((log|witness|group|quorum|#|any|all|[0-3]|w[0-9]|g)[ \n]){0,20}") {
        let _ = Policy::parse(text.as_bytes());
        let _ = with(&text);
    }
}
