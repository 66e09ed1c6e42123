//! What signs and what is linked.

use countersign_ledger::key::{FileKey, RingVerifier, Sign as _, Verify as _};
use countersign_tests::workspace;

/// A signer takes the seed alone, so that no foreign public half can be mixed in; and no second library, with weaknesses of
/// its own, is linked beside *ring*.
#[test]
fn threat_rustsec_2022_0093_one_library_signs_and_no_other_is_linked() {
    let key = FileKey::from_seed(&[7; 32]).unwrap();
    let again = FileKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!(again.public(), key.public());
    let signature = again.sign(b"text").unwrap();
    assert_eq!(signature, key.sign(b"text").unwrap());
    assert!(RingVerifier.verify(&key.public(), b"text", &signature));

    let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock")).unwrap();
    let names: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .collect();
    assert!(names.contains(&"ring"));
    for other in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl-sys",
        "boring-sys",
        "mbedtls",
    ] {
        assert!(!names.contains(&other), "{other} is linked");
    }
}
