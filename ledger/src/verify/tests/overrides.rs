//! Whose override counts, and for whom.

use super::log::*;
use super::*;
use crate::statement::Override;
use crate::statement::override_::OverrideKind;
use crate::time::Time;
use crate::trust::Windows;
use crate::verify::overrides::{judge, rejudge};

const ADA: u8 = 50;
const BOB: u8 = 51;

fn named(seed: u8, name: &str) -> NamedKey {
    NamedKey {
        key: key(seed).public(),
        name: name.into(),
    }
}

fn known() -> Known {
    let mut document = logged(1, PROD);
    document.overriders = vec![named(ADA, "ada"), named(BOB, "bob")];
    known_by(&document)
}

fn pause() -> Override {
    Override {
        fleet: "acme".into(),
        kind: OverrideKind::Pause,
        cluster: Some("metal-fra".into()),
        app: None,
        what: String::new(),
        reason: "a storm".into(),
        by: "ada".into(),
        issued: Time::from_ms(1).unwrap(),
        until: Time::from_ms(2).unwrap(),
    }
}

fn judged(known: &Known, says: &Override, seed: u8) -> Result<u64, &'static str> {
    let payload = says.payload().unwrap();
    let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(seed)]).unwrap();
    let mut log = Log::of(3);
    let place = log.push(&envelope);
    let checkpoint = log.checkpoint(known);
    judge(known, &log.link(place), &checkpoint, &RingVerifier)
        .map(|word| word.index())
        .map_err(|refusal| refusal.code())
}

#[test]
fn a_word_says_what_was_signed_however_its_envelope_is_written() {
    let (known, says) = (known(), pause());
    let payload = says.payload().unwrap();
    let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(ADA)]).unwrap();
    let twice = envelope.with_signatures(&[(key(BOB).public(), key(BOB).sign(&payload).unwrap())]);
    for envelope in [envelope, twice] {
        let word = rejudge(&known, envelope.bytes(), 3, &RingVerifier).unwrap();
        assert_eq!(word.payload(), Digest::of(&payload));
        assert_eq!((word.says(), word.index()), (&says, 3));
    }
}

#[test]
fn the_word_of_the_one_who_is_named_counts_at_its_place() {
    assert_eq!(judged(&known(), &pause(), ADA), Ok(3));
    let fleet = Override {
        cluster: None,
        ..pause()
    };
    assert_eq!(judged(&known(), &fleet, ADA), Ok(3));
}

#[test]
fn nobody_elses_word_counts() {
    let invalid = Err("OVERRIDE_INVALID");
    assert_eq!(judged(&known(), &pause(), BOB), invalid, "bob, as ada");
    assert_eq!(judged(&known(), &pause(), PROD), invalid, "a sealer");
    let change = |change: fn(&mut Override)| {
        let mut says = pause();
        change(&mut says);
        judged(&known(), &says, ADA)
    };
    assert_eq!(change(|says| says.fleet = "evil".into()), invalid);
    assert_eq!(change(|says| says.cluster = Some("kind".into())), invalid);
    assert_eq!(change(|says| says.by = "eve".into()), invalid);
}

#[test]
fn it_must_be_in_the_log() {
    let known = known();
    let payload = pause().payload().unwrap();
    let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[&key(ADA)]).unwrap();
    let log = Log::of(4);
    let checkpoint = log.checkpoint(&known);
    let refused = |proof| {
        let link = Link {
            envelope: envelope.bytes().to_vec(),
            proof,
        };
        judge(&known, &link, &checkpoint, &RingVerifier)
            .unwrap_err()
            .code()
    };
    assert_eq!(refused(None), "LOG_PROOF_MISSING");
    assert_eq!(refused(Some(log.inclusion(2))), "NOT_IN_LOG");
    // What was judged once and kept is judged again without it.
    let again = rejudge(&known, envelope.bytes(), 3, &RingVerifier).unwrap();
    assert_eq!(*again.says(), pause());
}

#[test]
fn a_key_that_was_dropped_says_nothing_more() {
    let known = known();
    let mut document = logged(2, PROD);
    document.overriders = vec![named(BOB, "bob")];
    let next = document.sign(&[&key(ROOT)]).unwrap();
    let mut after = known.clone();
    after.roots.extend(next.bytes(), &RingVerifier).unwrap();
    // Where the log does not say since when roots are in effect, the newest one counts.
    assert_eq!(judged(&after, &pause(), ADA), Err("OVERRIDE_INVALID"));
    let windows = |places: [u64; 2]| {
        let mut windows = Windows::default();
        for (place, root) in places.into_iter().zip(after.roots.iter()) {
            windows.push(place, root.clone().into()).unwrap();
        }
        Known {
            windows,
            ..after.clone()
        }
    };
    assert_eq!(judged(&windows([0, 2]), &pause(), ADA), Err("KEY_REVOKED"));
    assert_eq!(judged(&windows([0, 9]), &pause(), ADA), Ok(3));
}
