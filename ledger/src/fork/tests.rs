use super::*;
use crate::key::{FileKey, RingVerifier, Sign as _};
use crate::tlog::merkle::{EMPTY_ROOT, node_hash};
use crate::tlog::note::{KeyKind, Note};

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn log() -> Vkey {
    Vkey::new("log.example", KeyKind::Ed25519, key(30).public()).unwrap()
}

fn note(origin: &str, size: u64, root: Digest) -> Vec<u8> {
    let origin = origin.to_owned();
    let text = Checkpoint { origin, size, root }.text();
    let mut note = Note::new(&text).unwrap();
    note.sign("log.example", &key(30)).unwrap();
    note.bytes()
}

fn leaf(n: u8) -> Digest {
    Digest::of(&[n])
}

fn two() -> Digest {
    node_hash(&leaf(0), &leaf(1))
}

fn fork(ours: (u64, Digest), theirs: (u64, Digest), consistency: &[Digest]) -> Fork {
    Fork {
        ours: note("log.example", ours.0, ours.1),
        theirs: note("log.example", theirs.0, theirs.1),
        consistency: consistency.to_vec(),
    }
}

fn shown(fork: &Fork) -> Shown {
    fork.check(&log(), &RingVerifier).unwrap()
}

#[test]
fn two_roots_at_one_size_prove_a_fork() {
    let (ours, theirs) = (leaf(1), leaf(2));
    let proven = Shown::Proven {
        size: 3,
        ours,
        theirs,
    };
    assert_eq!(shown(&fork((3, ours), (3, theirs), &[])), proven);
    assert_eq!(shown(&fork((3, ours), (3, ours), &[])), Shown::Consistent);
}

#[test]
fn a_proof_that_leads_from_the_one_to_the_other_shows_no_fork() {
    let (one, two) = ((1, leaf(0)), (2, two()));
    assert_eq!(shown(&fork(one, two, &[leaf(1)])), Shown::Consistent);
    assert_eq!(shown(&fork(two, one, &[leaf(1)])), Shown::Consistent);
    let unproven = Shown::Unproven { ours: 1, theirs: 2 };
    assert_eq!(shown(&fork(one, two, &[leaf(2)])), unproven);
    assert_eq!(shown(&fork(one, two, &[])), unproven);
    let shrunk = Shown::Shrunk { ours: 2, theirs: 1 };
    assert_eq!(shown(&fork(two, one, &[])), shrunk);
    assert_eq!(shown(&fork((0, EMPTY_ROOT), two, &[])), Shown::Consistent);
}

#[test]
fn both_notes_are_of_the_log_that_is_asked_about() {
    let good = fork((3, leaf(1)), (3, leaf(2)), &[]);
    let other = Vkey::new("log.example", KeyKind::Ed25519, key(31).public()).unwrap();
    assert!(matches!(
        good.check(&other, &RingVerifier),
        Err(ForkError::Note { which: "ours", .. })
    ));
    let half = Fork {
        theirs: b"nothing".to_vec(),
        ..good.clone()
    };
    assert!(matches!(
        half.check(&log(), &RingVerifier),
        Err(ForkError::Note {
            which: "theirs",
            ..
        })
    ));
    let elsewhere = Fork {
        theirs: note("other.example", 3, leaf(2)),
        ..good.clone()
    };
    assert!(matches!(
        elsewhere.check(&log(), &RingVerifier),
        Err(ForkError::OtherLog {
            which: "theirs",
            ..
        })
    ));
    let mut text = Note::new("log.example\nthree\n").unwrap();
    text.sign("log.example", &key(30)).unwrap();
    let no_checkpoint = Fork {
        ours: text.bytes(),
        ..good
    };
    assert!(matches!(
        no_checkpoint.check(&log(), &RingVerifier),
        Err(ForkError::Checkpoint { which: "ours", .. })
    ));
}

#[test]
fn a_fork_file_survives_and_has_one_form() {
    let fork = fork((1, leaf(0)), (2, two()), &[leaf(1), leaf(2)]);
    let bytes = fork.bytes().unwrap();
    assert_eq!(Fork::parse(&bytes), Ok(fork.clone()));
    let text = String::from_utf8(bytes.clone()).unwrap();
    for (what, other) in [
        ("another version", text.replace("fork/v1", "fork/v2")),
        ("spaces", text.replace(',', ", ")),
        ("more fields", text.replacen('{', "{\"a\":1,", 1)),
        ("no base64", text.replace("\"ours\":\"", "\"ours\":\"!")),
        ("cut", text[..text.len() - 1].to_owned()),
    ] {
        assert!(Fork::parse(other.as_bytes()).is_err(), "{what}");
    }
    let with = |count| Fork {
        consistency: vec![leaf(0); count],
        ..fork.clone()
    };
    assert!(Fork::parse(&with(PROOF_HASHES_MAX).bytes().unwrap()).is_ok());
    assert!(Fork::parse(&with(PROOF_HASHES_MAX + 1).bytes().unwrap()).is_err());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fork.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &bytes).unwrap();
    }
    assert_eq!(
        std::fs::read(path).unwrap(),
        bytes,
        "UPDATE_GOLDEN=1 writes it anew"
    );
}
