//! The log's formats against what others published: their proofs, their notes, their log, their signatures. Sources and
//! licences of `vectors/` stand in NOTICE.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::Digest;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::key::{FileKey, PublicKey, RingVerifier, Verify as _};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::merkle::{verify_consistency, verify_inclusion};
use countersign_ledger::tlog::note::{Note, Vkey};
use countersign_ledger::tlog::{Frontier, note};
use serde_json::Value;

/// A hash; in place of one that has not 32 bytes, which our type cannot hold, the hash of its bytes: equal where those
/// are, and else like no other.
fn hash(value: &Value) -> Digest {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    let digest = Digest::of(&[b"no hash: ", bytes.as_slice()].concat());
    bytes.try_into().map_or(digest, Digest::from_bytes)
}

fn hashes(value: &Value) -> Vec<Digest> {
    match value {
        Value::Null => Vec::new(),
        list => list.as_array().unwrap().iter().map(hash).collect(),
    }
}

/// Whether `[start, end)` is a subtree: as large a power of two as its size needs divides its begin.
fn is_subtree(start: u64, end: u64) -> bool {
    start < end && start % (end - start).next_power_of_two() == 0
}

/// Whether we accept a vector; nothing where it asks for what we do not have.
fn accepted(vector: &Value) -> Option<bool> {
    let number = |name: &str| vector[name].as_u64().unwrap();
    let name = vector["name"].as_str().unwrap();
    let proof = hashes(&vector["proof"]);
    match name.split('/').next().unwrap() {
        "inclusion" | "subtreeinclusion" => {
            let (root, leaf) = (hash(&vector["root"]), hash(&vector["leafHash"]));
            let (index, size) = if name.starts_with("subtree") {
                let (start, end) = (number("start"), number("end"));
                if !is_subtree(start, end) || number("leafIdx") < start {
                    return Some(false);
                }
                (number("leafIdx") - start, end - start)
            } else {
                (number("leafIdx"), number("treeSize"))
            };
            Some(verify_inclusion(index, size, &leaf, &proof, &root).is_ok())
        }
        "consistency" | "subtreeconsistency" => {
            let (old, new) = (hash(&vector["root1"]), hash(&vector["root2"]));
            let (old_size, new_size) = if name.starts_with("subtree") {
                if number("start") > 0 {
                    return None;
                }
                (number("end"), number("size"))
            } else {
                (number("size1"), number("size2"))
            };
            Some(verify_consistency(old_size, &old, new_size, &new, &proof).is_ok())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_published_proofs_are_taken_and_refused_as_they_say() {
    let text = include_str!("vectors/merkle.jsonl");
    let (mut taken, mut refused, mut left) = (0, 0, 0);
    for line in text.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        match accepted(&vector) {
            // A subtree that does not begin with the log: nobody asks us for its consistency.
            None => left += 1,
            Some(got) => {
                assert_eq!(got, !vector["wantErr"].as_bool().unwrap(), "{line}");
                if got { taken += 1 } else { refused += 1 }
            }
        }
    }
    assert_eq!((taken + refused + left, left), (507, 4));
    assert!(taken > 20 && refused > 400, "{taken} {refused}");
}

#[test]
fn a_log_of_a_billion_certificates_proves_its_entry_and_its_past() {
    let vector: Value = serde_json::from_str(include_str!("vectors/argon2020.json")).unwrap();
    let number = |name: &str| vector[name].as_u64().unwrap();
    let root = hash(&vector["root"]);
    let inclusion = hashes(&vector["inclusion"]);
    let leaf = hash(&vector["leafHash"]);
    let size = number("size");
    assert_eq!(
        verify_inclusion(number("index"), size, &leaf, &inclusion, &root),
        Ok(())
    );
    let consistency = hashes(&vector["consistency"]);
    let old = hash(&vector["oldRoot"]);
    assert_eq!(
        verify_consistency(number("oldSize"), &old, size, &root, &consistency),
        Ok(())
    );
}

#[test]
fn tesseras_log_has_the_same_roots_and_the_same_signed_bytes() {
    let vector: Value = serde_json::from_str(include_str!("vectors/tessera.json")).unwrap();
    let vkey: Vkey = vector["vkey"].as_str().unwrap().parse().unwrap();
    let seed = hash(&vector["seed"]);
    let key = FileKey::from_seed(seed.as_bytes()).unwrap();
    let mut frontier = Frontier::new();
    let entries = vector["entries"].as_array().unwrap();
    let checkpoints = vector["checkpoints"].as_array().unwrap();
    assert_eq!(checkpoints.len(), entries.len() + 1);
    for (size, bytes) in checkpoints.iter().enumerate() {
        let bytes = bytes.as_str().unwrap();
        let opened =
            note::open(bytes.as_bytes(), std::slice::from_ref(&vkey), &RingVerifier).unwrap();
        let checkpoint = Checkpoint {
            origin: vkey.name().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        };
        assert_eq!(Checkpoint::parse(opened.text()), Ok(checkpoint.clone()));
        let mut ours = Note::new(&checkpoint.text()).unwrap();
        ours.sign(vkey.name(), &key).unwrap();
        assert_eq!(String::from_utf8(ours.bytes()).unwrap(), bytes);
        if let Some(entry) = entries.get(size) {
            frontier
                .append(leaf_hash(entry.as_str().unwrap().as_bytes()))
                .unwrap();
        }
    }
}

/// All combinations of low order points and of spellings of points that are not canonical. Where implementations differ
/// a signature could split agents from auditors: ours takes and refuses the same ones as Go's.
#[test]
fn odd_signatures_are_taken_and_refused_as_go_does() {
    let hex = |text: &str| *text.parse::<Digest>().unwrap().as_bytes();
    let mut count = 0;
    for line in include_str!("vectors/ed25519.txt").lines() {
        let [key, r, s, valid, message] =
            line.splitn(5, ' ').collect::<Vec<_>>().try_into().unwrap();
        let signature = [hex(r), hex(s)].concat();
        let got = RingVerifier.verify(&PublicKey(hex(key)), message.as_bytes(), &signature);
        assert_eq!(got, valid == "yes", "{line}");
        count += 1;
    }
    assert_eq!(count, 768);
}
