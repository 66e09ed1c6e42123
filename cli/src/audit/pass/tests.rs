//! Whole logs: complete ones, in which all holds, and what is found in others.

mod measured;
mod receipts;
mod states;

use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::trust::Level;

use super::*;
use crate::audit::index::Bound;
use crate::audit::tests::fixture::Fixture;
use crate::log::source::Folder;

/// Audits a folder; the clock is the fixture's end.
fn audit(
    folder: &std::path::Path,
    index: Option<&std::path::Path>,
    now: u64,
) -> Result<Outcome, PassError> {
    let files = Folder(folder.to_owned());
    let trust = Trust::read(&files, None, None).unwrap();
    let log = Log::open(&files, &trust.known()?)?;
    let bound = Bound {
        vkey: trust.vkey()?.to_string(),
        roots: trust.roots.iter().map(|root| root.digest()).collect(),
    };
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
