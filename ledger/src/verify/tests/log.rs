//! A small log for the checks that look at one, and what a checkpoint must be (check 2).

use super::*;
use crate::digest::leaf_hash;
use crate::limits::{CHECKPOINT_SKEW_SECONDS_MAX, CHECKPOINT_STALE_SECONDS};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::cosignature;
use crate::tlog::merkle::{self, NodeId, ProofError};
use crate::tlog::note::{KeyKind, Note, Vkey};
use crate::trust::{LogTrust, WitnessTrust, log_name};

mod chain;

pub(super) use chain::*;

pub(super) const LOG: u8 = 30;
const WITNESSES: [u8; 3] = [31, 32, 33];
pub(super) const NOW: u64 = 1_795_593_600;

pub(super) fn vkey(seed: u8) -> Vkey {
    Vkey::new(&log_name("acme"), KeyKind::Ed25519, key(seed).public()).unwrap()
}

fn witness(seed: u8) -> Vkey {
    let name = format!("witness.example/{seed}");
    Vkey::new(&name, KeyKind::Cosignature, key(seed).public()).unwrap()
}

pub(super) fn policy() -> WitnessTrust {
    let lines: String = WITNESSES
        .iter()
        .map(|seed| format!("witness w{seed} {}\n", witness(*seed)))
        .collect();
    WitnessTrust {
        policy: format!("{lines}group all 2 w31 w32 w33\nquorum all\n"),
    }
}

/// A trust root that lists the log and its witnesses.
pub(super) fn logged(version: u64, prod: u8) -> TrustRoot {
    let mut document = document(version, prod);
    document.log = Some(LogTrust {
        vkey: vkey(LOG).to_string(),
        url: None,
    });
    document.witnesses = Some(policy());
    document
}

pub(super) fn at_level(mut document: TrustRoot, level: Level) -> TrustRoot {
    for cluster in document.clusters.values_mut() {
        cluster.level = level;
    }
    document
}

pub(super) fn known_logged() -> Known {
    known_by(&logged(1, PROD))
}

pub(super) fn witnessed() -> Known {
    known_by(&at_level(logged(1, PROD), Level::Witnessed))
}

/// A log in memory.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Vec<Vec<u8>>);

impl Log {
    pub(super) fn of(count: usize) -> Self {
        Self(
            (0..count)
                .map(|n| format!("entry {n}").into_bytes())
                .collect(),
        )
    }

    pub(super) fn push(&mut self, envelope: &Envelope) -> u64 {
        self.0.push(envelope.bytes().to_vec());
        self.0.len() as u64 - 1
    }

    fn node(&self, id: NodeId) -> Result<Digest, ProofError> {
        if id.level == 0 {
            return Ok(leaf_hash(&self.0[usize::try_from(id.index).unwrap()]));
        }
        let below = |index| NodeId {
            level: id.level - 1,
            index,
        };
        let (left, right) = (below(2 * id.index), below(2 * id.index + 1));
        Ok(merkle::node_hash(&self.node(left)?, &self.node(right)?))
    }

    pub(super) fn size(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn root(&self, size: u64) -> Digest {
        let hashes: Vec<Digest> = merkle::root_nodes(size)
            .into_iter()
            .map(|id| self.node(id).unwrap())
            .collect();
        merkle::fold_root(size, &hashes).unwrap()
    }

    pub(super) fn inclusion(&self, index: u64) -> Inclusion {
        let hashes = merkle::inclusion_proof(index, self.size(), |id| self.node(id)).unwrap();
        Inclusion { index, hashes }
    }

    pub(super) fn consistency(&self, old: u64) -> Vec<Digest> {
        merkle::consistency_proof(old, self.size(), |id| self.node(id)).unwrap()
    }

    pub(super) fn link(&self, index: u64) -> Link<Vec<u8>> {
        Link {
            envelope: self.0[usize::try_from(index).unwrap()].clone(),
            proof: Some(self.inclusion(index)),
        }
    }

    fn text(&self, size: u64) -> String {
        Checkpoint {
            origin: log_name("acme"),
            size,
            root: self.root(size),
        }
        .text()
    }

    /// The checkpoint at `size`, cosigned by the first witnesses at these times.
    pub(super) fn note_at(&self, size: u64, times: &[u64]) -> Vec<u8> {
        signed(&self.text(size), LOG, times)
    }

    pub(super) fn note(&self) -> Vec<u8> {
        self.note_at(self.size(), &[NOW, NOW])
    }

    pub(super) fn checkpoint(&self, known: &Known) -> VerifiedCheckpoint {
        let consistency = known
            .seen
            .as_ref()
            .map_or_else(Vec::new, |seen| self.consistency(seen.size));
        checkpoint(known, &self.note(), &consistency, Some(NOW), &RingVerifier).unwrap()
    }
}

fn signed(text: &str, log: u8, times: &[u64]) -> Vec<u8> {
    let mut note = Note::new(text).unwrap();
    note.sign(&log_name("acme"), &key(log)).unwrap();
    cosign(note, times)
}

fn cosign(mut note: Note, times: &[u64]) -> Vec<u8> {
    for (seed, time) in WITNESSES.iter().zip(times) {
        let name = witness(*seed).name().to_owned();
        let line = cosignature::sign(&name, &key(*seed), *time, note.text()).unwrap();
        note.add(line);
    }
    note.bytes()
}

fn look(
    known: &Known,
    note: &[u8],
    consistency: &[Digest],
    now: Option<u64>,
) -> Result<VerifiedCheckpoint, &'static str> {
    checkpoint(known, note, consistency, now, &RingVerifier).map_err(|refusal| refusal.code())
}

#[test]
fn a_checkpoint_says_what_was_checked() {
    let log = Log::of(5);
    let checkpoint = log.checkpoint(&witnessed());
    assert_eq!(checkpoint.size(), 5);
    assert_eq!(*checkpoint.root(), log.root(5));
    assert_eq!(checkpoint.time(), Some(NOW));
    assert_eq!(*checkpoint.log(), vkey(LOG));
    let seen = Seen {
        size: 5,
        root: log.root(5),
        note: log.note(),
        time: Some(NOW),
        before: None,
    };
    assert_eq!(*checkpoint.seen(), seen);
    assert_eq!(witnessed().seeing(&checkpoint).seen, Some(seen));
}

#[test]
fn a_checkpoint_bears_the_signature_of_the_fleets_log() {
    let log = Log::of(5);
    let text = log.text(5);
    let look = |note: &[u8]| look(&known_logged(), note, &[], Some(NOW)).map(drop);
    assert_eq!(look(&log.note_at(5, &[])), Ok(()));
    assert_eq!(look(b"nothing"), Err("CHECKPOINT_MALFORMED"));
    assert_eq!(look(&signed(&text, 99, &[])), Err("LOG_SIGNATURE_INVALID"));
    let witnesses_alone = cosign(Note::new(&text).unwrap(), &[NOW, NOW]);
    assert_eq!(look(&witnesses_alone), Err("LOG_SIGNATURE_INVALID"));
    let mut wrong = Note::new(&log.text(4)).unwrap();
    for line in Note::parse(&log.note_at(5, &[])).unwrap().signatures() {
        wrong.add(line.clone());
    }
    assert_eq!(look(&wrong.bytes()), Err("LOG_SIGNATURE_INVALID"));
    let other = text.replacen("acme", "evil", 1);
    assert_eq!(look(&signed(&other, LOG, &[])), Err("WRONG_LOG"));
    let short = log_name("acme") + "\n5\n";
    assert_eq!(look(&signed(&short, LOG, &[])), Err("CHECKPOINT_MALFORMED"));
}

#[test]
fn without_a_log_there_is_no_checkpoint() {
    let log = Log::of(1);
    assert_eq!(look(&known(), &log.note(), &[], None), Err("NO_LOG"));
    let stranger = Known::new("stranger", known_logged().roots, None);
    assert_eq!(
        look(&stranger, &log.note(), &[], None),
        Err("CLUSTER_UNKNOWN")
    );
}

#[test]
fn a_log_only_grows() {
    let log = Log::of(7);
    let older = Log(log.0[..4].to_vec());
    let known = known_logged();
    let known = known.seeing(&older.checkpoint(&known));
    let grown = look(&known, &log.note(), &log.consistency(4), None).unwrap();
    assert_eq!(grown.size(), 7);
    let same = look(&known, &older.note_at(4, &[]), &[], None);
    assert_eq!(same.unwrap().size(), 4);

    let known = known.seeing(&grown);
    let refusal = checkpoint(&known, &older.note(), &[], None, &RingVerifier).unwrap_err();
    assert_eq!(refusal.code(), "LOG_ROLLED_BACK");
    let evidence = refusal.evidence().unwrap();
    assert_eq!(
        (&evidence.ours, &evidence.theirs),
        (&log.note(), &older.note())
    );
}

#[test]
fn a_fork_is_seen_and_kept() {
    let log = Log::of(7);
    let known = known_logged();
    let known = known.seeing(&log.checkpoint(&known));
    let mut forked = log.clone();
    forked.0[3] = b"other".to_vec();
    let mut longer = forked.clone();
    longer.0.extend([b"a".to_vec(), b"b".to_vec()]);
    for (fork, consistency) in [(&forked, Vec::new()), (&longer, longer.consistency(7))] {
        let note = fork.note();
        let refusal = checkpoint(&known, &note, &consistency, None, &RingVerifier).unwrap_err();
        assert_eq!(refusal.code(), "LOG_FORKED");
        let evidence = refusal.evidence().unwrap();
        assert_eq!((&evidence.ours, &evidence.theirs), (&log.note(), &note));
        assert_eq!(evidence.consistency, consistency);
    }
    let refusal = checkpoint(&known, &longer.note(), &[], None, &RingVerifier).unwrap_err();
    assert_eq!(refusal.code(), "CONSISTENCY_UNPROVEN");
    assert!(refusal.evidence().is_some());
    assert_eq!(Refusal::NoLog.evidence(), None);
}

#[test]
fn the_first_checkpoint_follows_nothing() {
    let log = Log::of(7);
    let first = look(&known_logged(), &log.note(), &log.consistency(4), None);
    assert_eq!(first.map(drop), Err("CONSISTENCY_UNPROVEN"));
}

#[test]
fn a_quorum_of_witnesses_cosigned_it_from_level_witnessed_on() {
    let log = Log::of(3);
    let one = log.note_at(3, &[NOW]);
    assert_eq!(
        look(&witnessed(), &one, &[], Some(NOW)).map(drop),
        Err("WITNESS_QUORUM_MISSING")
    );
    let at_signed = look(&known_logged(), &one, &[], Some(NOW)).unwrap();
    assert_eq!(at_signed.time(), None);
    // The quorum's time is the one that two of the three have reached.
    let three = log.note_at(3, &[NOW - 5, NOW, NOW - 9]);
    let all = look(&witnessed(), &three, &[], Some(NOW)).unwrap();
    assert_eq!(all.time(), Some(NOW - 5));
}

#[test]
fn a_quorums_word_is_neither_old_nor_from_the_future() {
    let log = Log::of(3);
    let note = log.note_at(3, &[NOW, NOW]);
    let at = |now: u64| look(&witnessed(), &note, &[], Some(now)).map(drop);
    assert_eq!(at(NOW + CHECKPOINT_STALE_SECONDS), Ok(()));
    assert_eq!(
        at(NOW + CHECKPOINT_STALE_SECONDS + 1),
        Err("CHECKPOINT_STALE")
    );
    assert_eq!(at(NOW - CHECKPOINT_SKEW_SECONDS_MAX), Ok(()));
    assert_eq!(
        at(NOW - CHECKPOINT_SKEW_SECONDS_MAX - 1),
        Err("CHECKPOINT_FROM_FUTURE")
    );
    let years = NOW + 100_000_000;
    assert!(look(&witnessed(), &note, &[], None).is_ok(), "no clock");
    let at_signed = look(&known_logged(), &note, &[], Some(years));
    assert!(at_signed.is_ok(), "nobody promised more");
    assert_eq!(CHECKPOINT_STALE_SECONDS, 900);
    assert_eq!(CHECKPOINT_SKEW_SECONDS_MAX, 300);
}

#[test]
fn a_clock_that_was_set_back_makes_no_old_word_new() {
    let log = Log::of(3);
    let known = witnessed();
    let known = known.seeing(&log.checkpoint(&known));
    let old = log.note_at(3, &[NOW - 901, NOW - 901]);
    assert_eq!(
        look(&known, &old, &[], Some(NOW - 901)).map(drop),
        Err("CHECKPOINT_STALE")
    );
}
