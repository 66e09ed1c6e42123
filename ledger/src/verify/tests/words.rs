//! Whose word counts from where on, and whose word a level asks for (windows of check 3; checks 6 and 7).

use super::blobs::{blob, blobs, manifest};
use super::log::*;
use super::*;
use crate::statement::{Reproduction, TrustEntry};
use crate::trust::{PersonKey, RoleKey, Windows};

pub(super) const CA: u8 = 40;
pub(super) const REPRODUCER: u8 = 41;

fn with_ca(version: u64, prod: u8) -> TrustRoot {
    let mut document = logged(version, prod);
    document.agent_cas = vec![RoleKey {
        key: key(CA).public(),
    }];
    document
}

/// Two roots: the second one replaces the sealer key of prod.
fn two_roots() -> Known {
    let mut known = known_by(&with_ca(1, PROD));
    let next = with_ca(2, PROD_NEXT).sign(&[&key(ROOT)]).unwrap();
    known.roots.extend(next.bytes(), &RingVerifier).unwrap();
    known
}

pub(super) fn entry(known: &Known, version: u64) -> TrustEntry {
    TrustEntry {
        root: known.roots.at(version).unwrap().digest(),
        fleet: "acme".into(),
        version,
        previous: None,
    }
}

pub(super) fn signed(entry: &TrustEntry, seed: u8) -> Envelope {
    let payload = entry.payload().unwrap();
    dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(seed)]).unwrap()
}

fn windows(known: &Known, log: &Log, places: &[u64]) -> Result<Windows, &'static str> {
    let links: Vec<_> = places.iter().map(|place| log.link(*place)).collect();
    let checkpoint = log.checkpoint(known);
    trust_entries(known, &links, &checkpoint, &RingVerifier).map_err(|refusal| refusal.code())
}

#[test]
fn entries_say_since_when_a_root_is_in_effect() {
    let known = two_roots();
    let mut log = Log::of(3);
    let first = log.push(&signed(&entry(&known, 1), CA));
    let second = log.push(&signed(&entry(&known, 2), CA));
    let found = windows(&known, &log, &[first, second]).unwrap();
    assert_eq!(found.at(first - 1), None);
    assert_eq!(found.at(first).map(|(_, root)| root.version()), Some(1));
    assert_eq!(found.at(second).map(|(since, _)| since), Some(second));
    // What was known is gone on from.
    let known = Known {
        windows: windows(&known, &log, &[first]).unwrap(),
        ..known
    };
    assert_eq!(windows(&known, &log, &[second]), Ok(found));
    assert_eq!(windows(&known, &log, &[first]), Err("TRUST_ENTRY_MISMATCH"));
}

#[test]
fn entries_that_are_none_are_refused() {
    let known = two_roots();
    let mut good = entry(&known, 1);
    let check = |envelope: &Envelope| {
        let mut log = Log::of(3);
        let place = log.push(envelope);
        windows(&known, &log, &[place]).map(drop)
    };
    let wrong = Err("TRUST_ENTRY_MISMATCH");
    assert_eq!(check(&signed(&good, CA)), Ok(()));
    assert_eq!(check(&signed(&good, PROD)), wrong);
    assert_eq!(check(&seal(&desired(1, None))), wrong);
    let typed = dsse::sign("application/json", &good.payload().unwrap(), &[&key(CA)]).unwrap();
    assert_eq!(check(&typed), Err("PAYLOAD_TYPE"));
    good.version = 3;
    assert_eq!(
        check(&signed(&good, CA)),
        wrong,
        "a version that is not known"
    );
    good = entry(&known, 2);
    good.version = 1;
    assert_eq!(check(&signed(&good, CA)), wrong, "another document");
    good = entry(&known, 1);
    good.fleet = "evil".into();
    assert_eq!(check(&signed(&good, CA)), wrong, "another fleet");
    let mut log = Log::of(3);
    let place = log.push(&signed(&entry(&known, 1), CA));
    let checkpoint = log.checkpoint(&known);
    let mut link = log.link(place);
    link.proof.as_mut().unwrap().index -= 1;
    let refused = trust_entries(&known, &[link], &checkpoint, &RingVerifier);
    assert_eq!(refused.unwrap_err().code(), "NOT_IN_LOG");
}

/// A chain: `before` links by the old key, the entry of root 2, `after` links by the old key, and a head by the new one.
fn rotation(before: u64, after: u64) -> (Known, Stand) {
    let known = two_roots();
    let mut stand = Stand::good(0);
    let source = source_envelope(&source(), PROD).leaf_hash();
    let first = stand.log.push(&signed(&entry(&known, 1), CA));
    let state = |stand: &Stand| Desired {
        source,
        ..desired(stand.chain.len() as u64 + 1, stand.chain.last())
    };
    for _ in 0..before {
        let state = seal(&state(&stand));
        stand.add(&state);
    }
    let second = stand.log.push(&signed(&entry(&known, 2), CA));
    for _ in 0..after {
        let state = seal(&state(&stand));
        stand.add(&state);
    }
    let head = Desired {
        trust_root: 2,
        ..state(&stand)
    };
    stand.add(&seal_by(PROD_NEXT, &head));
    let windows = windows(&known, &stand.log, &[first, second]).unwrap();
    (Known { windows, ..known }, stand)
}

#[test]
fn a_key_counts_until_the_entry_of_the_root_that_drops_it() {
    let (known, stand) = rotation(2, 0);
    assert_eq!(stand.check(&known).unwrap().generation(), 3);
    let (known, stand) = rotation(1, 1);
    assert_eq!(stand.check(&known).map(drop), Err("KEY_REVOKED"));
    // Without entries nothing says when, and the head's key vouches for the chain.
    let unrecorded = Known {
        windows: Windows::default(),
        ..known
    };
    assert!(stand.check(&unrecorded).is_ok());
}

#[test]
fn a_key_does_not_count_before_the_entry_of_the_root_that_lists_it() {
    let known = two_roots();
    let mut stand = Stand::good(0);
    let first = stand.log.push(&signed(&entry(&known, 1), CA));
    let early = Desired {
        source: source_envelope(&source(), PROD).leaf_hash(),
        trust_root: 2,
        ..desired(1, None)
    };
    stand.add(&seal_by(PROD_NEXT, &early));
    let second = stand.log.push(&signed(&entry(&known, 2), CA));
    let windows = windows(&known, &stand.log, &[first, second]).unwrap();
    let known = Known { windows, ..known };
    assert_eq!(stand.check(&known).map(drop), Err("KEY_NOT_YET"));
}

#[test]
fn one_signer_who_counts_is_enough() {
    let (known, mut stand) = rotation(1, 0);
    let mut both = with_ca(2, PROD_NEXT);
    both.sealers
        .entry("prod".into())
        .or_default()
        .push(RoleKey {
            key: key(PROD).public(),
        });
    // A head with the keys of both: the old one is dropped, the new one counts.
    let head = Desired {
        source: source_envelope(&source(), PROD).leaf_hash(),
        trust_root: 2,
        ..desired(3, stand.chain.last())
    };
    let envelope = dsse::sign(
        dsse::PAYLOAD_TYPE,
        &head.payload().unwrap(),
        &[&key(PROD), &key(PROD_NEXT)],
    )
    .unwrap();
    stand.add(&envelope);
    assert!(stand.check(&known).is_ok());
}

// Check 6, the people.

pub(super) fn document_at(level: Level) -> TrustRoot {
    let mut document = at_level(logged(1, PROD), level);
    document.people = vec![crate::trust::Person {
        name: "ada".into(),
        keys: vec![PersonKey {
            key: "ssh-ed25519 AAAA ada".into(),
            valid_after: None,
            valid_before: None,
        }],
        paths: vec!["/".into()],
        forge: false,
    }];
    document.reproducers = vec![NamedKey {
        key: key(REPRODUCER).public(),
        name: "second".into(),
    }];
    document
}

fn at(level: Level) -> Known {
    known_by(&document_at(level))
}

pub(super) struct Says(pub(super) Result<(), AuthorRefused>);

impl Judge for Says {
    fn judge(
        &self,
        people: &[crate::trust::Person],
        commit: &str,
        time: Option<u64>,
    ) -> Result<(), AuthorRefused> {
        assert_eq!(people[0].name, "ada");
        assert_eq!(commit, desired(1, None).commit);
        assert_eq!(time, Some(NOW));
        self.0.clone()
    }
}

#[test]
fn from_authored_on_a_state_is_out_of_reach_without_a_persons_word() {
    let list = manifest();
    for level in [Level::Authored, Level::Reproduced] {
        let known = at(level);
        let stand = Stand::good(1);
        let statement = stand.check(&known).unwrap();
        let refused = sections(statement.clone(), list.list_bytes());
        assert_eq!(refused.unwrap_err().code(), "LEVEL_NOT_MET");
        let known = known.seeing(&stand.log.checkpoint(&known));
        let no = AuthorRefused {
            code: "SIGNER_UNKNOWN",
            problem: "nobody".into(),
        };
        let refused = authored(&known, statement.clone(), &Says(Err(no)));
        assert_eq!(refused.unwrap_err().code(), "SIGNER_UNKNOWN");
        let statement = authored(&known, statement, &Says(Ok(()))).unwrap();
        assert!(sections(statement, list.list_bytes()).is_ok());
    }
    for level in [Level::Signed, Level::Witnessed] {
        let statement = Stand::good(1).check(&at(level)).unwrap();
        assert!(sections(statement, list.list_bytes()).is_ok());
    }
}

// Check 7.

struct Second {
    known: Known,
    stand: Stand,
    manifest: VerifiedManifest,
}

impl Second {
    fn at(level: Level) -> Self {
        let known = at(level);
        let stand = Stand::good(1);
        let statement = stand.check(&known).unwrap();
        let known = known.seeing(&stand.log.checkpoint(&known));
        let statement = authored(&known, statement, &Says(Ok(()))).unwrap();
        let made = manifest();
        let blobs = blobs(&made);
        let manifest = assemble(statement, made.list_bytes(), |digest| blobs.get(digest)).unwrap();
        Self {
            known,
            stand,
            manifest,
        }
    }

    fn says(&self) -> Reproduction {
        Reproduction {
            fleet: "acme".into(),
            cluster: "metal-fra".into(),
            generation: 1,
            commit: desired(1, None).commit,
            desired: self.stand.chain[0].leaf_hash(),
            digest: manifest().render_digest(),
            agrees: true,
        }
    }

    fn check(&self, envelopes: &[Envelope]) -> Result<VerifiedManifest, &'static str> {
        let mut log = self.stand.log.clone();
        let places: Vec<u64> = envelopes
            .iter()
            .map(|envelope| log.push(envelope))
            .collect();
        let links: Vec<_> = places.iter().map(|place| log.link(*place)).collect();
        let checkpoint = log.checkpoint(&self.known);
        let manifest = self.manifest.clone();
        reproduced(&self.known, manifest, &links, &checkpoint, &RingVerifier)
            .map_err(|refusal| refusal.code())
    }
}

pub(super) fn by(seed: u8, says: &Reproduction) -> Envelope {
    let payload = says.payload().unwrap();
    dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(seed)]).unwrap()
}

pub(super) fn all_blobs(digest: &Digest) -> Option<Checked> {
    let bytes = (0..300)
        .map(blob)
        .find(|bytes| Digest::of(bytes) == *digest)?;
    check_blob(digest, bytes.len() as u64, bytes)
        .ok()
        .map(|blob| blob.checked())
}

#[test]
fn at_reproduced_a_state_is_complete_only_with_a_second_renderers_word() {
    let second = Second::at(Level::Reproduced);
    let refused = complete(second.manifest.clone(), all_blobs);
    assert_eq!(refused.unwrap_err().code(), "LEVEL_NOT_MET");
    let agreed = second.check(&[by(REPRODUCER, &second.says())]).unwrap();
    assert_eq!(complete(agreed, all_blobs).unwrap().generation(), 1);
    let authored = Second::at(Level::Authored);
    assert!(complete(authored.manifest, all_blobs).is_ok());
}

#[test]
fn no_word_or_another_word_is_no_agreement() {
    let second = Second::at(Level::Reproduced);
    assert_eq!(second.check(&[]).map(drop), Err("REPRODUCTION_MISSING"));
    let change = |change: fn(&mut Reproduction)| {
        let mut says = second.says();
        change(&mut says);
        second.check(&[by(REPRODUCER, &says)]).map(drop)
    };
    assert_eq!(
        change(|says| says.generation = 2),
        Err("REPRODUCTION_MISSING"),
        "that of another generation"
    );
    let disagrees = Err("REPRODUCTION_DISAGREES");
    assert_eq!(change(|says| says.agrees = false), disagrees);
    assert_eq!(change(|says| says.digest = Digest::of(b"other")), disagrees);
    let wrong = Err("REPRODUCTION_MISMATCH");
    assert_eq!(change(|says| says.fleet = "evil".into()), wrong);
    assert_eq!(change(|says| says.cluster = "metal-muc".into()), wrong);
    assert_eq!(change(|says| says.commit = "f".repeat(40)), wrong);
    assert_eq!(change(|says| says.desired = Digest::of(b"x")), wrong);
    let says = second.says();
    assert_eq!(second.check(&[by(PROD, &says)]).map(drop), wrong);
    assert_eq!(second.check(&[seal(&desired(1, None))]).map(drop), wrong);
    let typed = dsse::sign("text/plain", &says.payload().unwrap(), &[&key(REPRODUCER)]);
    assert_eq!(second.check(&[typed.unwrap()]).map(drop), wrong);
}

#[test]
fn one_second_renderer_that_disagrees_is_too_much() {
    let second = Second::at(Level::Reproduced);
    let good = second.says();
    let bad = Reproduction {
        agrees: false,
        digest: Digest::of(b"other"),
        ..good.clone()
    };
    let both = [by(REPRODUCER, &good), by(REPRODUCER, &bad)];
    assert_eq!(second.check(&both).map(drop), Err("REPRODUCTION_DISAGREES"));
}

#[test]
fn a_second_renderers_word_stands_in_this_fleets_log() {
    let second = Second::at(Level::Reproduced);
    let checkpoint = second.stand.log.checkpoint(&second.known);
    let envelope = by(REPRODUCER, &second.says()).bytes().to_vec();
    let link = Link {
        envelope,
        proof: second.stand.links().remove(0).proof,
    };
    let refused = reproduced(
        &second.known,
        second.manifest.clone(),
        &[link],
        &checkpoint,
        &RingVerifier,
    );
    assert_eq!(refused.unwrap_err().code(), "NOT_IN_LOG");
    let refused = reproduced::<Vec<u8>>(
        &known(),
        second.manifest.clone(),
        &[],
        &checkpoint,
        &RingVerifier,
    );
    assert_eq!(refused.unwrap_err().code(), "NO_LOG");
}

// What was kept.

fn kept(
    known: &Known,
    link: &Link<Vec<u8>>,
    note: Option<&[u8]>,
) -> Result<VerifiedStatement, &'static str> {
    restored(known, link, note, None, &RingVerifier).map_err(|refusal| refusal.code())
}

#[test]
fn what_was_verified_is_taken_again_without_the_words_of_others() {
    let stand = Stand::good(2);
    let note = stand.log.note_at(stand.log.size(), &[]);
    for level in Level::ALL {
        let known = at(level);
        for (place, link) in stand.links().iter().enumerate() {
            let statement = kept(&known, link, Some(&note)).unwrap();
            assert_eq!(statement.generation(), place as u64 + 1);
            assert_eq!(statement.index(), Some(stand.states[place]));
            let list = manifest();
            assert!(sections(statement, list.list_bytes()).is_ok());
        }
    }
}

#[test]
fn what_was_kept_is_still_signed_for_this_cluster_and_in_the_log() {
    let known = known_logged();
    let stand = Stand::good(1);
    let note = stand.log.note();
    let link = stand.links().remove(0);
    assert_eq!(
        kept(&known, &link, None).map(drop),
        Err("LOG_PROOF_MISSING")
    );
    let bare = Link::bare(link.envelope.clone());
    assert_eq!(
        kept(&known, &bare, Some(&note)).map(drop),
        Err("LOG_PROOF_MISSING")
    );
    let other = Log::of(4).note();
    assert_eq!(
        kept(&known, &link, Some(&other)).map(drop),
        Err("NOT_IN_LOG")
    );
    assert_eq!(
        kept(&known, &link, Some(b"nothing")).map(drop),
        Err("CHECKPOINT_MALFORMED")
    );
    let forged = Link {
        envelope: seal_by(DEV, &desired(1, None)).bytes().to_vec(),
        proof: link.proof.clone(),
    };
    assert_eq!(
        kept(&known, &forged, Some(&note)).map(drop),
        Err("SIGNATURE_INVALID")
    );
    let source = stand.sources().remove(0);
    assert_eq!(
        kept(&known, &source, Some(&note)).map(drop),
        Err("NOT_DESIRED")
    );
    let elsewhere = Known {
        cluster: "kind".into(),
        ..known
    };
    assert!(kept(&elsewhere, &link, Some(&note)).is_err());
}

#[test]
fn what_was_kept_from_before_the_log_needs_no_proof() {
    let mut known = known();
    let next = logged(2, PROD).sign(&[&key(ROOT)]).unwrap();
    known.roots.extend(next.bytes(), &RingVerifier).unwrap();
    let old = Link::bare(chain(1).remove(0).bytes().to_vec());
    assert_eq!(kept(&known, &old, None).unwrap().index(), None);
}
