//! Break-glass: what a person may let through before witnesses have seen it, and what nobody may.

use proptest::prelude::*;

use super::blobs::{blobs, manifest};
use super::log::*;
use super::words::*;
use super::*;
use crate::digest::leaf_hash;
use crate::statement::override_::OverrideKind;
use crate::statement::{Override, Reproduction};
use crate::time::Time;
use crate::trust::{RoleKey, Windows};
use crate::verify::glass::{self, BrokenGlass, Came};

const ADA: u8 = 50;
const BOB: u8 = 51;
/// Entries of the log that the cluster has seen.
const SEEN: u64 = 2;

fn at_ms(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

/// A minute after the witnesses were there last.
fn now() -> Time {
    at_ms((NOW + 60) * 1_000)
}

fn named(seed: u8, name: &str) -> NamedKey {
    NamedKey {
        key: key(seed).public(),
        name: name.into(),
    }
}

fn root_at(level: Level) -> TrustRoot {
    let mut document = document_at(level);
    document.overriders = vec![named(ADA, "ada"), named(BOB, "bob")];
    document.agent_cas = vec![RoleKey {
        key: key(CA).public(),
    }];
    document
}

/// A cluster that has seen the beginning of `log`, cosigned.
fn known_at(level: Level, log: &Log) -> Known {
    let known = known_by(&root_at(level));
    let before = Log(log.0[..2].to_vec());
    known.seeing(&before.checkpoint(&known))
}

fn says(what: Digest) -> Override {
    Override {
        fleet: "acme".into(),
        kind: OverrideKind::BreakGlass,
        cluster: Some("metal-fra".into()),
        app: None,
        what: what.to_string(),
        reason: "all witnesses are down".into(),
        by: "ada".into(),
        issued: at_ms(NOW * 1_000),
        until: at_ms((NOW + 3_600) * 1_000),
    }
}

fn word_by(seed: u8, says: &Override) -> Envelope {
    let payload = says.payload().unwrap();
    dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(seed)]).unwrap()
}

/// A chain of states, of which `word` lets one through, while no witness cosigns.
struct Broken {
    known: Known,
    stand: Stand,
    words: Vec<u64>,
    trust: Vec<u64>,
}

impl Broken {
    fn new(level: Level, length: u64) -> Self {
        let stand = Stand::good(length);
        Self {
            known: known_at(level, &stand.log),
            stand,
            words: Vec::new(),
            trust: Vec::new(),
        }
    }

    fn good() -> Self {
        let mut this = Self::new(Level::Witnessed, 2);
        this.say(&word_by(ADA, &says(this.end())));
        this
    }

    fn end(&self) -> Digest {
        self.stand.chain.last().unwrap().digest()
    }

    fn say(&mut self, word: &Envelope) {
        let place = self.stand.log.push(word);
        self.words.push(place);
    }

    fn links(&self, places: &[u64]) -> Vec<Link<Vec<u8>>> {
        let link = |place: &u64| self.stand.log.link(*place);
        places.iter().map(link).collect()
    }

    fn note(&self) -> Vec<u8> {
        self.stand.log.note_at(self.stand.log.size(), &[])
    }

    fn parts(&self) -> Parts {
        Parts {
            note: self.note(),
            consistency: self.stand.log.consistency(SEEN),
            trust: self.links(&self.trust),
            words: self.links(&self.words),
            links: self.stand.links(),
            sources: self.stand.sources(),
        }
    }

    fn verify(&self) -> Result<BrokenGlass, &'static str> {
        self.parts().verify(&self.known, now())
    }

    fn refused(&self) -> &'static str {
        self.verify().unwrap_err()
    }
}

/// What comes in one message.
#[derive(Clone)]
struct Parts {
    note: Vec<u8>,
    consistency: Vec<Digest>,
    trust: Vec<Link<Vec<u8>>>,
    words: Vec<Link<Vec<u8>>>,
    links: Vec<Link<Vec<u8>>>,
    sources: Vec<Link<Vec<u8>>>,
}

impl Parts {
    fn verify(&self, known: &Known, now: Time) -> Result<BrokenGlass, &'static str> {
        let came = Came {
            note: &self.note,
            consistency: &self.consistency,
            trust_entries: &self.trust,
            words: &self.words,
            links: &self.links,
            sources: &self.sources,
        };
        glass::verify(known, &came, now, &RingVerifier).map_err(|refusal| refusal.code())
    }
}

/// What the word of `good` is refused with, once changed and signed again.
fn refused_word(seed: u8, change: impl FnOnce(&mut Override)) -> &'static str {
    let mut this = Broken::new(Level::Witnessed, 2);
    let mut says = says(this.end());
    change(&mut says);
    this.say(&word_by(seed, &says));
    this.refused()
}

#[test]
fn the_state_that_a_person_names_comes_through_without_witnesses() {
    let this = Broken::good();
    let refused = checkpoint(
        &this.known,
        &this.note(),
        &this.stand.log.consistency(SEEN),
        Some(NOW),
        &RingVerifier,
    );
    assert_eq!(refused.unwrap_err().code(), "WITNESS_QUORUM_MISSING");

    let glass = this.verify().unwrap();
    let statement = glass.statement();
    assert_eq!(
        (statement.generation(), statement.envelope()),
        (2, this.end())
    );
    assert_eq!(statement.glass(), Some(this.words[0]));
    assert_eq!(glass.word().index(), this.words[0]);
    assert_eq!(statement.index(), Some(this.stand.states[1]));
    let seen = Seen {
        size: this.stand.log.size(),
        root: this.stand.log.root(this.stand.log.size()),
        note: this.note(),
        time: None,
        before: Some(NOW),
    };
    assert_eq!(*glass.seen(), seen);
    let known = Known {
        last: Some(statement.last()),
        seen: Some(seen),
        ..this.known
    };
    assert_eq!(*glass.known(), known);
}

#[test]
fn it_comes_once_and_the_next_state_waits_for_witnesses() {
    let mut this = Broken::good();
    let glass = this.verify().unwrap();
    let known = glass.known().clone();
    let size = this.stand.log.size();
    let mut parts = this.parts();
    parts.consistency = Vec::new();
    assert_eq!(parts.verify(&known, now()).unwrap_err(), "REPLAYED");

    let third = Desired {
        source: leaf_hash(&this.stand.sources()[0].envelope),
        ..desired(3, this.stand.chain.last())
    };
    this.stand.add(&seal(&third));
    let mut parts = this.parts();
    parts.consistency = this.stand.log.consistency(size);
    parts.links = parts.links.split_off(2);
    assert_eq!(parts.verify(&known, now()).unwrap_err(), "OVERRIDE_INVALID");
    // The witnesses are back: all goes on as ever.
    let checkpoint = this.stand.log.checkpoint(&known);
    let next = super::log::verify(&known, &parts.links, &parts.sources, Some(&checkpoint));
    let next = next.unwrap();
    assert_eq!((next.generation(), next.glass()), (3, None));
}

#[test]
fn without_a_word_for_it_nothing_comes_through() {
    let this = Broken::new(Level::Witnessed, 2);
    assert_eq!(this.refused(), "WITNESS_QUORUM_MISSING");
    let mut parts = Broken::good().parts();
    parts.links.clear();
    assert_eq!(
        parts.verify(&this.known, now()).unwrap_err(),
        "WITNESS_QUORUM_MISSING"
    );
    // A word of another kind that names the same bytes.
    let deletion = refused_word(ADA, |says| {
        says.kind = OverrideKind::Deletion;
        says.app = Some("cart".into());
    });
    assert_eq!(deletion, "WITNESS_QUORUM_MISSING");
    let mut this = Broken::good();
    let bare = Envelope::assemble(dsse::PAYLOAD_TYPE, b"{}", &[]);
    this.words.clear();
    this.say(&bare);
    assert_eq!(this.refused(), "WITNESS_QUORUM_MISSING");
}

#[test]
fn one_good_word_among_others_is_enough() {
    let mut this = Broken::new(Level::Witnessed, 2);
    let end = this.end();
    this.say(&word_by(ADA, &says(Digest::of(b"another"))));
    this.say(&word_by(ADA, &says(end)));
    this.say(&word_by(BOB, &says(end)));
    assert_eq!(
        this.verify().unwrap().statement().glass(),
        Some(this.words[1])
    );
}

#[test]
fn only_the_one_who_may_says_it_and_for_this_state_of_this_cluster() {
    let invalid = "OVERRIDE_INVALID";
    assert_eq!(refused_word(BOB, |_| ()), invalid, "bob, as ada");
    assert_eq!(refused_word(PROD, |_| ()), invalid, "the sealer");
    assert_eq!(refused_word(LOG, |_| ()), invalid, "the log");
    assert_eq!(refused_word(ADA, |says| says.by = "eve".into()), invalid);
    let cluster = |says: &mut Override| says.cluster = Some("kind".into());
    assert_eq!(refused_word(ADA, cluster), invalid, "another cluster");
    let fleet = |says: &mut Override| says.fleet = "evil".into();
    assert_eq!(refused_word(ADA, fleet), invalid, "another fleet");
    let what = |says: &mut Override| says.what = Digest::of(b"another").to_string();
    assert_eq!(refused_word(ADA, what), invalid, "another state");
    let mut this = Broken::new(Level::Witnessed, 2);
    this.say(&word_by(ADA, &says(this.stand.chain[0].digest())));
    assert_eq!(this.refused(), invalid, "the state before it");
}

#[test]
fn a_word_that_has_ended_counts_for_nothing() {
    let this = Broken::good();
    let parts = this.parts();
    let until = (NOW + 3_600) * 1_000;
    let at = |known: &Known, ms: u64| parts.verify(known, at_ms(ms)).map(drop);
    assert_eq!(at(&this.known, until - 1), Ok(()));
    assert_eq!(at(&this.known, until), Err("OVERRIDE_INVALID"));
    // A clock that was set back: witnesses have seen a later time.
    let mut known = this.known.clone();
    known.seen.as_mut().unwrap().time = Some(NOW + 3_600);
    assert_eq!(at(&known, 0), Err("OVERRIDE_INVALID"));
    known.seen.as_mut().unwrap().time = Some(NOW + 3_599);
    assert_eq!(at(&known, 0), Ok(()));
    // What waited for something else since.
    let glass = this.verify().unwrap();
    let check = |ms| {
        glass
            .check_time(at_ms(ms))
            .map_err(|refusal| refusal.code())
    };
    assert_eq!(check(until - 1), Ok(()));
    assert_eq!(check(until), Err("OVERRIDE_INVALID"));
}

#[test]
fn a_key_that_the_newest_root_dropped_breaks_no_glass_wherever_its_word_stands() {
    let this = Broken::good();
    let mut document = root_at(Level::Witnessed);
    document.version = 2;
    document.overriders = vec![named(BOB, "bob"), named(52, "ada")];
    let next = document.sign(&[&key(ROOT)]).unwrap();
    let mut known = this.known.clone();
    known.roots.extend(next.bytes(), &RingVerifier).unwrap();
    // The log says only that the first root is in effect: a hub hides the entry of the second.
    let mut windows = Windows::default();
    let first = known.roots.at(1).unwrap().clone();
    windows.push(0, first.into()).unwrap();
    known.windows = windows;
    let refused = this.parts().verify(&known, now());
    assert_eq!(refused.unwrap_err(), "OVERRIDE_INVALID");
}

#[test]
fn an_override_key_alone_lets_nothing_in_that_is_not_logged() {
    let this = Broken::good();
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut parts = this.parts();
        change(&mut parts);
        parts.verify(&this.known, now()).map(drop)
    };
    // The word itself.
    let other = this.stand.log.inclusion(0);
    let moved = refused(&|parts| parts.words[0].proof = Some(other.clone()));
    assert_eq!(moved, Err("NOT_IN_LOG"));
    assert_eq!(
        refused(&|parts| parts.words[0].proof = None),
        Err("LOG_PROOF_MISSING")
    );
    // Each state of the chain, and where it came from.
    for place in 0..2 {
        let moved = refused(&|parts| parts.links[place].proof = Some(other.clone()));
        assert_eq!(moved, Err("NOT_IN_LOG"));
        let bare = refused(&|parts| parts.links[place].proof = None);
        assert_eq!(bare, Err("LOG_PROOF_MISSING"));
    }
    assert_eq!(
        refused(&|parts| parts.sources.clear()),
        Err("SOURCE_MISSING")
    );
    let moved = refused(&|parts| parts.sources[0].proof = Some(other.clone()));
    assert_eq!(moved, Err("NOT_IN_LOG"));
    assert_eq!(
        refused(&|parts| drop(parts.links.remove(0))),
        Err("SKIPPED")
    );
}

#[test]
fn nothing_of_another_cluster_or_by_another_key_comes_through() {
    let through = |seed: u8, change: fn(&mut Desired)| {
        let mut this = Broken::new(Level::Witnessed, 0);
        let source = leaf_hash(&this.stand.sources()[0].envelope);
        let mut state = Desired {
            source,
            ..desired(1, None)
        };
        change(&mut state);
        this.stand.add(&seal_by(seed, &state));
        this.say(&word_by(ADA, &says(this.end())));
        this.verify().map(drop)
    };
    assert_eq!(through(PROD, |_| ()), Ok(()));
    assert_eq!(
        through(PROD, |state| state.cluster = "kind".into()),
        Err("WRONG_CLUSTER")
    );
    assert_eq!(
        through(PROD, |state| state.environment = "dev".into()),
        Err("WRONG_ENVIRONMENT")
    );
    assert_eq!(through(DEV, |_| ()), Err("SIGNATURE_INVALID"));
    assert_eq!(
        through(ADA, |_| ()),
        Err("SIGNATURE_INVALID"),
        "an override key seals nothing"
    );
}

#[test]
fn the_log_neither_forks_nor_goes_back() {
    let this = Broken::good();
    let refused = |known: &Known, change: &dyn Fn(&mut Parts)| {
        let mut parts = this.parts();
        change(&mut parts);
        parts.verify(known, now()).map(drop)
    };
    assert_eq!(
        refused(&this.known, &|parts| parts.consistency.clear()),
        Err("CONSISTENCY_UNPROVEN")
    );
    let mut other = this.known.clone();
    other.seen.as_mut().unwrap().root = Digest::of(b"another history");
    assert_eq!(refused(&other, &|_| ()), Err("LOG_FORKED"));
    let mut ahead = this.known.clone();
    ahead.seen.as_mut().unwrap().size = this.stand.log.size() + 1;
    assert_eq!(refused(&ahead, &|_| ()), Err("LOG_ROLLED_BACK"));
    let size = this.stand.log.size();
    let text = this.note();
    let text = std::str::from_utf8(&text).unwrap();
    let (body, _) = text.split_once("\n\n").unwrap();
    let mut unsigned = crate::tlog::note::Note::new(&format!("{body}\n")).unwrap();
    unsigned.sign(vkey(LOG).name(), &key(99)).unwrap();
    let note = unsigned.bytes();
    assert_eq!(
        refused(&this.known, &|parts| parts.note.clone_from(&note)),
        Err("LOG_SIGNATURE_INVALID")
    );
    let known = this.verify().unwrap().known().clone();
    // What was shown once stays so: a history without it is a fork.
    let mut forked = this.stand.log.clone();
    forked.0[3] = b"other".to_vec();
    forked.0.push(b"more".to_vec());
    let refused = checkpoint(
        &known,
        &forked.note(),
        &forked.consistency(size),
        Some(NOW),
        &RingVerifier,
    );
    assert_eq!(refused.unwrap_err().code(), "LOG_FORKED");
    // And a clock that was set back makes no old cosignature new after it.
    let refused = checkpoint(
        &known,
        &this.stand.log.note_at(size, &[NOW - 901, NOW - 901]),
        &[],
        Some(NOW - 901),
        &RingVerifier,
    );
    assert_eq!(refused.unwrap_err().code(), "CHECKPOINT_STALE");
}

#[test]
fn roots_that_took_effect_meanwhile_are_heard_under_the_same_checkpoint() {
    let mut this = Broken::new(Level::Witnessed, 1);
    let mine = entry(&this.known, 1);
    let place = this.stand.log.push(&signed(&mine, CA));
    this.trust = vec![place];
    this.say(&word_by(ADA, &says(this.end())));
    // The root is in effect from behind the state on: its sealer could not speak before.
    assert_eq!(this.verify().unwrap().known().windows.effects().count(), 1);
    let mut forged = Broken::new(Level::Witnessed, 1);
    let place = forged.stand.log.push(&signed(&mine, PROD));
    forged.trust = vec![place];
    forged.say(&word_by(ADA, &says(forged.end())));
    assert_eq!(forged.refused(), "TRUST_ENTRY_MISMATCH");
}

#[test]
fn people_and_second_renderers_are_asked_all_the_same() {
    let mut this = Broken::new(Level::Reproduced, 1);
    this.say(&word_by(ADA, &says(this.end())));
    let reproduction = Reproduction {
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        generation: 1,
        commit: desired(1, None).commit,
        desired: this.stand.chain[0].leaf_hash(),
        digest: manifest().render_digest(),
        agrees: true,
    };
    let place = this.stand.log.push(&by(REPRODUCER, &reproduction));
    let glass = this.verify().unwrap();
    let made = manifest();
    let refused = sections(glass.statement().clone(), made.list_bytes());
    assert_eq!(refused.unwrap_err().code(), "LEVEL_NOT_MET");
    // Windows of keys are judged at the newest time that witnesses gave.
    let statement = authored(glass.known(), glass.statement().clone(), &Says(Ok(()))).unwrap();
    assert_eq!(statement.glass(), glass.statement().glass());
    let parts = blobs(&made);
    let whole = assemble(statement, made.list_bytes(), |digest| parts.get(digest)).unwrap();
    let refused = complete(whole.clone(), all_blobs);
    assert_eq!(refused.unwrap_err().code(), "LEVEL_NOT_MET");

    let link = this.stand.log.link(place);
    let judged = |entries: &[Link<Vec<u8>>], manifest: VerifiedManifest| {
        glass
            .reproduced(manifest, entries, &RingVerifier)
            .map_err(|refusal| refusal.code())
    };
    assert_eq!(
        judged(&[], whole.clone()).map(drop),
        Err("REPRODUCTION_MISSING")
    );
    let agreed = judged(std::slice::from_ref(&link), whole).unwrap();
    let state = complete(agreed, all_blobs).unwrap();
    assert_eq!(
        state.manifest().statement().glass(),
        Some(glass.word().index())
    );

    // The checkpoint counts for that state alone.
    let other = Broken::new(Level::Reproduced, 2);
    let checkpoint = other.stand.log.checkpoint(&other.known);
    let statement = super::log::verify(
        &other.known,
        &other.stand.links(),
        &other.stand.sources(),
        Some(&checkpoint),
    );
    let known = other.known.seeing(&checkpoint);
    let statement = authored(&known, statement.unwrap(), &Says(Ok(()))).unwrap();
    let other = assemble(statement, made.list_bytes(), |digest| parts.get(digest)).unwrap();
    assert_eq!(judged(&[link], other).map(drop), Err("OVERRIDE_INVALID"));
}

#[test]
fn what_came_through_is_taken_again_after_a_restart_and_still_says_so() {
    let this = Broken::good();
    let link = this.stand.links().remove(1);
    let note = this.note();
    let again = |glass| restored(&this.known, &link, Some(&note), glass, &RingVerifier);
    let statement = again(Some(this.words[0])).unwrap();
    assert_eq!(
        (statement.generation(), statement.glass()),
        (2, Some(this.words[0]))
    );
    assert_eq!(again(None).unwrap().glass(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Of all that is read, no byte may be another one.
    #[test]
    fn nothing_changed_comes_through(part in 0..4_usize, place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let this = Broken::good();
        let mut parts = this.parts();
        let bytes = match part {
            0 => &mut parts.note,
            1 => &mut parts.words[0].envelope,
            2 => &mut parts.links[1].envelope,
            _ => &mut parts.sources[0].envelope,
        };
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(parts.verify(&this.known, now()).is_err());
    }
}
