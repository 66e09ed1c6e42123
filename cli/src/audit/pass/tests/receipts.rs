//! What clusters said.

use countersign_ledger::digest::Digest;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::receipt::{Attack, ReceiptKind};
use countersign_ledger::statement::{Permit, PermitKind, Receipt};
use countersign_ledger::trust::Level;

use super::{codes, found, judged};
use crate::audit::finding::Code;
use crate::audit::tests::fixture::{Fixture, nonce};

const HOUR: u64 = 3_600_000;

#[test]
fn a_gap_or_a_lie_in_receipts_is_found() {
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").seq += 2;
            log.receipt("eks-a", ReceiptKind::Heartbeat);
        }),
        ["RECEIPT_GAP"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").seq -= 1;
            log.receipt("eks-a", ReceiptKind::Heartbeat);
        }),
        ["EQUIVOCATION"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").receipt = Some(Digest::of(b"other"));
            log.receipt("eks-a", ReceiptKind::Heartbeat);
        }),
        ["RECEIPT_PREVIOUS"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            let mut receipt = log.receipt_of("eks-a", ReceiptKind::Sync);
            receipt.desired = Some(Digest::of(b"smuggled"));
            log.countersign(receipt, "receipt-eks-a");
        }),
        ["RECEIPT_STATE_UNKNOWN"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            let receipt = log.receipt_of("eks-a", ReceiptKind::Heartbeat);
            log.countersign(receipt, "receipt-metal-b");
        }),
        ["KEY_ROLE"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            log.enrol("eks-a", "receipt-new", 2);
            log.receipt("eks-a", ReceiptKind::Heartbeat);
        }),
        ["KEY_DROPPED"]
    );
}

#[test]
fn a_cluster_that_saw_another_log_is_the_proof_of_a_fork() {
    for (size_back, want) in [(0, "LOG_FORKED"), (5, "LOG_FORKED")] {
        assert_eq!(
            found(Level::Signed, |log| {
                let mut receipt = log.receipt_of("eks-a", ReceiptKind::Heartbeat);
                receipt.checkpoint.size -= size_back;
                receipt.checkpoint.root = Digest::of(b"other");
                log.countersign(receipt, "receipt-eks-a");
            }),
            [want]
        );
    }
    assert_eq!(
        found(Level::Signed, |log| {
            let mut receipt = log.receipt_of("eks-a", ReceiptKind::Heartbeat);
            receipt.checkpoint.size += 9;
            log.countersign(receipt, "receipt-eks-a");
        }),
        ["LOG_FORKED"]
    );
}

#[test]
fn a_nonce_is_its_cluster_s_and_of_its_time() {
    let with = |nonce: fn(&mut Fixture) -> String| {
        found(Level::Signed, |log| {
            let nonce = nonce(log);
            let receipt = log.receipt_of("eks-a", ReceiptKind::Heartbeat);
            log.countersign(Receipt { nonce, ..receipt }, "receipt-eks-a");
        })
    };
    assert_eq!(with(|_| String::new()), [""; 0]);
    assert_eq!(with(|log| nonce("eks-a", log.now)), [""; 0]);
    assert_eq!(with(|_| "00ff".to_owned()), ["RECEIPT_NONCE"]);
    assert_eq!(with(|log| nonce("metal-b", log.now)), ["NONCE_FOREIGN"]);
    assert_eq!(
        with(|log| nonce("eks-a", log.now + HOUR)),
        ["RECEIPT_NONCE"]
    );
    assert_eq!(
        with(|log| nonce("eks-a", log.now - HOUR / 4)),
        ["RECEIPT_NONCE"],
        "it knew a newer one"
    );
    // The hub was out of reach for three hours, in which the agent went on with the nonce that it had.
    let mut fixture = Fixture::complete(Level::Signed);
    for hours in 0..4 {
        let receipt = fixture.receipt_of("eks-a", ReceiptKind::Heartbeat);
        let nonce = nonce("eks-a", fixture.now - hours * (HOUR + 60_000));
        fixture.countersign(Receipt { nonce, ..receipt }, "receipt-eks-a");
        fixture.now += HOUR;
    }
    let found = judged(&fixture).findings;
    let late: Vec<&str> = found
        .iter()
        .filter(|finding| finding.code == Code::ReceiptNonce)
        .map(|finding| finding.detail.as_str())
        .collect();
    assert_eq!(
        late,
        [
            "was given 2 h before the receipt was written",
            "was given 3 h before the receipt was written"
        ]
    );
}

#[test]
fn exceptions_are_told() {
    assert_eq!(
        found(Level::Signed, |log| {
            log.override_(OverrideKind::Pause, "eks-a", "");
            let mut receipt = log.receipt_of("eks-a", ReceiptKind::Refusal);
            receipt.attack = Some(Attack {
                code: "LOG_FORKED".into(),
                evidence: Digest::of(b"e"),
            });
            log.countersign(receipt, "receipt-eks-a");
            log.receipt("metal-b", ReceiptKind::Refusal);
            log.source();
            let manifest = log.manifest(&[]);
            let mut desired = log.desired_of("eks-a", manifest);
            desired.permits.push(Permit {
                permit: PermitKind::Deletion,
                subject: "cart".into(),
                object: manifest.to_string(),
                by: "ann".into(),
                reason: "gone".into(),
            });
            log.seal(desired, "sealer-prod");
        }),
        ["OVERRIDE", "ATTACK_DETECTED", "REFUSED", "SELF_APPROVED"]
    );
}

#[test]
fn late_and_silent_clusters_are_told() {
    let mut fixture = Fixture::complete(Level::Signed);
    fixture.now += 5 * HOUR;
    fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    let outcome = judged(&fixture);
    assert_eq!(codes(&outcome), ["RECEIPT_SILENCE", "RECEIPT_SILENCE"]);
    assert_eq!(outcome.findings[1].cluster, "metal-b");
    fixture.now -= 4 * HOUR;
    fixture.receipt("metal-b", ReceiptKind::Heartbeat);
    fixture.now += 4 * HOUR;
    assert!(codes(&judged(&fixture)).contains(&"RECEIPT_LATE"));
}
