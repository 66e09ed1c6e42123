//! Commits as people's word: raw objects, signatures and keys. No bytes make a reader panic, and none make a signature good
//! over what was not signed.

use std::sync::OnceLock;

use countersign_ledger::commit::{
    Commit, HashKind, ObjectKind, Oid, People, Signed, authored, frame, signer, tree,
};
use countersign_ledger::trust::{Person, PersonKey};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 5] = [
    ("raw_commit", raw_commit),
    ("raw_tree", raw_tree),
    ("sshsig", sshsig),
    ("openpgp", openpgp),
    ("signing_key", signing_key),
];

const NOW: u64 = 1_800_000_000;
const SSH_KEY: &str = include_str!("../../ledger/tests/commits/ssh-ed25519.pub");
const SSH_COMMIT: &str = include_str!("../../ledger/tests/commits/ssh-ed25519.commit");
const OPENPGP_KEY: &str = include_str!("../../ledger/tests/commits/openpgp-ada.asc");
const OPENPGP_COMMIT: &str = include_str!("../../ledger/tests/commits/openpgp-ada.commit");

fn read(keys: &[&str]) -> Option<People> {
    let person = Person {
        name: "ada".to_owned(),
        keys: keys
            .iter()
            .map(|key| PersonKey {
                key: (*key).to_owned(),
                valid_after: None,
                valid_before: None,
            })
            .collect(),
        paths: vec!["/".to_owned()],
        forge: false,
    };
    People::read(&[person]).ok()
}

fn people() -> Option<&'static People> {
    static PEOPLE: OnceLock<Option<People>> = OnceLock::new();
    PEOPLE
        .get_or_init(|| read(&[SSH_KEY, OPENPGP_KEY]))
        .as_ref()
}

/// A commit: its signature and what that is over are all of its bytes, and the judge answers.
pub fn raw_commit(bytes: &[u8]) {
    let read = Commit::read(bytes);
    let _ = Commit::read_as(HashKind::Sha256, bytes);
    if let Ok(commit) = &read {
        assert!(commit.message_at <= bytes.len());
        if let Some(signed) = &commit.signature {
            let lines = signed.armour.matches('\n').count();
            let header = "gpgsig ".len() + signed.armour.len() + lines - 1;
            assert_eq!(signed.payload.len() + header, bytes.len());
        }
    }
    if let (Some(people), Ok(id)) = (people(), Oid::of(HashKind::Sha1, ObjectKind::Commit, bytes)) {
        let objects = [frame(ObjectKind::Commit, bytes)];
        let judged = authored(people, None, id, &objects, NOW);
        assert!(read.is_ok() || judged.is_err());
    }
}

/// A tree: what is read, written again, is the same.
pub fn raw_tree(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let Ok(entries) = tree::entries(hash, bytes) else {
            continue;
        };
        let length: usize = entries
            .iter()
            .map(|entry| entry.name.len() + entry.id.bytes().len() + 2)
            .sum();
        assert!(length <= bytes.len());
        for pair in entries.windows(2) {
            assert_ne!(pair[0].name, pair[1].name, "a name twice");
        }
    }
}

/// An SSH signature in place of a commit's own.
pub fn sshsig(bytes: &[u8]) {
    armour(SSH_COMMIT, bytes);
}

/// An OpenPGP signature in place of a commit's own.
pub fn openpgp(bytes: &[u8]) {
    armour(OPENPGP_COMMIT, bytes);
}

fn armour(commit: &str, bytes: &[u8]) {
    let (Some(people), Ok(armour), Ok(read)) = (
        people(),
        std::str::from_utf8(bytes),
        Commit::read(commit.as_bytes()),
    ) else {
        return;
    };
    let Some(real) = read.signature else {
        return;
    };
    let mut forged = Signed {
        armour: armour.to_owned(),
        payload: real.payload,
    };
    let id = Oid::Sha1([7; 20]);
    let _ = signer(people, id, Some(&forged), NOW);
    forged.payload.push(b'\n');
    let other = signer(people, id, Some(&forged), NOW);
    assert!(other.is_err(), "good over what was not signed");
}

/// A person's key, and a commit that somebody else signed.
pub fn signing_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = read(&[text]);
}
