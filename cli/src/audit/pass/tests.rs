use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::receipt::{Attack, ReceiptKind};
use countersign_ledger::statement::{Permit, PermitKind, Verdict};
use countersign_ledger::trust::Level;

use super::*;
use crate::audit::index::Bound;
use crate::audit::log::{head, note, policy, trust, vkey};
use crate::audit::source::Folder;
use crate::audit::tests::fixture::Fixture;

const HOUR: u64 = 3_600_000;

/// Audits a folder; the clock is the fixture's end.
fn audit(
    folder: &std::path::Path,
    index: Option<&std::path::Path>,
    now: u64,
) -> Result<Outcome, PassError> {
    let files = Folder(folder.to_owned());
    let trust = trust(&files, None, None).unwrap();
    let (vkey, policy) = (vkey(&trust).unwrap(), policy(&trust).unwrap());
    let head = head(note(&files).unwrap(), &vkey, policy.as_ref())?;
    let bound = Bound {
        vkey: vkey.to_string(),
        roots: trust.roots.iter().map(|root| root.digest()).collect(),
    };
    let log = Log::new(&files, head);
    let mut index = Index::open(index, &bound, false)?;
    let way = Way {
        limits: Limits::default(),
        now,
        threads: 2,
        progress: &|_| {},
    };
    run(&log, &trust, &mut index, &way)
}

fn codes(outcome: &Outcome) -> Vec<&'static str> {
    outcome
        .findings
        .iter()
        .map(|finding| finding.code.name())
        .collect()
}

fn judged(fixture: &Fixture) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path());
    let outcome = audit(folder.path(), None, fixture.now + 60_000).unwrap();
    assert!(outcome.tree_holds, "{:?}", outcome.findings);
    outcome
}

/// What is found in a log that ends with what `more` adds to a complete one.
fn found(level: Level, more: impl FnOnce(&mut Fixture)) -> Vec<&'static str> {
    let mut fixture = Fixture::complete(level);
    let before = fixture.entries.len() as u64;
    more(&mut fixture);
    let outcome = judged(&fixture);
    let new = outcome
        .findings
        .iter()
        .filter(|f| f.index.is_some_and(|at| at >= before));
    new.map(|finding| finding.code.name()).collect()
}

#[test]
fn in_a_complete_log_all_holds_at_every_level() {
    for level in Level::ALL {
        let outcome = judged(&Fixture::complete(level));
        assert_eq!(codes(&outcome), [""; 0], "{level}: {:?}", outcome.findings);
        for kind in [
            "source",
            "desired",
            "receipt",
            "drift",
            "enrolment",
            "trust",
            "infrastructure",
            "reproduction",
        ] {
            assert!(
                outcome.counts.get(kind).is_some_and(|count| *count > 0),
                "{kind}"
            );
        }
    }
}

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
fn what_the_levels_ask_for_is_held_against_the_receipts() {
    let unreproduced = |log: &mut Fixture| {
        log.source();
        log.desired("eks-a", &[]);
        log.receipt("eks-a", ReceiptKind::Sync);
    };
    assert_eq!(
        found(Level::Reproduced, unreproduced),
        ["REPRODUCTION_MISSING"]
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

#[test]
fn other_entries_are_found_where_they_stand() {
    assert_eq!(
        found(Level::Signed, |log| {
            log.append(b"{}".to_vec());
            log.append(Vec::new());
        }),
        ["ENTRY_MALFORMED", "ENTRY_MALFORMED"]
    );
}

#[test]
fn one_changed_bit_in_any_file_is_found() {
    let mut fixture = Fixture::complete(Level::Signed);
    for _ in 0..300 {
        fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    }
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path());
    let files = [
        "tile/entries/000",
        "tile/entries/001.p/73",
        "tile/0/000",
        "tile/0/001.p/73",
        "tile/1/000.p/1",
        "checkpoint",
        "trust/1.json",
    ];
    let size = fixture.entries.len();
    assert_eq!(
        size % 256,
        73,
        "the names above are those of {size} entries"
    );
    for file in files {
        let path = folder.path().join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        for bytes in [Some(bad), None] {
            match &bytes {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let outcome = std::panic::catch_unwind(|| audit(folder.path(), None, fixture.now));
            let sound = matches!(outcome, Ok(Ok(ref outcome)) if outcome.tree_holds);
            assert!(!sound, "{file} {}", bytes.is_some());
        }
        std::fs::write(&path, good).unwrap();
    }
    assert!(audit(folder.path(), None, fixture.now).unwrap().tree_holds);
}

#[test]
fn an_audit_goes_on_where_the_last_one_ended_and_finds_what_changed_since() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index.sqlite");
    let mut fixture = Fixture::complete(Level::Signed);
    fixture.write(folder.path());
    let first = audit(folder.path(), Some(&index), fixture.now).unwrap();
    let size = fixture.entries.len() as u64;
    assert_eq!((first.before, first.read), (0, size));
    for _ in 0..500 {
        fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    }
    fixture.write(folder.path());
    let second = audit(folder.path(), Some(&index), fixture.now).unwrap();
    assert_eq!(
        (second.before, second.read, second.tree_holds),
        (size, 500, true)
    );
    // metal-b said nothing in all these minutes.
    assert_eq!(codes(&second), ["RECEIPT_SILENCE"]);
    assert!(second.since.contains(&format!("\n{size}\n")));

    // The same log with another history, signed by the same keys: the index remembers.
    let mut forked = Fixture::complete(Level::Signed);
    forked.entries[5] = b"other".to_vec();
    let entries = std::mem::take(&mut forked.entries);
    forked.tree = crate::audit::tree::Tree::new();
    for entry in entries {
        forked.append(entry);
    }
    for _ in 0..600 {
        forked.receipt("eks-a", ReceiptKind::Heartbeat);
    }
    forked.write(folder.path());
    let third = audit(folder.path(), Some(&index), forked.now).unwrap();
    assert!(!third.tree_holds);
    assert!(
        codes(&third).contains(&"LOG_FORKED"),
        "{:?}",
        third.findings
    );

    // And a log that shrank is refused.
    let short = Fixture::complete(Level::Signed);
    short.write(folder.path());
    let shrunk = audit(folder.path(), Some(&index), short.now);
    assert!(
        matches!(shrunk, Err(PassError::Shrunk { .. })),
        "{shrunk:?}"
    );
}

#[test]
fn too_few_witnesses_are_told() {
    let fixture = Fixture::complete(Level::Signed);
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path());
    std::fs::write(folder.path().join("checkpoint"), fixture.checkpoint_by(&[])).unwrap();
    let outcome = audit(folder.path(), None, fixture.now).unwrap();
    assert_eq!(codes(&outcome), ["WITNESS_QUORUM_MISSING"]);
}

/// By hand, in release: `AUDIT_ENTRIES=1000000 cargo test --release -p countersign-cli million -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_million_entries_are_read_judged_and_asked() {
    let count: usize =
        std::env::var("AUDIT_ENTRIES").map_or(20_000, |count| count.parse().unwrap());
    let mut fixture = Fixture::complete(Level::Signed);
    let manifest = fixture.manifest(&[("cart", "{}")]);
    while fixture.entries.len() < count {
        fixture.source();
        for name in ["eks-a", "metal-b"] {
            let desired = fixture.desired_of(name, manifest);
            fixture.seal(desired, "sealer-prod");
            fixture.receipt(name, ReceiptKind::Sync);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path());
    let (size, now) = (fixture.entries.len() as u64, fixture.now);
    drop(fixture);
    let index = folder.path().join("index.sqlite");
    let timed = |what: &str, started: std::time::Instant| {
        let rate = f64::from(u32::try_from(size).unwrap()) / started.elapsed().as_secs_f64();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = status
            .lines()
            .find(|line| line.starts_with("RssAnon"))
            .unwrap_or("")
            .to_owned();
        println!(
            "{what}: {:?}, {rate:.0} entries/s, {memory}",
            started.elapsed()
        );
    };
    let started = std::time::Instant::now();
    let mut tree = Tree::new();
    for at in 0..size.div_ceil(256) {
        let id = BundleId::at(at, size).unwrap();
        let bytes = std::fs::read(folder.path().join(id.path())).unwrap();
        for entry in bundle::decode(&bytes).unwrap() {
            tree.append(leaf_hash(entry)).unwrap();
        }
    }
    timed("hashes, one thread", started);
    let started = std::time::Instant::now();
    let outcome = audit(folder.path(), Some(&index), now).unwrap();
    timed("verify", started);
    assert!(
        outcome.tree_holds && outcome.findings.is_empty(),
        "{:?}",
        outcome.findings.first()
    );
    let started = std::time::Instant::now();
    let outcome = audit(folder.path(), Some(&index), now).unwrap();
    timed("open the index and check it", started);
    assert_eq!(outcome.read, 0);
}
