//! States, their sources, and the keys that sealed them.

use countersign_ledger::digest::Digest;
use countersign_ledger::statement::Verdict;
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::trust::Level;

use super::found;
use crate::audit::tests::fixture::Fixture;

#[test]
fn a_state_outside_its_chain_is_found() {
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").generation += 1;
            log.desired("eks-a", &[]);
        }),
        ["GENERATION_SKIPPED"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").generation -= 2;
            log.desired("eks-a", &[]);
        }),
        ["GENERATION_REPLAYED"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").generation -= 1;
            log.desired("eks-a", &[]);
        }),
        ["EQUIVOCATION"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            log.cluster("eks-a").head = Some(Digest::of(b"other"));
            log.desired("eks-a", &[]);
        }),
        ["PREVIOUS_OTHER"]
    );
}

#[test]
fn a_state_without_its_source_is_found() {
    assert_eq!(
        found(Level::Signed, |log| {
            let manifest = log.manifest(&[]);
            let mut desired = log.desired_of("eks-a", manifest);
            desired.source = Digest::of(b"nowhere");
            log.seal(desired, "sealer-prod");
        }),
        ["SOURCE_MISSING"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            let manifest = log.manifest(&[]);
            let mut desired = log.desired_of("eks-a", manifest);
            desired.commit = "f".repeat(40);
            log.seal(desired, "sealer-prod");
        }),
        ["SOURCE_OTHER"]
    );
    let unsigned = |log: &mut Fixture| {
        log.source_with("", Verdict::Unsigned);
        log.desired("eks-a", &[]);
    };
    assert_eq!(found(Level::Authored, unsigned), ["SOURCE_UNVERIFIED"]);
    assert_eq!(found(Level::Signed, unsigned), [""; 0]);
}

#[test]
fn keys_count_for_their_role_and_their_time_only() {
    let seal = |signer: &'static str| {
        move |log: &mut Fixture| {
            let manifest = log.manifest(&[]);
            let desired = log.desired_of("eks-a", manifest);
            log.seal(desired, signer);
        }
    };
    assert_eq!(found(Level::Signed, seal("stranger")), ["KEY_UNKNOWN"]);
    assert_eq!(found(Level::Signed, seal("sealer-test")), ["KEY_ROLE"]);
    assert_eq!(found(Level::Signed, seal("log")), ["KEY_UNKNOWN"]);
    assert_eq!(
        found(Level::Signed, |log| {
            log.revoke("sealer-prod");
            seal("sealer-prod")(log);
        }),
        ["KEY_REVOKED"]
    );
    let rotate = |log: &mut Fixture| {
        log.root(|root| {
            root.sealers.get_mut("prod").unwrap()[0].key =
                crate::audit::tests::fixture::key("sealer-2").public();
        });
    };
    use countersign_ledger::key::Sign as _;
    assert_eq!(
        found(Level::Signed, |log| {
            rotate(log);
            seal("sealer-2")(log);
        }),
        ["KEY_NOT_YET"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            rotate(log);
            log.trust(2);
            seal("sealer-prod")(log);
        }),
        ["KEY_DROPPED"]
    );
    assert_eq!(
        found(Level::Signed, |log| {
            rotate(log);
            log.trust(2);
            seal("sealer-2")(log);
        }),
        [""; 0]
    );
}

#[test]
fn what_the_levels_ask_for_is_held_against_the_receipts() {
    let unreproduced = |log: &mut Fixture| {
        log.source();
        log.desired("eks-a", &[]);
        log.receipt("eks-a", ReceiptKind::Sync);
    };
    assert_eq!(
        found(Level::Reproduced, unreproduced),
        ["REPRODUCTION_MISSING", "STATE_UNREPRODUCED"]
    );
    assert_eq!(
        found(Level::Reproduced, |log| {
            log.source();
            for name in ["eks-a", "metal-b", "eks-a"] {
                log.desired(name, &[]);
            }
            log.reproduction("eks-a", false);
        }),
        [
            "REPRODUCTION_DISAGREES",
            "STATE_UNREPRODUCED",
            "STATE_UNREPRODUCED"
        ]
    );
    assert_eq!(found(Level::Authored, unreproduced), [""; 0]);
    assert_eq!(
        found(Level::Authored, |log| {
            log.source();
            log.desired("eks-a", &[]);
            log.reproduction("eks-a", false);
        }),
        ["REPRODUCTION_DISAGREES"]
    );
    assert_eq!(
        found(Level::Witnessed, |log| {
            let mut receipt = log.receipt_of("eks-a", ReceiptKind::Sync);
            receipt.checkpoint.time = None;
            log.countersign(receipt, "receipt-eks-a");
        }),
        ["RECEIPT_UNWITNESSED"]
    );
}
