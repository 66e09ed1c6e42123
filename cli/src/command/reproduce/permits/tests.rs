use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, Sign};
use countersign_ledger::statement::{Admission, Override};
use countersign_ledger::trust::{ClusterTrust, Level, NamedKey, RoleKey, RootRole, TrustRoot};

use super::*;

fn key(name: &str) -> FileKey {
    FileKey::from_seed(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

fn named(names: &[&str]) -> Vec<NamedKey> {
    let one = |name: &&str| NamedKey {
        key: key(name).public(),
        name: (*name).to_owned(),
    };
    names.iter().map(one).collect()
}

fn document(overriders: &[&str]) -> TrustRoot {
    let role = RootRole {
        keys: named(&["root"]),
        threshold: 1,
    };
    let mut root = TrustRoot::new("acme", "2026-11-01T00:00:00Z", role, Digest::of(b"ca"));
    let sealer = RoleKey {
        key: key("sealer").public(),
    };
    root.sealers.insert("prod".into(), vec![sealer]);
    root.agent_cas = vec![RoleKey {
        key: key("agent-ca").public(),
    }];
    let trust = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    root.clusters.insert("one".into(), trust);
    root.overriders = named(overriders);
    root
}

fn roots(overriders: &[&str]) -> Roots {
    let document = document(overriders).sign(&[&key("root")]).unwrap();
    let pin = Digest::of(document.bytes());
    Roots::new(VerifiedRoot::pinned(document.bytes(), &pin, &RingVerifier).unwrap())
}

fn what() -> Digest {
    Digest::of(b"these objects")
}

fn time(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

fn word(by: &str, reason: &str, until: u64, change: fn(&mut Override)) -> Vec<u8> {
    let mut says = Override {
        fleet: "acme".into(),
        kind: OverrideKind::Deletion,
        cluster: Some("one".into()),
        app: Some("cart".into()),
        what: what().to_string(),
        reason: reason.into(),
        by: by.into(),
        issued: time(10),
        until: time(until),
    };
    change(&mut says);
    let signer = key(by);
    let envelope = dsse::sign(PAYLOAD_TYPE, &says.payload().unwrap(), &[&signer]).unwrap();
    envelope.bytes().to_vec()
}

fn state(by: &str) -> Desired {
    Desired {
        manifest: Digest::of(b"manifest"),
        fleet: "acme".into(),
        cluster: "one".into(),
        environment: "prod".into(),
        generation: 2,
        previous: None,
        commit: "1".repeat(40),
        source: Digest::of(b"source"),
        renderer: "r".into(),
        admission: Admission::default(),
        ring: String::new(),
        trust_root: 1,
        permits: vec![Permit {
            permit: PermitKind::Deletion,
            subject: "cart".into(),
            object: what().to_string(),
            by: by.into(),
            reason: "shop closes".into(),
        }],
    }
}

fn all() -> DeletionPermits {
    DeletionPermits::from([("cart".to_owned(), what())])
}

#[test]
fn without_people_for_overrides_the_state_s_word_counts() {
    let permitted = Words::default().permitted(&roots(&[]), &state("uid 1000"), 9, None);
    assert_eq!(permitted, all());
}

#[test]
fn with_them_only_a_word_that_one_of_them_signed_before_the_state_counts() {
    let roots = roots(&["ada"]);
    let permitted = |entry: &[u8], state: &Desired, index: u64| {
        let mut words = Words::default();
        words.hear(&roots, 5, entry);
        words.permitted(&roots, state, index, None)
    };
    let signed = word("ada", "r", 1_000, |_| {});
    assert_eq!(permitted(&signed, &state("ada"), 6), all());
    assert!(unsigned(&state("ada"), &all()).is_empty());
    let none = DeletionPermits::new();
    assert_eq!(permitted(&signed, &state("ada"), 5), none, "it came after");
    assert_eq!(
        permitted(&signed, &state("bob"), 6),
        none,
        "by somebody else"
    );
    assert_eq!(permitted(b"nonsense", &state("ada"), 6), none);
    let stranger = word("sealer", "r", 1_000, |_| {});
    assert_eq!(permitted(&stranger, &state("sealer"), 6), none);
    let changes: [fn(&mut Override); 3] = [
        |it| it.cluster = Some("two".into()),
        |it| it.app = Some("blog".into()),
        |it| it.what = Digest::of(b"others").to_string(),
    ];
    for change in changes {
        let entry = word("ada", "r", 1_000, change);
        assert_eq!(permitted(&entry, &state("ada"), 6), none);
    }
    let missing = unsigned(&state("ada"), &none);
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["cart"]);
}

#[test]
fn each_word_counts_for_one_state_however_often_it_is_looked_at() {
    let roots = roots(&["ada"]);
    let mut words = Words::default();
    let first = word("ada", "first", 1_000, |_| {});
    words.hear(&roots, 5, &first);
    words.hear(&roots, 6, &first);
    assert_eq!(words.permitted(&roots, &state("ada"), 7, None), all());
    assert_eq!(words.permitted(&roots, &state("ada"), 7, None), all());
    assert!(words.permitted(&roots, &state("ada"), 8, None).is_empty());
    words.hear(&roots, 9, &word("ada", "second", 1_000, |_| {}));
    assert_eq!(words.permitted(&roots, &state("ada"), 10, None), all());
    let kept = serde_json::to_vec(&words).unwrap();
    assert_eq!(serde_json::from_slice::<Words>(&kept).unwrap(), words);
}

#[test]
fn a_word_that_had_ended_before_the_state_can_have_been_sealed_counts_for_nothing() {
    let roots = roots(&["ada"]);
    let at = |after: u64| {
        let mut words = Words::default();
        words.hear(&roots, 5, &word("ada", "r", 1_000, |_| {}));
        words.permitted(&roots, &state("ada"), 7, Some(time(after)))
    };
    assert_eq!(at(999), all());
    assert!(at(1_000).is_empty());
}

#[test]
fn a_key_counts_from_its_root_s_place_to_that_of_the_root_that_drops_it() {
    let first = document(&["ada"]).sign(&[&key("root")]).unwrap();
    let pin = Digest::of(first.bytes());
    let first = VerifiedRoot::pinned(first.bytes(), &pin, &RingVerifier).unwrap();
    let mut next = document(&["bob"]);
    next.version = 2;
    let next = next.sign(&[&key("root")]).unwrap();
    let mut roots = Roots::new(first.clone());
    roots.extend(next.bytes(), &RingVerifier).unwrap();
    let effect = |version: u64, by: &str| {
        let root = roots.at(version).unwrap();
        let entry = TrustEntry {
            root: root.digest(),
            fleet: "acme".into(),
            version,
            previous: (version > 1).then(|| first.digest()),
        };
        let signer = key(by);
        let envelope = dsse::sign(PAYLOAD_TYPE, &entry.payload().unwrap(), &[&signer]).unwrap();
        envelope.bytes().to_vec()
    };
    let ada = word("ada", "r", 1_000, |_| {});
    let permitted = |place: u64| {
        let mut words = Words::default();
        words.hear(&roots, 0, &effect(1, "agent-ca"));
        words.hear(&roots, 4, &effect(2, "stranger"));
        assert_eq!(words.roots.len(), 1, "nobody who may say it signed it");
        words.hear(&roots, 6, &effect(2, "agent-ca"));
        words.hear(&roots, place, &ada);
        words.permitted(&roots, &state("ada"), 9, None)
    };
    assert_eq!(permitted(5), all());
    assert!(permitted(7).is_empty());
}
