//! Proof files: their form, and each check that must fail.

use proptest::prelude::*;

use super::*;
use crate::digest::leaf_hash;
use crate::key::{FileKey, RingVerifier, Sign as _};
use crate::tlog::cosignature;
use crate::tlog::frontier::Frontier;
use crate::tlog::merkle::{NodeId, inclusion_proof};
use crate::tlog::note::{KeyKind, Vkey};

const ORIGIN: &str = "log.example/fleet";

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn policy() -> Policy {
    let vkey = |name: &str, kind, seed| Vkey::new(name, kind, key(seed).public()).unwrap();
    let text = format!(
        "log {}\nwitness a {}\nwitness b {}\nwitness c {}\ngroup g 2 a b c\nquorum g\n",
        vkey(ORIGIN, KeyKind::Ed25519, 1),
        vkey("a.example", KeyKind::Cosignature, 2),
        vkey("b.example", KeyKind::Cosignature, 3),
        vkey("c.example", KeyKind::Cosignature, 4),
    );
    Policy::parse(text.as_bytes()).unwrap()
}

/// The proof of entry `index` of a log of `size`, cosigned by these witnesses at these times.
fn proof(index: u64, size: u64, witnesses: &[(&str, u8, u64)]) -> ProofFile {
    let mut frontier = Frontier::new();
    let mut nodes = std::collections::BTreeMap::new();
    for entry in 0..size {
        let leaf = leaf_hash(&entry.to_be_bytes());
        frontier
            .append_with(leaf, |node, hash| {
                nodes.insert(node, hash);
            })
            .unwrap();
    }
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root: frontier.root(),
    };
    let mut note = Note::new(&checkpoint.text()).unwrap();
    note.sign(ORIGIN, &key(1)).unwrap();
    for (name, seed, time) in witnesses {
        note.add(cosignature::sign(name, &key(*seed), *time, note.text()).unwrap());
    }
    let node = |node: NodeId| Ok::<_, ProofError>(nodes[&node]);
    ProofFile {
        extra: None,
        index,
        hashes: inclusion_proof(index, size, node).unwrap(),
        checkpoint: note,
    }
}

fn leaf(index: u64) -> Digest {
    leaf_hash(&index.to_be_bytes())
}

#[test]
fn a_proof_under_a_quorum_proves_its_entry() {
    let file = proof(5, 9, &[("a.example", 2, 100), ("c.example", 4, 90)]);
    let read = ProofFile::parse(&file.bytes()).unwrap();
    assert_eq!(read, file);
    let proven = read.verify(&leaf(5), &policy(), &RingVerifier).unwrap();
    assert_eq!(
        (proven.index, proven.checkpoint.size, proven.time),
        (5, 9, 90)
    );
}

#[test]
fn the_form_is_that_of_the_specification() {
    let mut file = proof(1, 2, &[]);
    file.extra = Some(b"extra".to_vec());
    let text = String::from_utf8(file.bytes()).unwrap();
    let want = format!(
        "c2sp.org/tlog-proof@v1\nextra ZXh0cmE=\nindex 1\n{}\n\n{ORIGIN}\n2\n",
        text::base64(leaf(0).as_bytes())
    );
    assert!(text.starts_with(&want), "{text}");
    assert_eq!(ProofFile::parse(text.as_bytes()), Ok(file));
}

#[test]
fn each_missing_piece_is_refused() {
    let policy = policy();
    let full = proof(5, 9, &[("a.example", 2, 100), ("c.example", 4, 90)]);
    let check = |file: &ProofFile, index| file.verify(&leaf(index), &policy, &RingVerifier);
    // Another entry, another index, another proof.
    assert!(matches!(
        check(&full, 4),
        Err(ProofRefusal::Proof(ProofError::RootMismatch { .. }))
    ));
    let moved = ProofFile {
        index: 4,
        ..full.clone()
    };
    assert!(matches!(
        check(&moved, 5),
        Err(ProofRefusal::Proof(ProofError::RootMismatch { .. }))
    ));
    let outside = ProofFile {
        index: 9,
        ..full.clone()
    };
    assert!(matches!(
        check(&outside, 5),
        Err(ProofRefusal::Proof(ProofError::IndexOutOfTree { .. }))
    ));
    let mut short = full.clone();
    short.hashes.pop();
    assert!(matches!(
        check(&short, 5),
        Err(ProofRefusal::Proof(ProofError::HashCount { .. }))
    ));
    // Too few witnesses; a witness that is not in the policy; a log that is not.
    assert_eq!(
        check(&proof(5, 9, &[("a.example", 2, 100)]), 5),
        Err(ProofRefusal::NoQuorum)
    );
    let stranger = proof(5, 9, &[("a.example", 2, 100), ("d.example", 9, 100)]);
    assert_eq!(check(&stranger, 5), Err(ProofRefusal::NoQuorum));
    let forged = proof(5, 9, &[("a.example", 2, 100), ("c.example", 2, 100)]);
    assert_eq!(
        check(&forged, 5),
        Err(ProofRefusal::NoQuorum),
        "c's name with a's key is no c"
    );
    let text = Checkpoint {
        origin: "log.example/other".to_owned(),
        size: 9,
        root: leaf(0),
    }
    .text();
    let mut other = ProofFile {
        checkpoint: Note::new(&text).unwrap(),
        ..full.clone()
    };
    other.checkpoint.sign("log.example/other", &key(1)).unwrap();
    assert_eq!(
        check(&other, 5),
        Err(ProofRefusal::Note(NoteError::NoKnownSignature))
    );
    // The log's key signs another origin: its name must be the origin.
    other.checkpoint.sign(ORIGIN, &key(1)).unwrap();
    assert_eq!(
        check(&other, 5),
        Err(ProofRefusal::UnknownLog {
            origin: "log.example/other".to_owned()
        })
    );
    // Witnesses alone make no log.
    let mut unsigned = ProofFile {
        checkpoint: Note::new(full.checkpoint.text()).unwrap(),
        ..full
    };
    for (name, seed) in [("a.example", 2), ("c.example", 4)] {
        unsigned
            .checkpoint
            .add(cosignature::sign(name, &key(seed), 1, unsigned.checkpoint.text()).unwrap());
    }
    assert_eq!(
        check(&unsigned, 5),
        Err(ProofRefusal::UnknownLog {
            origin: ORIGIN.to_owned()
        })
    );
}

#[test]
fn what_is_no_proof_file_is_refused() {
    use ProofFileError::{Extra, Hash, Heading, Index, NoCheckpoint, TooManyHashes};
    let hash = text::base64(&[7; 32]);
    let head = "c2sp.org/tlog-proof@v1\n";
    for (text, error) in [
        (String::new(), Heading),
        ("c2sp.org/tlog-proof@v1".to_owned(), Heading),
        ("c2sp.org/tlog-proof@v2\nindex 0\n\n".to_owned(), Heading),
        ("c2sp.org/tlog-proof@v1\r\nindex 0\n\n".to_owned(), Heading),
        (head.to_owned(), Index),
        (format!("{head}index\n"), Index),
        (format!("{head}index 00\n\n"), Index),
        (format!("{head}index +1\n\n"), Index),
        (format!("{head}index 9223372036854775808\n\n"), Index),
        (format!("{head}\nindex 0\n\n"), Index),
        (format!("{head}extra AA==\nextra AA==\nindex 0\n\n"), Index),
        (format!("{head}extra A\nindex 0\n\n"), Extra),
        (format!("{head}extra AB==\nindex 0\n\n"), Extra),
        (format!("{head}index 0\n{hash}\n"), NoCheckpoint),
        (format!("{head}index 0\n{hash} \n\n"), Hash { at: 0 }),
        (format!("{head}index 0\n{hash}\nAAAA\n\n"), Hash { at: 1 }),
        (
            format!("{head}index 0\n{}\n", format!("{hash}\n").repeat(65)),
            TooManyHashes,
        ),
        (
            format!("{head}index 0\n\ntext\n"),
            ProofFileError::Note(NoteError::NoSplit),
        ),
    ] {
        assert_eq!(ProofFile::parse(text.as_bytes()), Err(error), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_flipped_bit_proves_anything_else(bit in 0_usize..8_000, index in 0_u64..9) {
        let file = proof(index, 9, &[("a.example", 2, 100), ("c.example", 4, 90)]);
        let mut bytes = file.bytes();
        let place = bit / 8 % bytes.len();
        bytes[place] ^= 1 << (bit % 8);
        let Ok(read) = ProofFile::parse(&bytes) else { return Ok(()) };
        if let Ok(proven) = read.verify(&leaf(index), &policy(), &RingVerifier) {
            prop_assert!(false, "accepted as {proven:?}");
        }
    }

    #[test]
    fn what_is_read_is_written_the_same(
        extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), index in 0_u64..9, size in 9_u64..20,
    ) {
        let file = ProofFile { extra, ..proof(index, size, &[("a.example", 2, 100)]) };
        prop_assert_eq!(ProofFile::parse(&file.bytes()).unwrap(), file);
    }
}
