use std::collections::HashMap;

use super::*;
use crate::watch::drift::Expected;
use crate::watch::ownership::Mark;
use crate::world::Held;
use countersign_ledger::identity::ObjectId;

fn id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: name.into(),
    }
}

fn held(revision: u64) -> Held {
    Held {
        applied: Some(Digest::of(b"x")),
        expected: Expected {
            uid: "u".into(),
            mark: Mark([7; 16]),
            revision,
            generation: 1,
            words: u64::MAX,
            written: 5,
        },
    }
}

#[test]
fn the_inventory_is_what_the_journal_says_last() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    saved.note(&id("a"), Some(&held(1))).unwrap();
    saved.note(&id("a"), Some(&held(2))).unwrap();
    saved.note(&id("b"), Some(&held(3))).unwrap();
    saved.note(&id("b"), None).unwrap();
    saved.sync().unwrap();
    let again = Saved::open(dir.path()).unwrap();
    assert_eq!(
        again.inventory().unwrap(),
        HashMap::from([(id("a"), held(2))])
    );
}

#[test]
fn a_torn_last_line_is_dropped_and_does_not_swallow_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    saved.note(&id("a"), Some(&held(1))).unwrap();
    let mut file = OpenOptions::new()
        .append(true)
        .open(dir.path().join("inventory.log"))
        .unwrap();
    file.write_all(b"{\"group\":\"\",\"kind\":\"Con").unwrap();
    let again = Saved::open(dir.path()).unwrap();
    assert_eq!(again.inventory().unwrap().len(), 1);
    again.note(&id("b"), Some(&held(2))).unwrap();
    assert_eq!(
        Saved::open(dir.path()).unwrap().inventory().unwrap().len(),
        2
    );
}

#[test]
fn a_compacted_journal_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    for revision in 0..100 {
        saved.note(&id("a"), Some(&held(revision))).unwrap();
    }
    let inventory = saved.inventory().unwrap();
    saved.compact(inventory.iter()).unwrap();
    saved.note(&id("b"), Some(&held(1))).unwrap();
    let again = Saved::open(dir.path()).unwrap().inventory().unwrap();
    assert_eq!(
        again,
        HashMap::from([(id("a"), held(99)), (id("b"), held(1))])
    );
}

#[test]
fn threat_cve_2026_35172_a_blob_with_a_flipped_bit_counts_as_missing() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    let digest = Digest::of(b"blob");
    saved
        .keep(&[(digest, Bytes::from_static(b"blob"))])
        .unwrap();
    assert_eq!(saved.blob(&digest).unwrap(), b"blob");
    fs::write(saved.blob_path(&digest), b"blub").unwrap();
    assert_eq!(
        saved.blob(&digest).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    assert!(!saved.has(&digest));
}

#[test]
fn only_needed_blobs_stay() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    saved
        .keep(&[(a, Bytes::from_static(b"a")), (b, Bytes::from_static(b"b"))])
        .unwrap();
    assert_eq!(saved.drop_blobs_except(&HashSet::from([a])).unwrap(), 1);
    assert!(saved.has(&a) && !saved.has(&b));
}

#[test]
fn a_committed_state_is_read_back_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    assert_eq!(saved.state().unwrap(), None);
    let state = State {
        trust_version: 1,
        generation: 7,
        envelope: Digest::of(b"e"),
        manifest: Digest::of(b"m"),
        cluster_uid: "u".into(),
        cluster_ca: "c".into(),
        log: None,
        authored: None,
    };
    saved.commit(&state).unwrap();
    assert_eq!(saved.state().unwrap(), Some(state));
    assert_eq!(
        fs::metadata(dir.path().join("state.json"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

fn a_state(generation: u64) -> State {
    State {
        trust_version: 1,
        generation,
        envelope: Digest::of(b"e"),
        manifest: Digest::of(b"m"),
        cluster_uid: "u".into(),
        cluster_ca: "c".into(),
        log: None,
        authored: None,
    }
}

#[test]
fn a_committed_state_and_its_blobs_survive_the_loss_of_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    let digest = Digest::of(b"blob");
    saved
        .keep(&[(digest, Bytes::from_static(b"blob"))])
        .unwrap();
    saved.commit(&a_state(1)).unwrap();
    saved.commit(&a_state(2)).unwrap();
    // What a power cut may leave of files that nobody synced.
    fs::write(saved.blob_path(&digest), b"").unwrap();
    fs::write(dir.path().join("state.json"), b"").unwrap();
    let again = Saved::open(dir.path()).unwrap();
    assert_eq!(again.state().unwrap(), Some(a_state(2)));
    assert_eq!(again.blob(&digest).unwrap(), b"blob");
    assert!(again.arrivals().is_empty());
}

#[test]
fn an_arrival_that_a_crash_cut_off_is_none_and_hides_none_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    saved.commit(&a_state(1)).unwrap();
    let whole = fs::metadata(dir.path().join("arrivals.log")).unwrap().len();
    saved.commit(&a_state(2)).unwrap();
    let file = OpenOptions::new()
        .write(true)
        .open(dir.path().join("arrivals.log"))
        .unwrap();
    let all = file.metadata().unwrap().len();
    for length in [whole, whole + 1, whole + 40, all - 1] {
        let copy = tempfile::tempdir().unwrap();
        let bytes = fs::read(dir.path().join("arrivals.log")).unwrap();
        let cut = &bytes[..usize::try_from(length).unwrap()];
        fs::write(copy.path().join("arrivals.log"), cut).unwrap();
        let again = Saved::open(copy.path()).unwrap();
        assert_eq!(again.state().unwrap(), Some(a_state(1)), "{length}");
        again.commit(&a_state(3)).unwrap();
        let third = Saved::open(copy.path()).unwrap();
        assert_eq!(third.state().unwrap(), Some(a_state(3)), "{length}");
    }
}

#[test]
fn settled_arrivals_stand_in_their_own_places() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    let digest = Digest::of(b"blob");
    saved
        .keep(&[(digest, Bytes::from_static(b"blob"))])
        .unwrap();
    saved.commit(&a_state(1)).unwrap();
    saved.settle().unwrap();
    fs::remove_file(dir.path().join("arrivals.log")).unwrap();
    let again = Saved::open(dir.path()).unwrap();
    assert_eq!(again.state().unwrap(), Some(a_state(1)));
    assert!(again.has(&digest));
}

#[test]
fn a_blob_that_a_crash_left_half_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved::open(dir.path()).unwrap();
    let blob = (Digest::of(b"blob"), Bytes::from_static(b"blob"));
    saved.keep(std::slice::from_ref(&blob)).unwrap();
    fs::write(saved.blob_path(&blob.0), b"bl").unwrap();
    saved.keep(std::slice::from_ref(&blob)).unwrap();
    assert_eq!(saved.blob(&blob.0).unwrap(), b"blob");
}
