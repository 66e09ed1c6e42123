use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn args(out: &Path, clusters: &[&str]) -> init::InitArgs {
    init::InitArgs {
        fleet: "acme".into(),
        out: out.to_owned(),
        repo: None,
        cluster: clusters.iter().map(|&text| text.to_owned()).collect(),
        owner: "zoe".into(),
        encrypt: false,
        root_key: None,
        sealer_key: Vec::new(),
        log_key: None,
        agent_ca_key: None,
    }
}

#[test]
fn what_init_writes_verifies_and_its_keys_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("keys");
    let args = args(&out, &["metal-fra=production", "lab=test"]);
    init::init(&args).unwrap();
    let root = VerifiedRoot::parse(
        &std::fs::read(out.join("trust.json")).unwrap(),
        &RingVerifier,
    )
    .unwrap();
    assert_eq!((root.fleet(), root.version()), ("acme", 1));
    let clusters: Vec<&String> = root.document().clusters.keys().collect();
    assert_eq!(clusters, ["lab", "metal-fra"]);
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
        matches!(init::init(&args), Err(Failure::Mistake(_))),
        "never over older keys"
    );
}

#[test]
fn a_trust_root_that_was_changed_is_a_negative_answer() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("keys");
    init::init(&args(&out, &["a=b"])).unwrap();
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

#[test]
fn a_key_that_is_named_is_listed_and_no_file_of_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    init::init(&args(&elsewhere, &["a=b"])).unwrap();
    let reference = |name: &str| elsewhere.join(name).to_string_lossy().into_owned();
    let out = folder.path().join("keys");
    let named = init::InitArgs {
        root_key: Some(reference("root.key")),
        sealer_key: vec![format!("b={}", reference("hub/keys/sealer-b.key"))],
        log_key: Some(reference("hub/keys/log.key")),
        agent_ca_key: Some(reference("hub/keys/agent-ca.key")),
        ..args(&out, &["a=b"])
    };
    init::init(&named).unwrap();
    let root = |folder: &Path| {
        let bytes = std::fs::read(folder.join("trust.json")).unwrap();
        VerifiedRoot::parse(&bytes, &RingVerifier).unwrap()
    };
    let (first, second) = (root(&elsewhere), root(&out));
    let (first, second) = (first.document(), second.document());
    assert_eq!(first.root.keys[0].key, second.root.keys[0].key);
    assert_eq!(first.sealers, second.sealers);
    assert_eq!(first.log, second.log);
    assert_eq!(first.agent_cas, second.agent_cas);
    for file in ["root.key", "hub/keys/sealer-b.key", "hub/keys/log.key"] {
        assert!(!out.join(file).exists(), "{file}");
    }
    assert!(out.join("hub/keys/hub-ca.key").exists());

    for wrong in ["b", "c=x", "B=x"] {
        let sealer_key = vec![wrong.to_owned()];
        let out = folder.path().join("none");
        let args = init::InitArgs {
            sealer_key,
            ..args(&out, &["a=b"])
        };
        assert!(
            matches!(init::init(&args), Err(Failure::Mistake(_))),
            "{wrong}"
        );
        assert!(!out.exists());
    }
}
