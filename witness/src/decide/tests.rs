use countersign_ledger::tlog::merkle::EMPTY_ROOT;
use proptest::prelude::*;

use super::*;
use crate::tests::sample::History;

fn ask(known: Option<Tree>, old: u64, history: &History) -> Decision {
    let proof = if old <= history.tree().size {
        history.proof(old)
    } else {
        Vec::new()
    };
    consider(
        known,
        &Offer {
            old,
            proof: &proof,
            tree: history.tree(),
        },
    )
}

fn code(decision: Decision) -> &'static str {
    match decision {
        Decision::Cosign => "COSIGN",
        Decision::Refuse(refusal) => refusal.code(),
    }
}

#[test]
fn the_table() {
    let main = |size| History::new(size, u64::MAX, 0);
    let fork = |size| History::new(size, 5, 1);
    let at = |size| Some(main(size).tree());
    for (known, old, history, want) in [
        (None, 0, main(0), "COSIGN"),
        (None, 0, main(9), "COSIGN"),
        (None, 1, main(9), "NOT_THE_KNOWN"),
        (at(0), 0, main(0), "COSIGN"),
        (at(0), 0, main(3), "COSIGN"),
        (at(7), 7, main(7), "COSIGN"),
        (at(7), 7, main(8), "COSIGN"),
        (at(7), 7, main(300), "COSIGN"),
        // Below the fork both histories are one.
        (at(5), 5, fork(9), "COSIGN"),
        (at(7), 7, fork(7), "LOG_FORKED"),
        (at(7), 7, fork(8), "NOT_CONSISTENT"),
        (at(7), 7, fork(300), "NOT_CONSISTENT"),
        // An older one again, with whatever is said of the old size.
        (at(7), 7, main(6), "SHRINKS"),
        (at(7), 6, main(6), "NOT_THE_KNOWN"),
        (at(7), 0, main(7), "NOT_THE_KNOWN"),
        (at(7), 0, main(0), "NOT_THE_KNOWN"),
        (at(7), 5, main(9), "NOT_THE_KNOWN"),
        (at(7), 8, main(9), "NOT_THE_KNOWN"),
        (at(7), 10, main(9), "SHRINKS"),
        (at(7), u64::MAX, main(9), "SHRINKS"),
    ] {
        assert_eq!(
            code(ask(known, old, &history)),
            want,
            "{known:?} {old} {:?}",
            history.tree()
        );
    }
}

#[test]
fn an_empty_tree_has_one_root() {
    let tree = Tree {
        size: 0,
        root: Digest::of(b"other"),
    };
    let offer = Offer {
        old: 0,
        proof: &[],
        tree,
    };
    assert_eq!(consider(None, &offer), Decision::Refuse(Refusal::EmptyRoot));
    let tree = Tree {
        size: 0,
        root: EMPTY_ROOT,
    };
    assert_eq!(consider(None, &Offer { tree, ..offer }), Decision::Cosign);
}

#[test]
fn a_proof_that_proves_nothing_is_refused_where_none_is_needed() {
    let history = History::new(9, u64::MAX, 0);
    let proof = [Digest::default()];
    for (known, old) in [(None, 0), (Some(history.tree()), 9)] {
        let offer = Offer {
            old,
            proof: &proof,
            tree: history.tree(),
        };
        assert_eq!(code(consider(known, &offer)), "NOT_CONSISTENT");
    }
}

/// The statuses are the protocol's; a log decides by them what to do next.
#[test]
fn each_refusal_has_the_status_of_the_protocol() {
    let digest = Digest::default();
    for (refusal, status) in [
        (Refusal::Malformed(Malformed::Old), 400),
        (Refusal::NoCheckpoint(String::new()), 400),
        (Refusal::Shrinks { old: 2, size: 1 }, 400),
        (Refusal::NotSigned, 403),
        (Refusal::UnknownLog(String::new()), 404),
        (Refusal::NotTheKnown { old: 1, known: 2 }, 409),
        (Refusal::EmptyRoot, 422),
        (
            Refusal::Forked {
                size: 1,
                known: digest,
                offered: digest,
            },
            422,
        ),
        (
            Refusal::NotConsistent(ProofError::HashCount { want: 1, got: 0 }),
            422,
        ),
    ] {
        assert_eq!(refusal.status().as_u16(), status, "{refusal}");
    }
}

proptest! {
    /// Two branches of one log, asked for in any order with true or damaged proofs: what is cosigned is one line of
    /// growth. The model is the list of histories itself: a tree continues another if its entries begin with the other's.
    #[test]
    fn what_is_cosigned_is_always_one_history(
        forks_at in 0..20_u64,
        asks in proptest::collection::vec((0..24_u64, 0..2_u8, proptest::option::of(0..24_u64), 0..4_u8, any::<prop::sample::Index>()), 1..40),
    ) {
        let mut cosigned: Vec<History> = Vec::new();
        for (size, branch, old, damage, at) in asks {
            let history = History::new(size, forks_at, branch);
            let known = cosigned.last().map(History::tree);
            let old = old.unwrap_or_else(|| known.map_or(0, |known| known.size));
            let mut proof = if old <= size { history.proof(old) } else { Vec::new() };
            let damaged = match damage {
                0 if !proof.is_empty() => {
                    let at = at.index(proof.len());
                    proof[at] = Digest::of(proof[at].as_bytes());
                    true
                }
                1 => {
                    proof.push(Digest::default());
                    true
                }
                _ => false,
            };
            let continues = match cosigned.last() {
                None => true,
                Some(last) => history.0.starts_with(&last.0),
            };
            let right = old == known.map_or(0, |known| known.size) && old <= size;
            let decision = consider(known, &Offer { old, proof: &proof, tree: history.tree() });
            prop_assert_eq!(decision == Decision::Cosign, continues && right && !damaged);
            if decision == Decision::Cosign {
                cosigned.push(history);
            }
        }
    }
}
