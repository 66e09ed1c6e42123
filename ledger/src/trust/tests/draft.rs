//! From the current root to the next, change by change.

use super::*;
use crate::trust::draft::{Change, ChangeError, KeyRole, Tally, apply, begin, tallies};

fn next(current: &TrustRoot, changes: Vec<Change>) -> Result<TrustRoot, ChangeError> {
    let first = begin(current, "2026-11-26T08:00:00Z")?;
    changes
        .into_iter()
        .try_fold(first, |root, change| apply(&root, change))
}

fn add(role: KeyRole, seed: u8) -> Change {
    Change::Add {
        role,
        key: key(seed).public(),
        name: format!("person {seed}"),
    }
}

#[test]
fn a_second_root_key_and_threshold_two_need_old_and_new_and_then_two_always() {
    let v1 = parse(&signed(&document(1, &[1], 1), &[1])).unwrap();
    let draft = next(
        v1.document(),
        vec![add(KeyRole::Root, 2), Change::Threshold(2)],
    )
    .unwrap();
    assert_eq!(draft.version, 2);
    let half = signed(&draft, &[1]);
    let (old, new) = tallies(&v1, &draft, &half, &RingVerifier);
    assert_eq!(
        (old, new),
        (Tally { got: 1, want: 1 }, Tally { got: 1, want: 2 })
    );
    assert!(old.met() && !new.met());
    assert_eq!(
        v1.succeed(half.bytes(), &RingVerifier).unwrap_err().code(),
        "TRUST_ROOT_SIGNATURES"
    );
    let v2 = v1
        .succeed(signed(&draft, &[1, 2]).bytes(), &RingVerifier)
        .unwrap();

    // Version 3 lowers the threshold again: its own one signature is not enough for the old one.
    let lowered = next(v2.document(), vec![Change::Threshold(1)]).unwrap();
    assert_eq!(
        v2.succeed(signed(&lowered, &[1]).bytes(), &RingVerifier)
            .unwrap_err()
            .code(),
        "TRUST_ROOT_SIGNATURES"
    );
    assert!(
        v2.succeed(signed(&lowered, &[1, 2]).bytes(), &RingVerifier)
            .is_ok()
    );
}

#[test]
fn a_revoked_key_is_in_no_role_and_the_last_one_is_not_taken_away() {
    let v1 = document(1, &[1], 1);
    let (lost, fresh) = (key(100).public(), key(101).public());
    assert_eq!(
        next(&v1, vec![Change::Revoke(lost)]),
        Err(ChangeError::LastSealer("prod".into()))
    );
    let v2 = next(
        &v1,
        vec![
            add(KeyRole::Sealer("prod".into()), 101),
            Change::Revoke(lost),
        ],
    )
    .unwrap();
    assert_eq!(v2.sealers["prod"], [SealerKey { key: fresh }]);
    assert_eq!(
        next(&v2, vec![Change::Revoke(lost)]),
        Err(ChangeError::NotThere(lost.to_string()))
    );
    assert_eq!(
        next(&v1, vec![Change::Revoke(key(1).public())]),
        Err(ChangeError::TooFewRoots(1))
    );
}

#[test]
fn a_key_is_rotated_in_its_role_alone_and_never_into_two() {
    let v1 = document(1, &[1], 1);
    let rotate = |role, old: u8, new: u8| Change::Rotate {
        role,
        old: key(old).public(),
        new: key(new).public(),
    };
    let v2 = next(&v1, vec![rotate(KeyRole::Root, 1, 2)]).unwrap();
    assert_eq!(v2.root.keys[0].key, key(2).public());
    assert_eq!(v2.root.keys[0].name, "person 1");
    assert!(matches!(
        next(&v1, vec![rotate(KeyRole::Ci, 1, 2)]),
        Err(ChangeError::NotThere(_))
    ));
    assert!(matches!(
        next(&v1, vec![rotate(KeyRole::Root, 1, 100)]),
        Err(ChangeError::Document(TrustRootError::KeyTwice { .. }))
    ));
}

#[test]
fn a_person_whose_key_no_agent_could_read_is_refused() {
    let person = Person {
        name: "ada".into(),
        keys: vec![PersonKey {
            key: "ssh-ed25519 nonsense".into(),
            valid_after: None,
            valid_before: None,
        }],
        paths: vec!["/".into()],
        forge: false,
    };
    assert!(matches!(
        next(&document(1, &[1], 1), vec![Change::Person(person)]),
        Err(ChangeError::Person { .. })
    ));
}
