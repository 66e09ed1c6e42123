use std::fs;
use std::io::Write as _;

use countersign_ledger::key::{FileKey, RingVerifier, Sign as _};
use countersign_ledger::receipt::{Chain, Offer, Speaker};
use countersign_ledger::statement::receipt::AppCounts;
use proptest::prelude::*;

use super::*;
use crate::receipt::tests::{facts, key, record, signed, standing};

/// The next thing said: heartbeats, and now and then a drift with a blob.
fn next(place: Place, n: i64) -> Item {
    if n % 3 == 0 {
        let seen = crate::receipt::inbox::DriftSeen {
            generation: 3,
            count: 1,
            healed_after: 1,
            last: n,
            samples: vec![record(&format!("o{n}"), n)],
            record: record("a", n),
        };
        return signed(&facts().drift(place, standing(), &seen).unwrap());
    }
    signed(&facts().heartbeat(place, Some(standing()), AppCounts::default(), n))
}

fn open(folder: &Path) -> Queue {
    Queue::open(folder, key().public()).unwrap()
}

fn begun(folder: &Path) -> Queue {
    let mut queue = open(folder);
    assert!(!queue.has_begun());
    queue.begin(0, None).unwrap();
    queue
}

fn append(queue: &mut Queue, count: i64) -> Vec<Item> {
    let mut items = Vec::new();
    for _ in 0..count {
        let place = queue.next();
        let item = next(place, i64::try_from(place.seq).unwrap());
        queue.append(std::slice::from_ref(&item)).unwrap();
        items.push(item);
    }
    items
}

fn items(queue: &Queue) -> Vec<Item> {
    let waiting = queue.waiting(usize::MAX, usize::MAX).unwrap();
    waiting.into_iter().map(|waiting| waiting.item).collect()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn what_was_recorded_is_there_after_a_restart_in_order_until_it_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = begun(dir.path());
    let said = append(&mut queue, 7);
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!(items(&queue), said);
    queue.proven(3, None).unwrap();
    assert_eq!(items(&queue), said[3..]);
    assert_eq!(queue.next().seq, 8);
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!(items(&queue), said[3..]);
    queue.proven(7, None).unwrap();
    assert!(queue.is_empty());
    drop(queue);
    let queue = open(dir.path());
    assert_eq!((queue.len(), queue.next().seq), (0, 8));
}

#[test]
fn a_crash_amid_an_append_leaves_what_was_recorded_before_and_a_chain_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = begun(dir.path());
    let mut said = append(&mut queue, 2);
    let before = fs::metadata(dir.path().join(LOG)).unwrap().len();
    said.extend(append(&mut queue, 2));
    let after = fs::metadata(dir.path().join(LOG)).unwrap().len();
    drop(queue);
    // Each byte of the frames' heads and ends, and some between.
    let cuts = (before..=after).filter(|cut| {
        let (from, to) = (cut - before, after - cut);
        from <= HEAD as u64 || to <= 8 || from % 37 == 0
    });
    for cut in cuts {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        let log = OpenOptions::new()
            .write(true)
            .open(crashed.path().join(LOG))
            .unwrap();
        log.set_len(cut).unwrap();
        let mut queue = open(crashed.path());
        let left = items(&queue);
        assert_eq!(left, said[..left.len()], "cut at {cut}");
        assert!(left.len() >= 2, "cut at {cut}");
        assert_eq!(queue.next().seq, left.len() as u64 + 1);
        let new = append(&mut queue, 1);
        drop(queue);
        let again = items(&open(crashed.path()));
        assert_eq!(again, [left, new].concat(), "cut at {cut}");
    }
}

#[test]
fn a_crash_between_base_and_frames_sends_nothing_twice_and_gives_no_seq_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = begun(dir.path());
    let said = append(&mut queue, 4);
    let frames = fs::read(dir.path().join(LOG)).unwrap();
    queue.proven(4, None).unwrap();
    drop(queue);
    // The base is new, the frames are as before.
    fs::write(dir.path().join(LOG), &frames).unwrap();
    let mut queue = open(dir.path());
    assert_eq!((queue.len(), queue.next().seq), (0, 5));
    let new = append(&mut queue, 1);
    drop(queue);
    assert_eq!(items(&open(dir.path())), new);
    drop(said);
}

#[test]
fn what_is_not_the_next_one_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = begun(dir.path());
    let said = append(&mut queue, 2);
    for odd in [
        Place {
            seq: 2,
            previous: Some(Digest::of(b"x")),
        },
        Place {
            seq: 3,
            previous: Some(Digest::of(b"x")),
        },
        Place {
            seq: 4,
            previous: queue.next().previous,
        },
    ] {
        assert!(queue.append(&[next(odd, 1)]).is_err());
    }
    assert_eq!(items(&queue), said);
    append(&mut queue, 1);
}

#[test]
fn nothing_is_signed_before_it_is_known_where_the_chain_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    let item = next(queue.next(), 1);
    assert!(queue.append(&[item]).is_err());
    queue.begin(41, Some(Digest::of(b"the newest"))).unwrap();
    append(&mut queue, 1);
    drop(queue);
    let queue = open(dir.path());
    assert_eq!((queue.len(), queue.next().seq), (1, 43));
}

#[test]
fn another_key_begins_another_chain_and_the_old_one_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = begun(dir.path());
    append(&mut queue, 2);
    drop(queue);
    let other = FileKey::from_seed(&[6; 32]).unwrap().public();
    let queue = Queue::open(dir.path(), other).unwrap();
    assert!(!queue.has_begun() && queue.is_empty());
    let aside = dir.path().join(format!("of-{}", key().public().id()));
    assert_eq!(items(&open(&aside)).len(), 2);
}

#[test]
fn the_newest_sync_is_known_before_and_after_it_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = begun(dir.path());
    let sync = crate::receipt::inbox::SyncSeen {
        generation: 3,
        started: 1,
        ended: 2,
        apps: AppCounts::default(),
        health: crate::health::Status::Healthy,
        results: Bytes::from_static(b"{}\n"),
        dropped: 0,
    };
    let item = signed(&facts().sync(queue.next(), standing(), &sync));
    queue.append(&[item]).unwrap();
    append(&mut queue, 2);
    let synced = Some(Synced {
        generation: 3,
        failed: 0,
    });
    assert_eq!(queue.synced(), synced);
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!(queue.synced(), synced);
    queue.proven(3, None).unwrap();
    drop(queue);
    assert_eq!(open(dir.path()).synced(), synced);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Appends, proofs, restarts and torn ends in any order: all that was said is one chain, each link once.
    #[test]
    fn the_chain_has_no_gap_and_no_link_twice(steps in prop::collection::vec((0..4_u8, 1..6_i64), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = begun(dir.path());
        let mut gone: Vec<Item> = Vec::new();
        for (step, count) in steps {
            match step {
                0 | 1 => drop(append(&mut queue, count)),
                2 => {
                    let all = items(&queue);
                    let part = all.len().min(usize::try_from(count).unwrap());
                    if part > 0 {
                        queue.proven((gone.len() + part) as u64, None).unwrap();
                        gone.extend_from_slice(&all[..part]);
                    }
                }
                _ => {
                    drop(queue);
                    let mut log = OpenOptions::new().append(true).open(dir.path().join(LOG)).unwrap();
                    log.write_all(&vec![BLOB; usize::try_from(count).unwrap()]).unwrap();
                    queue = open(dir.path());
                }
            }
        }
        gone.extend(items(&queue));
        let mut chain = Chain::new(Speaker {
            fleet: "acme".into(),
            cluster: "metal-fra".into(),
            key: key().public(),
        });
        for item in &gone {
            let offer = chain.offer(&item.envelope, |_| None::<Vec<u8>>, &RingVerifier);
            prop_assert!(matches!(offer, Ok(Offer::Next(_))), "{:?}", offer);
        }
        prop_assert_eq!(chain.next_seq(), queue.next().seq);
    }
}
