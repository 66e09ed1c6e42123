//! OpenPGP signatures: commits that git and GnuPG made, and keys in every state.

use std::sync::LazyLock;

use pgp::composed::{ArmorOptions, Deserializable as _, SignedPublicKey};
use pgp::packet::SubpacketData;
use proptest::prelude::*;

use super::kinds::{code, file, listed, whose};
use crate::commit::{OpenPgpKey, People};

/// When the keys and commits were made, and a minute more.
const THEN: u64 = 1_795_607_000;

fn people(key: &str) -> People {
    People::read(&[listed(&[file(key)])]).unwrap()
}

#[test]
fn commits_of_gnupg_are_verified_by_primary_key_and_subkey() {
    for who in ["ada", "bob", "eve"] {
        let people = people(&format!("openpgp-{who}.asc"));
        let raw = file(&format!("openpgp-{who}.commit"));
        assert!(whose(&people, raw.as_bytes(), THEN).is_ok(), "{who}");
        let changed = raw.replace("signed by", "signed  by");
        assert_eq!(
            code(&people, changed.as_bytes(), THEN),
            "COMMIT_SIGNATURE_INVALID",
            "{who}"
        );
    }
    assert_eq!(
        code(
            &people("openpgp-eve.asc"),
            file("openpgp-bob.commit").as_bytes(),
            THEN
        ),
        "COMMIT_SIGNER_UNKNOWN"
    );
}

#[test]
fn rustsec_2024_0447_a_revoked_or_expired_key_or_subkey_counts_no_more() {
    for (key, commit, time, want) in [
        ("bob", "bob", THEN, "OK"),
        ("bob", "bob", 1_900_000_000, "COMMIT_KEY_EXPIRED"),
        ("bob", "bob", 1_700_000_000, "COMMIT_KEY_EXPIRED"),
        ("bob-revoked", "bob", THEN, "COMMIT_KEY_REVOKED"),
        ("ada-subkey-revoked", "ada", THEN, "COMMIT_KEY_REVOKED"),
        ("ada", "ada", 1_900_000_000, "OK"),
    ] {
        let people = people(&format!("openpgp-{key}.asc"));
        let raw = file(&format!("openpgp-{commit}.commit"));
        assert_eq!(code(&people, raw.as_bytes(), time), want, "{key} at {time}");
    }
}

#[test]
fn weak_hashes_count_nowhere() {
    assert_eq!(
        code(
            &people("openpgp-bob.asc"),
            file("openpgp-weak.commit").as_bytes(),
            THEN
        ),
        "COMMIT_SIGNATURE_INVALID"
    );
    assert_eq!(
        OpenPgpKey::read(&file("openpgp-sha1.asc")),
        Err("an OpenPGP signature with a weak hash")
    );
}

#[test]
fn only_what_may_sign_becomes_a_key() {
    assert_eq!(
        OpenPgpKey::read(&file("openpgp-certify-only.asc")),
        Err("an OpenPGP key in which nothing may sign")
    );
    assert_eq!(
        OpenPgpKey::read(&file("openpgp-ada.asc")).unwrap().len(),
        1,
        "the subkey alone"
    );
}

/// Ada's key, changed.
fn changed(change: impl FnOnce(&mut SignedPublicKey)) -> Result<Vec<OpenPgpKey>, &'static str> {
    let (mut key, _) = SignedPublicKey::from_string(&file("openpgp-ada.asc")).unwrap();
    change(&mut key);
    OpenPgpKey::read(&key.to_armored_string(ArmorOptions::default()).unwrap())
}

#[test]
fn a_subkey_must_be_bound_both_ways() {
    assert!(changed(|_| {}).is_ok());
    let without_agreement = changed(|key| {
        let binding = &mut key.public_subkeys[0].signatures[0];
        let at = binding
            .config()
            .unwrap()
            .unhashed_subpackets()
            .position(|part| matches!(part.data, SubpacketData::EmbeddedSignature(_)));
        if let Some(at) = at {
            binding.unhashed_subpacket_remove(at).unwrap();
        }
    });
    assert_eq!(
        without_agreement,
        Err("an OpenPGP key in which nothing may sign")
    );
    let stolen = changed(|key| {
        let (mut other, _) = SignedPublicKey::from_string(&file("openpgp-eve.asc")).unwrap();
        std::mem::swap(&mut key.primary_key, &mut other.primary_key);
    });
    assert!(
        stolen.is_err(),
        "another's subkey under one's own primary key"
    );
    let unsigned = changed(|key| key.details.users.clear());
    assert_eq!(
        unsigned,
        Err("an OpenPGP key without a valid self-signature")
    );
}

#[test]
fn two_keys_or_none_are_no_key() {
    let ada = file("openpgp-ada.asc");
    for text in [
        "",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        &ada[..ada.len() / 2],
    ] {
        assert!(OpenPgpKey::read(text).is_err());
    }
    let secret = ada.replace("PUBLIC", "PRIVATE");
    assert!(OpenPgpKey::read(&secret).is_err());
}

const NAMES: [&str; 3] = ["ada", "bob", "eve"];
const ADA_SIGNS: &str = "576fdb706423956f3fa06d0dbd7db605d94c9c70";
static PEOPLE: LazyLock<[People; 3]> =
    LazyLock::new(|| NAMES.map(|who| people(&format!("openpgp-{who}.asc"))));

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_byte_makes_another_commit_good(which in 0..3_usize, at: usize, byte: u8) {
        let who = NAMES[which];
        let people = &PEOPLE[which];
        let raw = file(&format!("openpgp-{who}.commit")).into_bytes();
        let mut mutant = raw.clone();
        let at = at % mutant.len();
        mutant[at] = byte;
        let payload = |raw: &[u8]| crate::commit::Commit::read(raw).ok().and_then(|c| c.signature).map(|s| s.payload);
        if whose(people, &mutant, THEN).is_ok() {
            prop_assert_eq!(payload(&mutant), payload(&raw), "only the armour may differ");
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_the_key_reader_panic_or_another_signer(at: usize, byte: u8) {
        let mut text = file("openpgp-ada.asc").into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Some(read) = std::str::from_utf8(&text).ok().and_then(|text| OpenPgpKey::read(text).ok()) {
            prop_assert_eq!(read[0].fingerprint(), ADA_SIGNS);
        }
    }
}
