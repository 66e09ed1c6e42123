use countersign_ledger::digest::leaf_hash;

use super::*;
use crate::audit::entry::Read;
use crate::audit::tests::fixture::{Fixture, START};
use crate::audit::tree::Tree;

fn bound(name: &str) -> Bound {
    Bound {
        vkey: name.to_owned(),
        roots: vec![Digest::of(b"root")],
    }
}

/// An index of `count` entries in `path`.
fn made(path: &Path, count: usize) -> Index {
    let fixture = Fixture::complete(countersign_ledger::trust::Level::Signed);
    let mut index = Index::open(Some(path), &bound("log"), false).unwrap();
    let mut tree = Tree::new();
    index.start().unwrap();
    for (at, entry) in fixture.entries.iter().take(count).enumerate() {
        let judged = Judgement {
            holds: true,
            floor: at.is_multiple_of(3).then_some(START + at as u64),
            ceiling: at
                .is_multiple_of(3)
                .then_some((at as u64, START + at as u64)),
            findings: vec![Finding {
                index: Some(at as u64),
                code: crate::audit::finding::Code::Refused,
                cluster: "a".into(),
                detail: "d".into(),
            }],
            ..Judgement::default()
        };
        index
            .add(&Row::of(&Read::new(at as u64, entry)), &judged)
            .unwrap();
        tree.append(leaf_hash(entry)).unwrap();
    }
    let progress = Progress {
        size: tree.size(),
        root: tree.root(),
        edge: tree.rows(),
        ..Progress::default()
    };
    index.save(&progress).unwrap();
    index.commit().unwrap();
    index
}

#[test]
fn an_index_survives_its_file_and_one_of_another_log_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/index.sqlite");
    drop(made(&path, 20));
    let again = Index::open(Some(&path), &bound("log"), false).unwrap();
    assert_eq!(again.progress().size, 20);
    drop(again);
    assert_eq!(
        Index::open(Some(&path), &bound("other"), false)
            .unwrap()
            .progress()
            .size,
        0
    );
}

#[test]
fn each_change_of_a_row_is_refused() {
    for change in [
        "UPDATE entry SET who = 'mallory' WHERE idx = 3",
        "UPDATE entry SET holds = 0 WHERE idx = 3",
        "UPDATE entry SET leaf = zeroblob(32) WHERE idx = 3",
        "UPDATE entry SET at = 'text' WHERE idx = 3",
        "DELETE FROM entry WHERE idx = 3",
        "DELETE FROM entry WHERE idx = 19",
        "INSERT INTO entry SELECT 20, leaf, digest, kind, cluster, environment, app, generation, seq, git, subject, what, \
         who, object, at, until, holds FROM entry WHERE idx = 3",
        "UPDATE finding SET code = 'OVERRIDE' WHERE idx = 3",
        "DELETE FROM finding WHERE idx = 3",
        "UPDATE clock SET ms = 0",
        "INSERT INTO change (idx, cluster, generation, line, object, app, git, digest) VALUES (1, '', 1, '', '', '', '', '')",
        "INSERT INTO image (digest, image) VALUES ('a', 'b')",
        "UPDATE meta SET value = CAST(replace(value, '\"size\":20', '\"size\":19') AS BLOB) WHERE name = 'progress'",
        "UPDATE meta SET value = '1' WHERE name = 'content'",
        "DELETE FROM meta WHERE name = 'chains'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        let index = made(&path, 20);
        let changed = index.connection.execute(change, []).unwrap();
        assert!(changed > 0, "{change}");
        drop(index);
        let opened = Index::open(Some(&path), &bound("log"), false);
        assert!(
            matches!(opened, Err(IndexError::Tampered { .. })),
            "{change}"
        );
        assert!(
            Index::open(Some(&path), &bound("log"), true).is_ok(),
            "{change}: --rebuild"
        );
    }
}

#[test]
fn a_time_is_a_range_of_entries_that_leaves_none_out() {
    let folder = tempfile::tempdir().unwrap();
    let index = made(&folder.path().join("index.sqlite"), 20);
    assert_eq!(index.range(None, None).unwrap(), (0, 20));
    // Entry 6 was behind the floor of 3 and 0, and is below the ceiling of 9.
    let between = index.between(6).unwrap();
    assert_eq!(
        (between.after, between.by),
        (Some(START + 3), Some(START + 9))
    );
    for (from, to) in [(0, 30), (4, 10), (9, 9), (18, 40)] {
        let (first, end) = index.range(Some(START + from), Some(START + to)).unwrap();
        for at in 0..20 {
            let between = index.between(at).unwrap();
            let before = between.by.is_some_and(|by| by < START + from);
            let behind = between.after.is_some_and(|after| after >= START + to);
            assert_eq!(
                (first..end).contains(&at),
                !before && !behind,
                "{at} in {from}..{to}"
            );
        }
    }
}
