use std::collections::BTreeMap;

use countersign_ledger::digest::leaf_hash;
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::statement::Enrolment;
use countersign_ledger::statement::enrolment::Method;
use countersign_ledger::statement::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::merkle;
use countersign_ledger::tlog::note::Note;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::trust::init::{FirstRoot, Material};
use countersign_ledger::trust::{ClusterTrust, Level, log_name};
use ring::rand::SystemRandom;

use super::*;

const NONCE: &str = "00112233445566778899aabbccddeeff";

struct Stand {
    root: VerifiedRoot,
    log: FileKey,
    ca: FileKey,
    receipt: FileKey,
}

fn stand() -> Stand {
    let trust = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    let Material {
        trust,
        log_key,
        agent_ca_key,
        ..
    } = FirstRoot {
        fleet: "acme".into(),
        issued: "2026-01-01T00:00:00Z".into(),
        owner: "owner".into(),
        hub_ca: Digest::of(b"ca"),
        clusters: BTreeMap::from([("one".to_owned(), trust)]),
    }
    .make(&SystemRandom::new())
    .unwrap();
    Stand {
        root: VerifiedRoot::parse(trust.bytes(), &RingVerifier).unwrap(),
        log: FileKey::from_pem(log_key.as_ref().unwrap()).unwrap(),
        ca: FileKey::from_pem(agent_ca_key.as_ref().unwrap()).unwrap(),
        receipt: FileKey::from_seed(&[7; 32]).unwrap(),
    }
}

fn receipt() -> Receipt {
    Receipt {
        desired: Some(Digest::of(b"state")),
        fleet: "acme".into(),
        cluster: "one".into(),
        seq: 4,
        previous: Some(Digest::of(b"three")),
        kind: ReceiptKind::Heartbeat,
        generation: 7,
        manifest: Some(Digest::of(b"manifest")),
        checkpoint: SeenCheckpoint {
            size: 9,
            root: Digest::of(b"root"),
            time: None,
        },
        apps: AppCounts {
            unchanged: 3,
            failed: 1,
            ..AppCounts::default()
        },
        results: None,
        health: Health::Healthy,
        started: Time::from_ms(5).unwrap(),
        ended: Time::from_ms(5).unwrap(),
        agent: "0.1".into(),
        nonce: NONCE.into(),
        attack: None,
        trust_root: 1,
        dropped: 0,
        break_glass: None,
    }
}

impl Stand {
    fn enrolment(&self) -> Enrolment {
        Enrolment {
            fleet: "acme".into(),
            cluster: "one".into(),
            uid: "u".into(),
            ca_fingerprint: Digest::of(b"api"),
            receipt_key: self.receipt.public(),
            recipient: "age1abc".into(),
            method: Method::Token,
            number: 1,
        }
    }

    fn signed(&self, said: &Receipt) -> Envelope {
        dsse::sign(PAYLOAD_TYPE, &said.payload().unwrap(), &[&self.receipt]).unwrap()
    }

    fn enrolled(&self, said: &Enrolment, key: &FileKey) -> Envelope {
        dsse::sign(PAYLOAD_TYPE, &said.payload().unwrap(), &[key]).unwrap()
    }

    /// Both entries in a log of their own, in this order.
    fn answer(&self, entries: [&Envelope; 2], receipt: usize, log: &FileKey) -> VerifyAnswer {
        let leaves = entries.map(|entry| leaf_hash(entry.bytes()));
        let root = merkle::node_hash(&leaves[0], &leaves[1]);
        let origin = log_name("acme");
        let text = Checkpoint {
            origin: origin.clone(),
            size: 2,
            root,
        }
        .text();
        let mut note = Note::new(&text).unwrap();
        note.sign(&origin, log).unwrap();
        let proven = |place: usize| {
            let proof = ProofFile {
                extra: None,
                index: place as u64,
                hashes: vec![leaves[1 - place]],
                checkpoint: note.clone(),
            };
            Some(ProvenEntry {
                envelope: STANDARD.encode(entries[place].bytes()),
                proof: String::from_utf8(proof.bytes()).unwrap(),
            })
        };
        VerifyAnswer {
            cluster: "one".into(),
            nonce: NONCE.into(),
            receipt: proven(receipt),
            enrolment: proven(1 - receipt),
        }
    }

    fn good(&self) -> VerifyAnswer {
        let enrolment = self.enrolled(&self.enrolment(), &self.ca);
        self.answer([&enrolment, &self.signed(&receipt())], 1, &self.log)
    }

    fn read(&self, answer: &VerifyAnswer) -> Result<Word, String> {
        read(&self.root, "one", NONCE, answer)
    }
}

#[test]
fn an_answer_says_what_its_cluster_runs() {
    let stand = stand();
    let word = stand.read(&stand.good()).unwrap();
    assert_eq!(
        (word.generation, word.state, word.index),
        (7, Some(Digest::of(b"state")), 1)
    );
    assert_eq!((word.apps, word.failed, word.enrolled), (4, 1, true));
    assert_eq!(word.note(), "");
    let glass = Receipt {
        break_glass: Some(9),
        ..receipt()
    };
    let enrolment = stand.enrolled(&stand.enrolment(), &stand.ca);
    let answer = stand.answer([&enrolment, &stand.signed(&glass)], 1, &stand.log);
    assert_eq!(stand.read(&answer).unwrap().note(), "break-glass 9");
}

#[test]
fn an_answer_that_does_not_prove_it_is_none() {
    let stand = stand();
    let good = stand.good();
    let enrolment = stand.enrolled(&stand.enrolment(), &stand.ca);
    let change = |change: fn(&mut Receipt)| {
        let mut said = receipt();
        change(&mut said);
        let answer = stand.answer([&enrolment, &stand.signed(&said)], 1, &stand.log);
        stand.read(&answer).unwrap_err()
    };
    assert!(change(|said| said.cluster = "two".into()).contains("another cluster"));
    assert!(change(|said| said.fleet = "evil".into()).contains("another cluster"));
    assert!(change(|said| said.nonce = "ab".into()).contains("another question"));

    // Of no key, or of another one.
    let without = VerifyAnswer {
        enrolment: None,
        ..good.clone()
    };
    assert!(stand.read(&without).unwrap_err().contains("no enrolment"));
    let other = Enrolment {
        receipt_key: stand.ca.public(),
        ..stand.enrolment()
    };
    let elsewhere = Enrolment {
        cluster: "two".into(),
        ..stand.enrolment()
    };
    for (said, key, why) in [
        (&other, &stand.ca, "enrolled key"),
        (&elsewhere, &stand.ca, "of another cluster"),
        (&stand.enrolment(), &stand.receipt, "agent CA"),
    ] {
        let enrolment = stand.enrolled(said, key);
        let answer = stand.answer([&enrolment, &stand.signed(&receipt())], 1, &stand.log);
        assert!(stand.read(&answer).unwrap_err().contains(why), "{why}");
    }
    let before = stand.answer([&stand.signed(&receipt()), &enrolment], 0, &stand.log);
    assert!(stand.read(&before).unwrap_err().contains("before"));

    // In no log, or in another one.
    let forged = stand.answer(
        [&enrolment, &stand.signed(&receipt())],
        1,
        &FileKey::from_seed(&[9; 32]).unwrap(),
    );
    assert!(stand.read(&forged).is_err());
    let swapped = VerifyAnswer {
        receipt: good.receipt.clone().map(|receipt| ProvenEntry {
            proof: good.enrolment.clone().unwrap().proof,
            ..receipt
        }),
        ..good.clone()
    };
    assert!(stand.read(&swapped).is_err());
    let silent = VerifyAnswer {
        receipt: None,
        ..good
    };
    assert!(stand.read(&silent).is_err());
}
