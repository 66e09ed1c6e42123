//! States and their sources in the log (check 4, the source part of 6).

use super::*;

pub(in super::super) fn source() -> Source {
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

pub(in super::super) fn source_envelope(source: &Source, seed: u8) -> Envelope {
    let payload = source.payload().unwrap();
    dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(seed)]).unwrap()
}

/// A log with a source entry and `length` states made of it, the last of them changed.
pub(in super::super) struct Stand {
    pub(in super::super) log: Log,
    pub(in super::super) source: u64,
    pub(in super::super) states: Vec<u64>,
    pub(in super::super) chain: Vec<Envelope>,
}

impl Stand {
    pub(in super::super) fn new(length: u64, source: &Envelope) -> Self {
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

    pub(in super::super) fn good(length: u64) -> Self {
        Self::new(length, &source_envelope(&source(), PROD))
    }

    pub(in super::super) fn add(&mut self, state: &Envelope) {
        self.states.push(self.log.push(state));
        self.chain.push(state.clone());
    }

    pub(in super::super) fn links(&self) -> Vec<Link<Vec<u8>>> {
        self.states
            .iter()
            .map(|index| self.log.link(*index))
            .collect()
    }

    pub(in super::super) fn sources(&self) -> Vec<Link<Vec<u8>>> {
        vec![self.log.link(self.source)]
    }

    pub(in super::super) fn check(&self, known: &Known) -> Result<VerifiedStatement, &'static str> {
        let checkpoint = self.log.checkpoint(known);
        verify(known, &self.links(), &self.sources(), Some(&checkpoint))
    }
}

pub(in super::super) fn verify(
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
fn threat_cve_2022_36056_what_is_not_in_the_log_is_refused_under_a_valid_sealer_key() {
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
