use super::*;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_cluster_is_said_as_name_environment_and_level() {
    let (name, trust) = parse_cluster("metal-fra=production:witnessed").unwrap();
    assert_eq!(
        (name.as_str(), trust.environment.as_str(), trust.level),
        ("metal-fra", "production", Level::Witnessed)
    );
    assert_eq!(parse_cluster("a=b").unwrap().1.level, Level::Signed);
    for bad in ["", "a", "a=", "=b", "a=b:best", "A=b", "a=b/c", "a=b:"] {
        assert!(
            matches!(parse_cluster(bad), Err(Failure::Mistake(_))),
            "{bad}"
        );
    }
}

#[test]
fn what_init_writes_verifies_and_its_keys_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("keys");
    let clusters = clusters(None, &["metal-fra=production".into(), "lab=test".into()]).unwrap();
    init("acme", &out, clusters.clone(), "zoe", false).unwrap();
    let root = VerifiedRoot::parse(
        &std::fs::read(out.join("trust.json")).unwrap(),
        &RingVerifier,
    )
    .unwrap();
    assert_eq!((root.fleet(), root.version()), ("acme", 1));
    assert_eq!(root.document().clusters, clusters);
    for secret in [
        "root.key",
        "hub/keys/sealer-production.key",
        "hub/keys/sealer-test.key",
        "hub/keys/hub-ca.key",
    ] {
        let mode = std::fs::metadata(out.join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let certificate = std::fs::read_to_string(out.join("hub/keys/hub-ca.crt")).unwrap();
    let der = authority::der(&certificate).unwrap();
    assert_eq!(Digest::of(&der), root.document().hub_ca);
    assert!(
        !out.join("hub/root.key").exists(),
        "the root key never goes to the hub"
    );
    assert!(
        matches!(
            init("acme", &out, clusters, "zoe", false),
            Err(Failure::Mistake(_))
        ),
        "never over older keys"
    );
}

#[test]
fn a_trust_root_that_was_changed_is_a_negative_answer() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("keys");
    init(
        "acme",
        &out,
        clusters(None, &["a=b".into()]).unwrap(),
        "zoe",
        false,
    )
    .unwrap();
    let path = out.join("trust.json");
    show(&path, None, Form::Table).unwrap();
    let other = Digest::of(b"other");
    assert!(matches!(
        show(&path, Some(&other), Form::Table),
        Err(Failure::Negative(_))
    ));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(
        show(&path, None, Form::Table),
        Err(Failure::Negative(_))
    ));
    assert!(matches!(
        show(&out.join("none"), None, Form::Table),
        Err(Failure::Mistake(_))
    ));
}
