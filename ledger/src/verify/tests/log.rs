//! A small log for the checks that look at one, and what a checkpoint must be (checks 2 and 4, the source part of 6).

use super::*;
use crate::digest::leaf_hash;
use crate::limits::{CHECKPOINT_SKEW_SECONDS_MAX, CHECKPOINT_STALE_SECONDS};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::cosignature;
use crate::tlog::merkle::{self, NodeId, ProofError};
use crate::tlog::note::{KeyKind, Note, Vkey};
use crate::trust::{LogTrust, WitnessTrust, log_name};

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

// Chains in the log.

pub(super) fn source() -> Source {
    Source {
        fleet: "acme".into(),
        repository: "r".into(),
        reference: "refs/heads/main".into(),
        old: String::new(),
        new: desired(1, None).commit,
        tree: desired(1, None).commit,
        commit_sha256: Digest::of(b"c"),
        author: "a".into(),
        signer: String::new(),
        verdict: Verdict::Unsigned,
    }
}

pub(super) fn source_envelope(source: &Source, seed: u8) -> Envelope {
    let payload = source.payload().unwrap();
    dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(seed)]).unwrap()
}

/// A log with a source entry and `length` states made of it, the last of them changed.
pub(super) struct Stand {
    pub(super) log: Log,
    pub(super) source: u64,
    pub(super) states: Vec<u64>,
    pub(super) chain: Vec<Envelope>,
}

impl Stand {
    pub(super) fn new(length: u64, source: &Envelope) -> Self {
        let mut log = Log::of(2);
        let place = log.push(source);
        let mut stand = Self {
            log,
            source: place,
            states: Vec::new(),
            chain: Vec::new(),
        };
        for generation in 1..=length {
            let state = Desired {
                source: source.leaf_hash(),
                ..desired(generation, stand.chain.last())
            };
            stand.add(&seal(&state));
        }
        stand
    }

    pub(super) fn good(length: u64) -> Self {
        Self::new(length, &source_envelope(&source(), PROD))
    }

    pub(super) fn add(&mut self, state: &Envelope) {
        self.states.push(self.log.push(state));
        self.chain.push(state.clone());
    }

    pub(super) fn links(&self) -> Vec<Link<Vec<u8>>> {
        self.states
            .iter()
            .map(|index| self.log.link(*index))
            .collect()
    }

    pub(super) fn sources(&self) -> Vec<Link<Vec<u8>>> {
        vec![self.log.link(self.source)]
    }

    pub(super) fn check(&self, known: &Known) -> Result<VerifiedStatement, &'static str> {
        let checkpoint = self.log.checkpoint(known);
        verify(known, &self.links(), &self.sources(), Some(&checkpoint))
    }
}

pub(super) fn verify(
    known: &Known,
    links: &[Link<Vec<u8>>],
    sources: &[Link<Vec<u8>>],
    checkpoint: Option<&VerifiedCheckpoint>,
) -> Result<VerifiedStatement, &'static str> {
    verify_chain(known, links, sources, checkpoint, &RingVerifier).map_err(|refusal| refusal.code())
}

#[test]
fn a_chain_in_the_log_is_verified_to_its_head() {
    let stand = Stand::good(3);
    for known in [known_logged(), witnessed()] {
        let head = stand.check(&known).unwrap();
        assert_eq!(head.generation(), 3);
        assert_eq!(head.index(), Some(5));
        assert_eq!(head.leaf(), stand.chain[2].leaf_hash());
        assert_eq!(head.last().index, Some(5));
    }
    let without = check(&known(), &chain(1)).unwrap();
    assert_eq!(without.index(), None);
}

#[test]
fn a_chain_in_the_log_may_come_in_parts() {
    let stand = Stand::good(3);
    let known = known_logged();
    let checkpoint = stand.log.checkpoint(&known);
    let (links, sources) = (stand.links(), stand.sources());
    let part = verify_part(
        &known,
        &links[..2],
        &sources,
        Some(&checkpoint),
        &RingVerifier,
    );
    let known = part.unwrap();
    assert_eq!(known.last.unwrap().index, Some(4));
    let head = verify(&known, &links[2..], &sources, Some(&checkpoint));
    assert_eq!(head.unwrap().generation(), 3);
}

#[test]
fn a_trust_root_with_a_log_takes_nothing_without_proof() {
    let stand = Stand::good(2);
    let known = known_logged();
    let checkpoint = stand.log.checkpoint(&known);
    let (links, sources) = (stand.links(), stand.sources());
    assert_eq!(
        verify(&known, &links, &sources, None).map(drop),
        Err("LOG_PROOF_MISSING")
    );
    for place in 0..2 {
        let mut bare = links.clone();
        bare[place].proof = None;
        let refused = verify(&known, &bare, &sources, Some(&checkpoint));
        assert_eq!(refused.map(drop), Err("LOG_PROOF_MISSING"));
    }
    let bare = [Link::bare(sources[0].envelope.clone())];
    let refused = verify(&known, &links, &bare, Some(&checkpoint));
    assert_eq!(refused.map(drop), Err("LOG_PROOF_MISSING"));
}

#[test]
fn what_is_not_in_the_log_is_refused_under_a_valid_sealer_key() {
    let stand = Stand::good(1);
    let known = known_logged();
    let checkpoint = stand.log.checkpoint(&known);
    let refused = |links: &[Link<Vec<u8>>], sources: &[Link<Vec<u8>>]| {
        verify(&known, links, sources, Some(&checkpoint)).map(drop)
    };
    let (links, sources) = (stand.links(), stand.sources());
    // Another state, equally signed, with the proof of the one that is there.
    let smuggled = seal(&Desired {
        source: leaf_hash(&stand.log.0[2]),
        renderer: "r2".into(),
        ..desired(1, None)
    });
    let smuggled = Link {
        envelope: smuggled.bytes().to_vec(),
        proof: links[0].proof.clone(),
    };
    assert_eq!(refused(&[smuggled], &sources), Err("NOT_IN_LOG"));
    for change in [
        |proof: &mut Inclusion| proof.index += 1,
        |proof: &mut Inclusion| proof.index -= 1,
        |proof: &mut Inclusion| proof.hashes.truncate(1),
        |proof: &mut Inclusion| proof.hashes[0] = Digest::default(),
    ] {
        let mut links = links.clone();
        links[0].proof.as_mut().map(change).unwrap();
        assert_eq!(refused(&links, &sources), Err("NOT_IN_LOG"));
        let mut sources = sources.clone();
        sources[0].proof.as_mut().map(change).unwrap();
        assert_eq!(refused(&stand.links(), &sources), Err("NOT_IN_LOG"));
    }
    let larger = Stand::good(2);
    assert_eq!(
        refused(&larger.links()[1..], &[]),
        Err("SKIPPED"),
        "the chain is checked first"
    );
}

#[test]
fn states_stand_in_the_log_in_the_order_of_their_generations() {
    let stand = Stand::good(1);
    let mut log = Log::default();
    log.push(&source_envelope(&source(), PROD));
    let second = seal(&Desired {
        source: leaf_hash(&log.0[0]),
        ..desired(2, Some(&stand.chain[0]))
    });
    let late = log.push(&second);
    let early = log.push(&stand.chain[0]);
    let known = known_logged();
    let checkpoint = log.checkpoint(&known);
    let first = Link {
        envelope: stand.chain[0].bytes().to_vec(),
        proof: Some(log.inclusion(early)),
    };
    let links = [first, log.link(late)];
    let refused = verify(&known, &links, &[log.link(0)], Some(&checkpoint));
    assert_eq!(refused.map(drop), Err("LOG_ORDER"));
    for (before, code) in [(late + 1, "LOG_ORDER"), (late, "LOG_ORDER")] {
        let known = Known {
            last: Some(Last {
                generation: 1,
                envelope: stand.chain[0].digest(),
                trust_root: 1,
                index: Some(before),
            }),
            ..known.clone()
        };
        let refused = verify(&known, &links[1..], &[log.link(0)], Some(&checkpoint));
        assert_eq!(refused.map(drop), Err(code));
    }
    for before in [Some(late - 1), None] {
        let known = Known {
            last: Some(Last {
                generation: 1,
                envelope: stand.chain[0].digest(),
                trust_root: 1,
                index: before,
            }),
            ..known.clone()
        };
        let taken = verify(&known, &links[1..], &[log.link(0)], Some(&checkpoint));
        assert_eq!(taken.unwrap().generation(), 2);
    }
}

#[test]
fn a_state_names_a_source_entry_that_is_in_the_log_before_it() {
    let good = Stand::good(1);
    let known = known_logged();
    let checkpoint = good.log.checkpoint(&known);
    let refused = verify(&known, &good.links(), &[], Some(&checkpoint));
    assert_eq!(refused.map(drop), Err("SOURCE_MISSING"));

    let mut late = Stand::new(1, &source_envelope(&source(), PROD));
    late.source = late.log.push(&source_envelope(&source(), PROD));
    assert_eq!(late.check(&known).map(drop), Err("SOURCE_MISMATCH"));
}

#[test]
fn a_source_entry_is_what_it_must_be() {
    let known = known_logged();
    let check = |envelope: &Envelope| Stand::new(1, envelope).check(&known).map(drop);
    let other_commit = Source {
        new: "f".repeat(40),
        ..source()
    };
    let other_fleet = Source {
        fleet: "evil".into(),
        ..source()
    };
    assert_eq!(check(&source_envelope(&source(), PROD)), Ok(()));
    assert_eq!(
        check(&source_envelope(&source(), DEV)),
        Ok(()),
        "the entry is of the whole fleet"
    );
    let wrong = Err("SOURCE_MISMATCH");
    assert_eq!(check(&source_envelope(&other_commit, PROD)), wrong);
    assert_eq!(check(&source_envelope(&other_fleet, PROD)), wrong);
    assert_eq!(check(&source_envelope(&source(), ROOT)), wrong);
    assert_eq!(check(&seal(&desired(1, None))), wrong);
    let payload = source().payload().unwrap();
    let typed = dsse::sign("application/json", &payload, &[&key(PROD)]).unwrap();
    assert_eq!(check(&typed), wrong);
}

#[test]
fn no_more_sources_than_links_are_looked_at() {
    let stand = Stand::good(1);
    let known = known_logged();
    let checkpoint = stand.log.checkpoint(&known);
    let many = |count| vec![stand.sources().remove(0); count];
    assert!(verify(&known, &stand.links(), &many(256), Some(&checkpoint)).is_ok());
    let refused = verify(&known, &stand.links(), &many(257), Some(&checkpoint));
    assert_eq!(refused.map(drop), Err("CHAIN_TOO_LONG"));
}

#[test]
fn a_checkpoint_counts_for_its_own_log_and_level_alone() {
    let stand = Stand::good(1);
    let unwitnessed = checkpoint(
        &known_logged(),
        &stand.log.note_at(stand.log.size(), &[]),
        &[],
        None,
        &RingVerifier,
    )
    .unwrap();
    let refused = verify(
        &witnessed(),
        &stand.links(),
        &stand.sources(),
        Some(&unwitnessed),
    );
    assert_eq!(refused.map(drop), Err("WITNESS_QUORUM_MISSING"));
    let mut other = logged(1, PROD);
    other.log = Some(LogTrust {
        vkey: vkey(34).to_string(),
        url: None,
    });
    let refused = verify(
        &known_by(&other),
        &stand.links(),
        &stand.sources(),
        Some(&unwitnessed),
    );
    assert_eq!(refused.map(drop), Err("WRONG_LOG"));
}
