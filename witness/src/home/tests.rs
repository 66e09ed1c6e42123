use std::os::unix::fs::PermissionsExt as _;

use ring::rand::SystemRandom;

use super::*;
use crate::tests::sample::key;

#[test]
fn a_new_home_has_a_private_key_and_says_its_public_half() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("w1");
    let vkey = Home::make(&folder, "witness.example/w1", &key(7)).unwrap();
    for (name, mode) in [(KEY, 0o600), ("", 0o700)] {
        let found = fs::metadata(folder.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    assert_eq!(
        fs::read_to_string(folder.join(VKEY)).unwrap(),
        format!("{vkey}\n")
    );
    assert_eq!(*Home::open(&folder).unwrap().vkey(), vkey);
}

#[test]
fn a_key_is_never_written_over() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("w1");
    Home::make(&folder, "w1", &key(7)).unwrap();
    assert!(matches!(
        Home::make(&folder, "w1", &key(8)),
        Err(HomeError::NotEmpty(_))
    ));
    assert_eq!(Home::open(&folder).unwrap().key().public(), key(7).public());
}

#[test]
fn one_process_at_a_time() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("w1");
    Home::make(&folder, "w1", &key(7)).unwrap();
    let first = Home::open(&folder).unwrap();
    assert!(matches!(Home::open(&folder), Err(HomeError::InUse(_))));
    drop(first);
    Home::open(&folder).unwrap();
}

#[test]
fn a_folder_without_a_witness_or_with_half_of_one_is_not_opened() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("w1");
    assert!(matches!(Home::open(&folder), Err(HomeError::NotMade(_))));
    Home::make(&folder, "w1", &key(7)).unwrap();
    let other = Vkey::new("w1", KeyKind::Cosignature, key(8).public()).unwrap();
    fs::write(folder.join(VKEY), format!("{other}\n")).unwrap();
    assert!(matches!(Home::open(&folder), Err(HomeError::Vkey { .. })));
    fs::remove_file(folder.join(VKEY)).unwrap();
    assert!(matches!(Home::open(&folder), Err(HomeError::NotMade(_))));
}

#[test]
fn an_agent_s_home_is_made_once_and_keeps_its_name() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("w1");
    let random = SystemRandom::new();
    let vkey = Home::open_or_make(&folder, "w1", &random)
        .unwrap()
        .vkey()
        .clone();
    assert_eq!(
        *Home::open_or_make(&folder, "w1", &random).unwrap().vkey(),
        vkey
    );
    let error = Home::open_or_make(&folder, "w2", &random)
        .unwrap_err()
        .to_string();
    assert!(error.contains("its name is final"), "{error}");
    // The key went, the rest stayed: no new key in an old witness's place.
    fs::remove_file(folder.join(KEY)).unwrap();
    assert!(matches!(
        Home::open_or_make(&folder, "w1", &random),
        Err(HomeError::NotMade(_))
    ));
}

#[test]
fn a_name_that_breaks_signature_lines_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["", "a b", "a+b", "a\nb"] {
        let made = Home::make(&parent.path().join("w"), name, &key(7));
        assert!(matches!(made, Err(HomeError::Name { .. })), "{name:?}");
    }
}
