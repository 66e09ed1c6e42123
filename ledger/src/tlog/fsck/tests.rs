//! Sound logs of many sizes, and every way to damage one: the finding names the file and the place.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digest::leaf_hash;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::tile::{Edge, TileId, bundles_for, encode, tiles_for};

type Log = BTreeMap<String, Vec<u8>>;

fn entry(index: u64) -> Vec<u8> {
    index
        .to_be_bytes()
        .repeat(1 + usize::try_from(index % 3).unwrap())
}

/// A log of `size` entries as files, and its checkpoint.
fn log(size: u64) -> (Log, Checkpoint) {
    let mut files = Log::new();
    let mut edge = Edge::new();
    for index in 0..size {
        edge.append(leaf_hash(&entry(index)), |tile, hashes| {
            files.insert(tile.path(), encode(hashes));
        })
        .unwrap();
    }
    for (tile, hashes) in edge.partial() {
        files.insert(tile.path(), encode(hashes));
    }
    for bundle in bundles_for(0, size) {
        let entries: Vec<Vec<u8>> = (0..u64::from(bundle.width))
            .map(|at| entry(bundle.index * 256 + at))
            .collect();
        files.insert(
            bundle.path(),
            crate::bundle::encode(entries.iter().map(Vec::as_slice)).unwrap(),
        );
    }
    let checkpoint = Checkpoint {
        origin: "log.example".to_owned(),
        size,
        root: edge.root(),
    };
    (files, checkpoint)
}

fn check(files: &Log, checkpoint: &Checkpoint) -> Vec<Finding> {
    let mut fsck = Fsck::new(checkpoint);
    let mut found = Vec::new();
    while let Some(file) = fsck.wanted() {
        found.extend(fsck.take(files.get(&file.to_string()).map(Vec::as_slice)));
    }
    let verdict = fsck.finish();
    found.extend(verdict.found.iter().cloned());
    assert_eq!(verdict.findings, found.len() as u64);
    assert_eq!(verdict.is_sound(), found.is_empty());
    found
}

fn tile(level: u8, index: u64, width: u16) -> File {
    File::Tile(TileId {
        level,
        index,
        width,
    })
}

fn bundle(index: u64, width: u16) -> File {
    File::Bundle(BundleId { index, width })
}

fn flip(files: &mut Log, file: File, byte: usize) {
    files.get_mut(&file.to_string()).unwrap()[byte] ^= 0x10;
}

#[test]
fn the_files_asked_for_are_those_that_a_log_writes() {
    for size in [
        0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000, 131_072,
    ] {
        let mut asked: Vec<String> = files(size).map(|file| file.to_string()).collect();
        let tiles = tiles_for(0, size).into_iter().map(|tile| tile.path());
        let mut written: Vec<String> = bundles_for(0, size)
            .into_iter()
            .map(|bundle| bundle.path())
            .chain(tiles)
            .collect();
        asked.sort();
        written.sort();
        assert!(asked == written, "{size}");
    }
}

#[test]
fn a_sound_log_is_sound_at_every_kind_of_size() {
    for size in [0, 1, 2, 3, 255, 256, 257, 300, 512, 700, 1_024] {
        let (files, checkpoint) = log(size);
        assert_eq!(check(&files, &checkpoint), [], "{size}");
    }
}

#[test]
fn another_root_is_found_where_all_files_agree() {
    for size in [0, 1, 256, 300] {
        let (files, mut checkpoint) = log(size);
        let got = checkpoint.root;
        checkpoint.root = leaf_hash(b"other");
        assert_eq!(
            check(&files, &checkpoint),
            [Finding::Root {
                want: checkpoint.root,
                got
            }]
        );
    }
}

#[test]
fn a_changed_entry_is_told_from_a_changed_hash() {
    // In a full tile, whose hash the level above knows; and at the right edge, where the root decides.
    for (place, width) in [(0, 256), (2, 88)] {
        let (mut files, checkpoint) = log(600);
        flip(&mut files, bundle(place, width), 2);
        let found = check(&files, &checkpoint);
        assert!(
            matches!(found.as_slice(), [Finding::Entry { file, offset: 0, .. }] if *file == bundle(place, width)),
            "{found:?}"
        );
        let (mut files, checkpoint) = log(600);
        flip(&mut files, tile(0, place, width), 5 * 32);
        let found = check(&files, &checkpoint);
        assert!(
            matches!(found.as_slice(), [Finding::Hash { file, offset: 5, .. }] if *file == tile(0, place, width)),
            "{found:?}"
        );
    }
}

#[test]
fn a_changed_hash_above_is_found_in_its_own_tile() {
    let (mut files, checkpoint) = log(600);
    flip(&mut files, tile(1, 0, 2), 32);
    let found = check(&files, &checkpoint);
    assert!(
        matches!(found.as_slice(), [Finding::Hash { file, offset: 1, .. }] if *file == tile(1, 0, 2)),
        "{found:?}"
    );
}

#[test]
fn a_subtree_that_was_changed_as_a_whole_is_found_below_the_right_hash() {
    let (mut files, checkpoint) = log(600);
    // Entry 3 and its hash agree; the level above still holds the old subtree.
    let path = bundle(0, 256).to_string();
    let mut entries: Vec<Vec<u8>> = crate::bundle::decode(&files[&path])
        .unwrap()
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    entries[3] = b"forged".to_vec();
    files.insert(
        path,
        crate::bundle::encode(entries.iter().map(Vec::as_slice)).unwrap(),
    );
    files.get_mut("tile/0/000").unwrap()[96..128].copy_from_slice(leaf_hash(b"forged").as_bytes());
    let found = check(&files, &checkpoint);
    assert!(
        matches!(found.as_slice(), [Finding::Subtree { file, offset: 0, .. }] if *file == tile(1, 0, 2)),
        "{found:?}"
    );
}

#[test]
fn a_missing_file_and_one_of_another_length_are_named_alone() {
    let (sound, checkpoint) = log(600);
    for file in files(600) {
        let mut files = sound.clone();
        let had = files.remove(&file.to_string()).unwrap();
        assert_eq!(check(&files, &checkpoint), [Finding::Missing { file }]);
        files.insert(file.to_string(), had[..had.len() - 1].to_vec());
        let found = check(&files, &checkpoint);
        match (file, found.as_slice()) {
            (
                File::Tile(_),
                [
                    Finding::Length {
                        file: named,
                        want,
                        got,
                    },
                ],
            ) => {
                assert_eq!((*named, *want, *got), (file, had.len(), had.len() - 1));
            }
            (File::Bundle(bundle), [Finding::Bundle { file: named, error }]) => {
                let last = usize::from(bundle.width) - 1;
                assert_eq!(
                    (*named, error),
                    (file, &BundleError::Truncated { index: last })
                );
            }
            other => panic!("{other:?}"),
        }
    }
    let mut files = sound;
    files.get_mut("tile/entries/000").unwrap().extend([0, 0]);
    assert_eq!(
        check(&files, &checkpoint),
        [Finding::EntryCount {
            file: bundle(0, 256),
            want: 256,
            got: 257
        }]
    );
}

#[test]
fn an_unfinished_check_is_no_sound_one() {
    let (files, checkpoint) = log(300);
    let mut fsck = Fsck::new(&checkpoint);
    let first = fsck.wanted().unwrap();
    assert_eq!(
        fsck.take(files.get(&first.to_string()).map(Vec::as_slice)),
        []
    );
    assert!(!fsck.finish().is_sound());
}

#[test]
fn a_full_file_begins_with_the_partial_one() {
    let (files, _) = log(256);
    let (partial, _) = log(255);
    for file in [tile(0, 0, 255), bundle(0, 255)] {
        let full = &files[&file.full().to_string()];
        assert_eq!(file.cut(full), Some(partial[&file.to_string()].as_slice()));
        assert_eq!(file.cut(&full[..100]), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_changed_bit_is_found_in_its_file(size in 1_u64..800, pick in any::<usize>(), byte in any::<usize>(), bit in 0_u8..8) {
        let (mut files, checkpoint) = log(size);
        let place = pick % files.len();
        let (path, bytes) = files.iter_mut().nth(place).unwrap();
        let path = path.clone();
        let at = byte % bytes.len();
        bytes[at] ^= 1 << bit;
        let found = check(&files, &checkpoint);
        prop_assert!(!found.is_empty());
        for finding in found {
            let (Finding::Bundle { file, .. } | Finding::EntryCount { file, .. } | Finding::Entry { file, .. }
                | Finding::Hash { file, .. }) = finding else {
                return Err(TestCaseError::fail(format!("{finding}")));
            };
            prop_assert_eq!(file.to_string(), path.as_str());
        }
    }

    #[test]
    fn two_files_that_changed_places_are_found(size in 2_u64..800, first in any::<usize>(), second in any::<usize>()) {
        let (mut files, checkpoint) = log(size);
        let paths: Vec<String> = files.keys().cloned().collect();
        let (first, second) = (&paths[first % paths.len()], &paths[second % paths.len()]);
        let (one, other) = (files[first].clone(), files[second].clone());
        prop_assume!(one != other);
        files.insert(first.clone(), other);
        files.insert(second.clone(), one);
        prop_assert!(!check(&files, &checkpoint).is_empty());
    }
}
