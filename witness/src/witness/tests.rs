//! The witness as a whole: two at once, a crash at every write, replays. What was handed out is never taken back.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_ledger::tlog::note::Signature;
use proptest::prelude::*;

use super::*;
use crate::tests::disk::{Flavour, SimulatedDisk};
use crate::tests::sample::{History, ORIGIN, checkpoint, key, log_key, log_vkey, request};

const NAME: &str = "witness.example/w1";
const NOW: u64 = 1_800_000_000;

/// A witness's folder, and a disk for its state.
struct Place {
    folder: tempfile::TempDir,
    disk: Arc<dyn Disk>,
}

impl Place {
    fn real() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Home::make(&folder.path().join("w1"), NAME, &key(7)).unwrap();
        Self {
            folder,
            disk: Arc::new(RealDisk),
        }
    }

    /// The key lies on the real disk, the state on a simulated one.
    fn simulated() -> (Self, Arc<SimulatedDisk>) {
        let disk = Arc::new(SimulatedDisk::default());
        let place = Self {
            disk: disk.clone(),
            ..Self::real()
        };
        State::begin(&place.folder.path().join("w1"), disk.as_ref()).unwrap();
        (place, disk)
    }

    fn open(&self) -> Result<Witness, OpenError> {
        let home = Home::open(&self.folder.path().join("w1")).unwrap();
        let clock = Clock::from_fn(|| NOW);
        Witness::open_on(self.disk.clone(), home, &[log_vkey()], clock)
    }
}

fn main(size: u64) -> History {
    History::new(size, u64::MAX, 0)
}

fn fork(size: u64) -> History {
    History::new(size, 5, 1)
}

fn ask(witness: &Witness, history: &History, old: u64) -> Result<String, &'static str> {
    answer(witness, &request(history, old).body())
}

fn answer(witness: &Witness, body: &[u8]) -> Result<String, &'static str> {
    witness.add_checkpoint(body).map_err(|why| match why {
        NotCosigned::Refused(refusal) => refusal.code(),
        NotCosigned::Fault(_) => "FAULT",
    })
}

#[test]
fn the_answer_is_a_cosignature_of_the_checkpoint() {
    let place = Place::real();
    let witness = place.open().unwrap();
    let lines = ask(&witness, &main(9), 0).unwrap();
    let signatures = Signature::parse_lines(lines.as_bytes()).unwrap();
    assert_eq!(signatures.len(), 1);
    let mut note = Note::parse(&checkpoint(ORIGIN, main(9).tree(), &log_key())).unwrap();
    note.add(signatures[0].clone());
    let opened = note
        .open(&[witness.vkey().clone(), log_vkey()], &RingVerifier)
        .unwrap();
    assert_eq!(opened.by(witness.vkey()).unwrap().time, Some(NOW));
    // The same is shown to monitors.
    let shown = witness.newest(&Digest::of(ORIGIN.as_bytes())).unwrap();
    assert_eq!(shown, note.bytes());
    assert_eq!(witness.newest(&Digest::of(b"other")), None);
}

#[test]
fn it_remembers_after_a_restart() {
    let place = Place::real();
    ask(&place.open().unwrap(), &main(9), 0).unwrap();
    let witness = place.open().unwrap();
    assert_eq!(ask(&witness, &fork(9), 9), Err("LOG_FORKED"));
    assert_eq!(ask(&witness, &fork(12), 9), Err("NOT_CONSISTENT"));
    assert_eq!(ask(&witness, &main(7), 0), Err("NOT_THE_KNOWN"));
    assert!(ask(&witness, &main(9), 9).is_ok());
    assert!(ask(&witness, &main(12), 9).is_ok());
}

#[test]
fn a_log_that_was_left_out_for_a_while_is_not_forgotten() {
    let place = Place::real();
    ask(&place.open().unwrap(), &main(9), 0).unwrap();
    let home = || Home::open(&place.folder.path().join("w1")).unwrap();
    let without = Witness::open(home(), &[], Clock::from_fn(|| NOW)).unwrap();
    assert_eq!(ask(&without, &main(12), 9), Err("UNKNOWN_LOG"));
    drop(without);
    assert_eq!(ask(&place.open().unwrap(), &fork(9), 9), Err("LOG_FORKED"));
}

#[test]
fn only_the_log_s_own_signature_counts() {
    let place = Place::real();
    let witness = place.open().unwrap();
    let tree = main(9).tree();
    let body = |note: Vec<u8>| {
        AddCheckpoint {
            old: 0,
            proof: Vec::new(),
            note,
        }
        .body()
    };
    let text = String::from_utf8(checkpoint(ORIGIN, tree, &log_key())).unwrap();
    let of_another_key = checkpoint(ORIGIN, tree, &key(2));
    let of_another_text = text.replace("\n9\n", "\n8\n").into_bytes();
    let unknown = checkpoint("example.com/other", tree, &log_key());
    for (note, want) in [
        (of_another_key, "LOG_SIGNATURE_INVALID"),
        (of_another_text, "LOG_SIGNATURE_INVALID"),
        (unknown, "UNKNOWN_LOG"),
        (b"no note".to_vec(), "NO_CHECKPOINT"),
        (vec![0xff; 10], "NO_CHECKPOINT"),
    ] {
        assert_eq!(answer(&witness, &body(note)), Err(want));
    }
    assert_eq!(answer(&witness, b""), Err("MALFORMED"));
    // A text of the log's that is no checkpoint.
    let mut note = Note::new(&format!("{ORIGIN}\nhello\n")).unwrap();
    note.sign(ORIGIN, &log_key()).unwrap();
    assert_eq!(answer(&witness, &body(note.bytes())), Err("NO_CHECKPOINT"));
    let empty = Tree {
        size: 0,
        root: Digest::of(b"other"),
    };
    let note = checkpoint(ORIGIN, empty, &log_key());
    assert_eq!(answer(&witness, &body(note)), Err("EMPTY_ROOT"));
    assert!(
        ask(&witness, &main(9), 0).is_ok(),
        "nothing of that left a trace"
    );
}

#[test]
fn the_old_and_the_new_key_of_a_log_count_while_it_changes() {
    let place = Place::real();
    let home = Home::open(&place.folder.path().join("w1")).unwrap();
    let new = Vkey::new(
        ORIGIN,
        KeyKind::Ed25519,
        countersign_ledger::key::Sign::public(&key(2)),
    )
    .unwrap();
    let witness = Witness::open(home, &[log_vkey(), new], Clock::from_fn(|| NOW)).unwrap();
    ask(&witness, &main(3), 0).unwrap();
    let next = AddCheckpoint {
        old: 3,
        proof: main(5).proof(3),
        note: checkpoint(ORIGIN, main(5).tree(), &key(2)),
    };
    assert!(answer(&witness, &next.body()).is_ok());
}

#[test]
fn a_witness_s_key_is_no_log_s() {
    let place = Place::real();
    let home = Home::open(&place.folder.path().join("w1")).unwrap();
    let own = home.vkey().clone();
    let opened = Witness::open(home, &[own], Clock::system());
    assert!(matches!(opened, Err(OpenError::NotALogKey { .. })));
}

#[test]
fn a_state_of_another_witness_is_damage() {
    let place = Place::real();
    ask(&place.open().unwrap(), &main(9), 0).unwrap();
    let other = Place::real();
    drop(other.open().unwrap());
    let folder = other.folder.path().join("w1");
    // The same origin, cosigned by a key that isn't this witness's.
    std::fs::remove_dir_all(&folder).unwrap();
    Home::make(&folder, NAME, &key(8)).unwrap();
    for name in [
        "index".to_owned(),
        format!("logs/{}", Digest::of(ORIGIN.as_bytes())),
    ] {
        std::fs::copy(
            place.folder.path().join("w1").join(&name),
            folder.join(&name),
        )
        .unwrap();
    }
    let error = other.open().unwrap_err();
    assert!(
        matches!(error, OpenError::State(StateError::Damaged { .. })),
        "{error}"
    );
}

#[test]
fn of_two_forks_at_once_one_is_cosigned() {
    for round in 0..20 {
        let place = Place::real();
        let witness = place.open().unwrap();
        ask(&witness, &main(5), 0).unwrap();
        // One pair of the same size, one of different sizes.
        let sizes = if round % 2 == 0 { (9, 9) } else { (8, 12) };
        let start = Barrier::new(2);
        let run = |history: History| {
            start.wait();
            ask(&witness, &history, 5)
        };
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| run(main(sizes.0)));
            let other = scope.spawn(|| run(fork(sizes.1)));
            (one.join().unwrap(), other.join().unwrap())
        });
        let cosigned = [&one, &other]
            .iter()
            .filter(|answer| answer.is_ok())
            .count();
        assert_eq!(cosigned, 1, "{one:?} {other:?}");
        let refused = one.as_ref().err().or(other.as_ref().err());
        assert_eq!(refused, Some(&"NOT_THE_KNOWN"));
    }
}

#[test]
fn many_at_once_make_one_line_of_growth() {
    let place = Place::real();
    let witness = place.open().unwrap();
    let known = AtomicU64::new(0);
    let cosigned = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for branch in 0..4_u64 {
            let (witness, known, cosigned) = (&witness, &known, &cosigned);
            scope.spawn(move || {
                for step in 0..25 {
                    let old = known.load(Ordering::SeqCst);
                    let history = if branch == 3 {
                        fork(old + 1)
                    } else {
                        main(old + 1 + (branch + step) % 3)
                    };
                    if ask(witness, &history, old).is_ok() {
                        known.fetch_max(history.tree().size, Ordering::SeqCst);
                        cosigned.lock().unwrap().push(history);
                    }
                }
            });
        }
    });
    let mut cosigned = cosigned.into_inner().unwrap();
    assert!(!cosigned.is_empty());
    cosigned.sort_by_key(|history| history.0.len());
    for pair in cosigned.windows(2) {
        assert!(pair[1].0.starts_with(&pair[0].0), "{pair:?}");
    }
}

/// What a log and the world have seen of a witness: every cosigned history. None may contradict another.
fn contradiction(seen: &[History]) -> Option<(&History, &History)> {
    seen.iter().enumerate().find_map(|(at, one)| {
        let other = seen[at..]
            .iter()
            .find(|other| !other.0.starts_with(&one.0) && !one.0.starts_with(&other.0))?;
        Some((one, other))
    })
}

#[test]
fn a_crash_at_any_write_makes_no_fork_possible() {
    for flavour in Flavour::ALL {
        for keeps in [false, true] {
            for n in 0.. {
                let (place, disk) = Place::simulated();
                let mut seen = Vec::new();
                let ask_both = |witness: &Witness, seen: &mut Vec<History>, size: u64| {
                    // A log that forks whenever it can: both branches, from whatever the witness knows.
                    for history in [main(size), fork(size)] {
                        let old = witness
                            .logs
                            .get(ORIGIN)
                            .and_then(|log| *log.newest.lock().unwrap())
                            .map_or(0, |tree| tree.size);
                        if old <= size && ask(witness, &history, old).is_ok() {
                            seen.push(history);
                        }
                    }
                };
                disk.fail_at(n, flavour);
                if let Ok(witness) = place.open() {
                    ask_both(&witness, &mut seen, 4);
                    ask_both(&witness, &mut seen, 9);
                }
                let reached = disk.has_failed();
                disk.crash(|| keeps);
                let witness = place
                    .open()
                    .unwrap_or_else(|error| panic!("{flavour:?} at write {n}: {error}"));
                ask_both(&witness, &mut seen, 9);
                ask_both(&witness, &mut seen, 13);
                assert!(
                    seen.iter().any(|history| history.0.len() == 13),
                    "it goes on after a crash"
                );
                assert_eq!(contradiction(&seen), None, "{flavour:?} at write {n}");
                if !reached {
                    break;
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Ask {
        size: u64,
        branch: u8,
        old: Option<u64>,
    },
    Replay(prop::sample::Index),
    FailAt(usize, Flavour),
    Crash(Vec<bool>),
}

fn op() -> impl Strategy<Value = Op> {
    let flavour = prop::sample::select(Flavour::ALL.to_vec());
    prop_oneof![
        6 => (0..20_u64, 0..3_u8, prop::option::weighted(0.2, 0..20_u64))
            .prop_map(|(size, branch, old)| Op::Ask { size, branch, old }),
        1 => any::<prop::sample::Index>().prop_map(Op::Replay),
        1 => (0..5_usize, flavour).prop_map(|(n, flavour)| Op::FailAt(n, flavour)),
        1 => prop::collection::vec(any::<bool>(), 8).prop_map(Op::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a model that is only the list of what was handed out: whatever is asked, fails and crashes, all of it is
    /// one history, sizes never go back, and a witness whose disk works cosigns every true continuation.
    #[test]
    fn no_sequence_of_requests_faults_and_crashes_makes_it_cosign_a_fork(
        forks_at in 0..12_u64,
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (place, disk) = Place::simulated();
        let mut witness = place.open().unwrap();
        let mut handed_out: Vec<History> = Vec::new();
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        let mut sound = true;
        for op in ops {
            match op {
                Op::Ask { size, branch, old } => {
                    let history = History::new(size, forks_at, branch);
                    let known = witness.logs[ORIGIN].newest.lock().unwrap().map_or(0, |tree| tree.size);
                    let told = old.unwrap_or(known);
                    let Some(body) = (told <= size).then(|| request(&history, told).body()) else {
                        continue;
                    };
                    let answer = answer(&witness, &body);
                    bodies.push(body);
                    let continues = handed_out.last().is_none_or(|last| history.0.starts_with(&last.0));
                    if sound {
                        prop_assert_eq!(answer.is_ok(), continues && told == known, "{:?}", answer);
                    }
                    if answer.is_ok() {
                        prop_assert!(continues);
                        handed_out.push(history);
                    }
                }
                Op::Replay(at) => {
                    if let Some(body) = (!bodies.is_empty()).then(|| &bodies[at.index(bodies.len())]) {
                        let before = witness.logs[ORIGIN].newest.lock().unwrap().map_or(0, |tree| tree.size);
                        let asked = AddCheckpoint::parse(body).unwrap().old;
                        if asked != before {
                            prop_assert!(answer(&witness, body).is_err());
                        }
                    }
                }
                Op::FailAt(n, flavour) => {
                    disk.fail_at(n, flavour);
                    // Until the next start, memory may be behind the disk: it may refuse what it could cosign.
                    sound = false;
                }
                Op::Crash(keeps) => {
                    let mut keeps = keeps.into_iter().cycle();
                    drop(witness);
                    disk.crash(|| keeps.next().unwrap_or(true));
                    witness = place.open().unwrap();
                    sound = false;
                }
            }
        }
        prop_assert_eq!(contradiction(&handed_out), None);
        prop_assert!(handed_out.windows(2).all(|pair| pair[0].0.len() <= pair[1].0.len()));
    }
}
