//! The state on a disk that forgets, fails and dies.

use std::path::Path;
use std::sync::Arc;

use super::disk::RealDisk;
use super::*;
use crate::tests::disk::{Flavour, SimulatedDisk};

const FOLDER: &str = "/witness";
const LOG: &str = "example.com/log";

fn begun() -> Arc<SimulatedDisk> {
    let disk = Arc::new(SimulatedDisk::default());
    State::begin(Path::new(FOLDER), disk.as_ref()).unwrap();
    disk
}

fn open(disk: &Arc<SimulatedDisk>) -> Result<(State, Records), StateError> {
    State::open(Path::new(FOLDER), Arc::clone(disk) as Arc<dyn Disk>)
}

#[test]
fn what_was_stored_is_there_after_a_crash_in_both_moods_of_the_disk() {
    for keeps_unsynced in [false, true] {
        let disk = begun();
        let (mut state, _) = open(&disk).unwrap();
        state.follow(LOG).unwrap();
        state.store(LOG, b"one").unwrap();
        state.store(LOG, b"two").unwrap();
        disk.crash(|| keeps_unsynced);
        let (_, records) = open(&disk).unwrap();
        assert_eq!(records[LOG].as_deref(), Some(b"two".as_slice()));
    }
}

#[test]
fn a_crash_at_any_write_leaves_the_old_or_the_new_and_a_state_that_opens() {
    for flavour in Flavour::ALL {
        for keeps_unsynced in [false, true] {
            for n in 0.. {
                let disk = begun();
                let (mut state, _) = open(&disk).unwrap();
                disk.fail_at(n, flavour);
                let followed = state.follow(LOG).is_ok();
                let first = followed && state.store(LOG, b"one").is_ok();
                let second = first && state.store(LOG, b"two").is_ok();
                let reached = disk.has_failed();
                disk.crash(|| keeps_unsynced);
                let (_, records) =
                    open(&disk).unwrap_or_else(|error| panic!("{flavour:?} at write {n}: {error}"));
                let newest = records.get(LOG).and_then(|newest| newest.as_deref());
                let fine = match (first, second) {
                    (_, true) => newest == Some(b"two"),
                    (true, false) => newest == Some(b"one") || newest == Some(b"two"),
                    (false, _) => newest.is_none() || newest == Some(b"one"),
                };
                assert!(fine, "{flavour:?} at write {n}: {newest:?}");
                if !reached {
                    break;
                }
            }
        }
    }
}

#[test]
fn after_a_failed_write_the_next_one_counts() {
    for flavour in [Flavour::NotDone, Flavour::DoneButFailed] {
        for n in 0..4 {
            let disk = begun();
            let (mut state, _) = open(&disk).unwrap();
            state.follow(LOG).unwrap();
            state.store(LOG, b"one").unwrap();
            disk.fail_at(n, flavour);
            assert!(state.store(LOG, b"two").is_err());
            state.store(LOG, b"three").unwrap();
            disk.crash(|| false);
            let (_, records) = open(&disk).unwrap();
            assert_eq!(records[LOG].as_deref(), Some(b"three".as_slice()));
        }
    }
}

#[test]
fn a_missing_or_damaged_file_is_an_error_and_never_a_fresh_beginning() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(LOGS)).unwrap();
    State::begin(folder.path(), &RealDisk).unwrap();
    let open = || State::open(folder.path(), Arc::new(RealDisk));
    let (mut state, _) = open().unwrap();
    state.follow(LOG).unwrap();
    state.store(LOG, b"checkpoint").unwrap();
    let path = state.path(LOG);
    for path in [path, folder.path().join(INDEX)] {
        let whole = std::fs::read(&path).unwrap();
        let mut changed: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            changed.push(flipped);
        }
        for bytes in changed {
            std::fs::write(&path, &bytes).unwrap();
            let error = open().unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("is missing"), "{error}");
        std::fs::write(&path, &whole).unwrap();
        open().unwrap();
    }
}

#[test]
fn the_file_of_one_log_under_the_name_of_another_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(LOGS)).unwrap();
    State::begin(folder.path(), &RealDisk).unwrap();
    let (mut state, _) = State::open(folder.path(), Arc::new(RealDisk)).unwrap();
    for origin in [LOG, "example.com/other"] {
        state.follow(origin).unwrap();
        state.store(origin, origin.as_bytes()).unwrap();
    }
    std::fs::copy(state.path(LOG), state.path("example.com/other")).unwrap();
    let error = State::open(folder.path(), Arc::new(RealDisk)).unwrap_err();
    assert!(error.to_string().contains("is of another log"), "{error}");
}

#[test]
fn an_older_index_beside_a_checkpoint_that_it_does_not_name_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(LOGS)).unwrap();
    State::begin(folder.path(), &RealDisk).unwrap();
    let older = std::fs::read(folder.path().join(INDEX)).unwrap();
    let (mut state, _) = State::open(folder.path(), Arc::new(RealDisk)).unwrap();
    state.follow(LOG).unwrap();
    state.store(LOG, b"checkpoint").unwrap();
    std::fs::write(folder.path().join(INDEX), older).unwrap();
    let error = State::open(folder.path(), Arc::new(RealDisk)).unwrap_err();
    assert!(error.to_string().contains("does not name"), "{error}");
}
