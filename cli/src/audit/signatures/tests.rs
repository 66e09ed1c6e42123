use countersign_ledger::dsse::{Envelope, PAYLOAD_TYPE};
use countersign_ledger::key::Sign as _;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::scalar::clamp_integer;
use proptest::prelude::*;

use super::*;
use crate::audit::tests::fixture::key;

const KEYS: [&str; 3] = ["one", "two", "three"];

fn payload(number: usize) -> Vec<u8> {
    format!("payload {number}").into_bytes()
}

fn message(number: usize) -> Vec<u8> {
    pae(PAYLOAD_TYPE, &payload(number))
}

fn read(number: usize, key: PublicKey, signature: [u8; 64]) -> Read {
    let envelope = Envelope::assemble(PAYLOAD_TYPE, &payload(number), &[(key, signature)]);
    Read::new(number as u64, envelope.bytes())
}

fn signed(number: usize) -> (PublicKey, [u8; 64]) {
    let key = key(KEYS[number % 3]);
    (key.public(), key.sign(&message(number)).unwrap())
}

fn secret(name: &str) -> Scalar {
    use countersign_ledger::Digest;
    let seed = Digest::of(name.as_bytes());
    let hash = ring::digest::digest(&SHA512, seed.as_bytes());
    let half: [u8; 32] = hash.as_ref()[..32].try_into().unwrap();
    Scalar::from_bytes_mod_order(clamp_integer(half))
}

/// A signature of a key over its own message whose `R` has `torsion` added: right but for that.
fn twisted(number: usize, torsion: EdwardsPoint) -> (PublicKey, [u8; 64]) {
    let name = KEYS[number % 3];
    let public = key(name).public();
    let r = Scalar::from(number as u64 + 7);
    let big_r = (EdwardsPoint::mul_base(&r) + torsion).compress();
    let mut hash = Context::new(&SHA512);
    hash.update(big_r.as_bytes());
    hash.update(&public.0);
    hash.update(&message(number));
    let hash: [u8; 64] = hash.finish().as_ref().try_into().unwrap();
    let s = r + Scalar::from_bytes_mod_order_wide(&hash) * secret(name);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(big_r.as_bytes());
    signature[32..].copy_from_slice(s.as_bytes());
    (public, signature)
}

/// What is found of these, all at once; it must be what is found one by one.
fn held(entries: &[(PublicKey, [u8; 64])]) -> Vec<bool> {
    let reads: Vec<Read> = entries
        .iter()
        .enumerate()
        .map(|(number, (key, signature))| read(number, *key, *signature))
        .collect();
    let mut ring = Keyring::default();
    entries.iter().for_each(|(key, _)| ring.learn(key));
    ring.ready(TOGETHER_MIN);
    let claims: Vec<Vec<Claim<'_>>> = reads.iter().map(|r| ring.claims(r).unwrap()).collect();
    let claims: Vec<&Claim<'_>> = claims.iter().flatten().collect();
    let held = ring.hold(&claims);
    let alone: Vec<bool> = claims.iter().map(|claim| claim.holds()).collect();
    assert_eq!(held, alone);
    held
}

#[test]
fn all_at_once_or_one_by_one_the_same_signatures_hold() {
    for count in [0, 1, HALVED_MIN - 1, HALVED_MIN, 300] {
        let good: Vec<_> = (0..count).map(signed).collect();
        assert!(held(&good).into_iter().all(|held| held), "{count}");
    }
    let mut some = (0..300).map(signed).collect::<Vec<_>>();
    some[7].1[3] ^= 1;
    some[8].1[40] ^= 1;
    some[9] = signed(12);
    some[100].0 = key("two").public();
    some[299].1[63] |= 0xf0;
    let wrong: Vec<usize> = held(&some)
        .into_iter()
        .enumerate()
        .filter_map(|(at, held)| (!held).then_some(at))
        .collect();
    assert!(
        wrong.starts_with(&[7, 8, 9]) && wrong.ends_with(&[299]),
        "{wrong:?}"
    );
}

#[test]
fn a_signature_outside_the_group_holds_in_no_sum() {
    for torsion in [EIGHT_TORSION[1], EIGHT_TORSION[2], EIGHT_TORSION[4]] {
        // One, two that cancel each other out, and many.
        for count in [1, 2, 100] {
            let mut all: Vec<_> = (0..200).map(signed).collect();
            for (number, one) in all.iter_mut().enumerate().take(count) {
                let torsion = if number % 2 == 0 { torsion } else { -torsion };
                *one = twisted(number, torsion);
            }
            let refused = held(&all).into_iter().filter(|held| !held).count();
            assert_eq!(refused, count);
        }
    }
    // Without the twist they are good ones: nothing else was wrong with them.
    let good: Vec<_> = (0..100)
        .map(|number| twisted(number, EdwardsPoint::identity()))
        .collect();
    assert!(held(&good).into_iter().all(|held| held));
}

#[test]
fn odd_keys_and_spellings_are_judged_as_ring_judges_them() {
    let mut all: Vec<_> = (0..100).map(signed).collect();
    let twisted_key = {
        let point = CompressedEdwardsY(key("one").public().0)
            .decompress()
            .unwrap();
        PublicKey((point + EIGHT_TORSION[1]).compress().to_bytes())
    };
    all[0].0 = twisted_key;
    all[3].0 = PublicKey([0; 32]);
    all[6].0 = PublicKey([0xff; 32]);
    // The neutral point and one whose spelling is not reduced, as `R`.
    all[9].1[..32].copy_from_slice(EdwardsPoint::identity().compress().as_bytes());
    all[12].1[..32].copy_from_slice(&[0xff; 32]);
    all[12].1[0] = 0xee;
    // s + L.
    all[15].1[32..].copy_from_slice(&[0xff; 32]);
    let refused = held(&all).into_iter().filter(|held| !held).count();
    assert_eq!(refused, 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whatever_is_changed_the_verdicts_are_those_of_each_alone(
        changes in proptest::collection::vec((0_usize..90, 0_usize..64, 1_u8..=255), 0..12)
    ) {
        let mut all: Vec<_> = (0..90).map(signed).collect();
        for (at, byte, bits) in changes {
            all[at].1[byte] ^= bits;
        }
        held(&all);
    }
}
