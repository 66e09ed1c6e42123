//! Kinds of SSH signatures: commits that git and ssh-keygen made, and what an attacker would.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, Signature, SshSig};

use super::*;
use crate::commit::{AuthorRefusal, Commit, HashKind, ObjectKind, Oid, People, SshKey, signer};
use crate::time::Time;
use crate::trust::{Person, PersonKey};

pub(super) fn file(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/commits/");
    std::fs::read_to_string(format!("{folder}{name}")).unwrap()
}

pub(super) fn listed(keys: &[String]) -> Person {
    Person {
        name: "ada".into(),
        keys: keys
            .iter()
            .map(|key| PersonKey {
                key: key.clone(),
                valid_after: None,
                valid_before: None,
            })
            .collect(),
        paths: vec!["/".into()],
        forge: false,
    }
}

/// Who signed a raw commit, as seen at a time.
pub(super) fn whose(people: &People, raw: &[u8], time: u64) -> Result<String, AuthorRefusal> {
    let id = Oid::of(HashKind::Sha1, ObjectKind::Commit, raw).unwrap();
    let commit = Commit::read(raw).map_err(|defect| AuthorRefusal::Malformed {
        object: id.to_string(),
        defect,
    })?;
    signer(people, id, &commit, time).map(|signer| signer.key().to_owned())
}

pub(super) fn code(people: &People, raw: &[u8], time: u64) -> &'static str {
    match whose(people, raw, time) {
        Ok(_) => "OK",
        Err(refusal) => refusal.code(),
    }
}

/// A commit with another signature in place of its own.
fn resigned(raw: &str, armour: &str) -> Vec<u8> {
    Repo::new(&[]).with_signature(raw, armour)
}

#[test]
fn every_strong_kind_that_git_signs_with_is_verified() {
    for kind in ["ed25519", "p256", "p384", "rsa2048", "rsa4096"] {
        let people = People::read(&[listed(&[file(&format!("ssh-{kind}.pub"))])]).unwrap();
        let raw = file(&format!("ssh-{kind}.commit"));
        let key = whose(&people, raw.as_bytes(), NOW).unwrap();
        assert!(key.starts_with("SHA256:"), "{kind}: {key}");
        let changed = raw.replace("signed with", "signed  with");
        assert_eq!(
            code(&people, changed.as_bytes(), NOW),
            "COMMIT_SIGNATURE_INVALID",
            "{kind}"
        );
        let other = People::read(&[person("other", &Key::new(9), &["/"])]).unwrap();
        assert_eq!(
            code(&other, raw.as_bytes(), NOW),
            "COMMIT_SIGNER_UNKNOWN",
            "{kind}"
        );
    }
}

#[test]
fn weak_kinds_never_become_a_key() {
    for kind in ["p521", "dsa", "rsa1024"] {
        let read = People::read(&[listed(&[file(&format!("ssh-{kind}.pub"))])]);
        assert!(read.is_err(), "{kind}");
    }
    let ed25519 = file("ssh-ed25519.pub");
    for odd in [
        String::new(),
        "ssh-ed25519".into(),
        format!("cert-authority {ed25519}"),
        ed25519.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
        format!("ada@example.org {ed25519}"),
        ed25519.replace("AAAAC3", "AAAAC4"),
        "x".repeat(70_000),
    ] {
        assert!(SshKey::read(&odd).is_err(), "{odd:.60}");
    }
    let twice = People::read(&[listed(&[ed25519.clone(), ed25519])]);
    assert!(twice.is_err(), "one key is one person's, once");
}

#[test]
fn both_hashes_of_ssh_keygen_are_verified_and_no_other_namespace_is() {
    let people = People::read(&[listed(&[file("ssh-ed25519.pub")])]).unwrap();
    let plain = file("ssh-plain.payload");
    let sha256 = resigned(&plain, &file("ssh-sha256.sig"));
    assert_eq!(code(&people, &sha256, NOW), "OK");
    let for_files = resigned(&plain, &file("ssh-namespace-file.sig"));
    assert_eq!(
        whose(&people, &for_files, NOW)
            .unwrap_err()
            .to_string()
            .split(": ")
            .last(),
        Some("an SSH signature for another namespace than \"git\"")
    );
}

#[test]
fn a_signature_moved_to_another_commit_is_not_valid() {
    let key = Key::new(1);
    let people = People::read(&[person("ada", &key, &["/"])]).unwrap();
    let mut repo = Repo::new(&[]);
    let tree = repo.tree(&files("a=1"));
    let (one, other) = (repo.raw(tree, &[]), repo.raw(tree, &[]));
    let armour = key.sign("git", one.as_bytes());
    assert_eq!(code(&people, &resigned(&one, &armour), NOW), "OK");
    assert_eq!(
        code(&people, &resigned(&other, &armour), NOW),
        "COMMIT_SIGNATURE_INVALID"
    );
}

#[test]
fn cve_2026_44310_broken_signatures_are_refused_and_nothing_panics() {
    let people = People::read(&[listed(&[file("ssh-ed25519.pub")])]).unwrap();
    let plain = file("ssh-plain.payload");
    let whole = file("ssh-sha256.sig");
    for cut in 0..whole.len() - 2 {
        if let Some(armour) = whole.get(..cut) {
            assert_ne!(code(&people, &resigned(&plain, armour), NOW), "OK", "{cut}");
        }
    }
    for armour in [
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n".to_owned(),
        "-----BEGIN SSH SIGNATURE-----\nAA==\n-----END SSH SIGNATURE-----\n".to_owned(),
        "-----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----\n".to_owned(),
        "x".to_owned(),
        format!("{whole}{whole}"),
        format!("\n{whole}"),
    ] {
        assert_eq!(
            code(&people, &resigned(&plain, &armour), NOW),
            "COMMIT_SIGNATURE_INVALID",
            "{armour:.60}"
        );
    }
}

#[test]
fn a_window_is_of_the_judges_time_and_never_of_the_commits() {
    let key = Key::new(1);
    let at = |seconds: u64| Some(Time::from_ms(seconds * 1_000).unwrap());
    let mut ada = person("ada", &key, &["/"]);
    ada.keys[0].valid_after = at(NOW);
    ada.keys[0].valid_before = at(NOW + 100);
    let people = People::read(&[ada]).unwrap();
    let mut repo = Repo::new(&[]);
    let tree = repo.tree(&files("a=1"));
    // The commit says that it is from long before.
    let raw = repo.raw(tree, &[]);
    let raw = resigned(&raw, &key.sign("git", raw.as_bytes()));
    for (time, want) in [
        (NOW - 1, "COMMIT_KEY_EXPIRED"),
        (NOW, "OK"),
        (NOW + 99, "OK"),
        (NOW + 100, "COMMIT_KEY_EXPIRED"),
    ] {
        assert_eq!(code(&people, &raw, time), want, "{time}");
    }
}

/// A signature by a hardware key, made here: over the application, flags, a counter and the hash of the data.
fn hardware(flags: u8, payload: &[u8]) -> (String, String) {
    use sha2::{Digest as _, Sha256};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    let public = SkEd25519::new(Ed25519PublicKey(public), "ssh:");
    let key = KeyData::SkEd25519(public);
    let data = SshSig::signed_data("git", HashAlg::Sha512, payload).unwrap();
    let trailer = [flags, 0, 0, 0, 1];
    let signed = [
        Sha256::digest("ssh:").as_slice(),
        &trailer,
        Sha256::digest(&data).as_slice(),
    ]
    .concat();
    let bytes = pair.sign(&signed).as_ref().to_vec();
    let signature =
        Signature::new(Algorithm::SkEd25519, [bytes, trailer.to_vec()].concat()).unwrap();
    let armour = SshSig::new(key.clone(), "git", HashAlg::Sha512, signature)
        .unwrap()
        .to_pem(LineEnding::LF)
        .unwrap();
    (PublicKey::from(key).to_openssh().unwrap(), armour)
}

#[test]
fn a_hardware_key_counts_only_when_it_was_touched() {
    let plain = file("ssh-plain.payload");
    for (flags, want) in [
        (1, "OK"),
        (5, "OK"),
        (0, "COMMIT_SIGNATURE_INVALID"),
        (4, "COMMIT_SIGNATURE_INVALID"),
    ] {
        let (key, armour) = hardware(flags, plain.as_bytes());
        let people = People::read(&[listed(&[key])]).unwrap();
        assert_eq!(
            code(&people, &resigned(&plain, &armour), NOW),
            want,
            "{flags}"
        );
    }
}
