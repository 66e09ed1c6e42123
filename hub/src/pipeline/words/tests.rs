use countersign_ledger::Digest;
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, Sign};
use countersign_ledger::trust::{ClusterTrust, Level, NamedKey, RootRole, TrustRoot, VerifiedRoot};

use super::*;

fn key(name: &str) -> FileKey {
    FileKey::from_seed(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

fn named(name: &str) -> Vec<NamedKey> {
    vec![NamedKey {
        key: key(name).public(),
        name: name.into(),
    }]
}

fn roots() -> Roots {
    let role = RootRole {
        keys: named("root"),
        threshold: 1,
    };
    let mut root = TrustRoot::new("acme", "2026-11-01T00:00:00Z", role, Digest::of(b"ca"));
    let sealer = countersign_ledger::trust::RoleKey {
        key: key("sealer").public(),
    };
    root.sealers.insert("prod".into(), vec![sealer]);
    for cluster in ["one", "two"] {
        let trust = ClusterTrust {
            environment: "prod".into(),
            level: Level::Signed,
        };
        root.clusters.insert(cluster.into(), trust);
    }
    root.overriders = named("ada");
    let document = root.sign(&[&key("root")]).unwrap();
    let pin = Digest::of(document.bytes());
    Roots::new(VerifiedRoot::pinned(document.bytes(), &pin, &RingVerifier).unwrap())
}

fn at(ms: u64) -> Timestamp {
    timestamp(Time::from_ms(ms).unwrap()).unwrap()
}

fn says(kind: OverrideKind, cluster: Option<&str>, app: Option<&str>, what: &str) -> Override {
    Override {
        fleet: "acme".into(),
        kind,
        cluster: cluster.map(str::to_owned),
        app: app.map(str::to_owned),
        what: what.into(),
        reason: "a storm".into(),
        by: "ada".into(),
        issued: Time::from_ms(10).unwrap(),
        until: Time::from_ms(1_000).unwrap(),
    }
}

fn signed(says: &Override, by: &str) -> Bytes {
    let signer = key(by);
    let envelope = dsse::sign(PAYLOAD_TYPE, &says.payload().unwrap(), &[&signer]).unwrap();
    Bytes::copy_from_slice(envelope.bytes())
}

fn heard(all: &[(Override, &str)]) -> (Words, Vec<Permit>, bool) {
    let mut words = Words::new(roots(), &[]);
    let entries = all
        .iter()
        .zip(3..)
        .map(|((says, by), index)| (index, signed(says, by)))
        .collect();
    let (permits, any) = words.take(entries);
    (words, permits, any)
}

use OverrideKind::{Deletion, Pause as Paused_, Policies, Resume, Rewrite};

#[test]
fn a_pause_of_an_app_holds_where_it_is_for_until_its_end_or_a_resume() {
    let pause = says(Paused_, Some("one"), Some("cart"), "");
    let (words, permits, any) = heard(&[(pause.clone(), "ada")]);
    assert!(any && permits.is_empty());
    assert_eq!(words.next(), 4);
    let apps =
        |cluster: &str, ms| -> Vec<String> { words.paused(cluster, at(ms)).into_keys().collect() };
    assert_eq!(apps("one", 999), ["cart"]);
    assert_eq!(apps("one", 1_000), [""; 0]);
    assert_eq!(apps("two", 999), [""; 0]);
    assert_eq!(words.next_end(at(999)), Some(at(1_000)));
    assert_eq!(words.next_end(at(1_000)), None);

    let everywhere = says(Paused_, None, Some("cart"), "");
    let resume = says(Resume, Some("one"), None, "");
    let (words, ..) = heard(&[(pause, "ada"), (everywhere, "ada"), (resume, "ada")]);
    // The one of the fleet stands.
    assert_eq!(words.paused("one", at(20))["cart"].index, 4);
    assert_eq!(words.paused("two", at(20))["cart"].index, 4);
}

#[test]
fn a_pause_of_a_whole_cluster_is_the_agent_s_to_hold() {
    let (words, ..) = heard(&[(says(Paused_, Some("one"), None, ""), "ada")]);
    assert!(words.paused("one", at(20)).is_empty());
    assert_eq!(words.next_end(at(20)), None);
}

#[test]
fn what_nobody_may_say_counts_for_nothing() {
    let pause = says(Paused_, Some("one"), Some("cart"), "");
    let other_fleet = Override {
        fleet: "other".into(),
        ..pause.clone()
    };
    let other_name = Override {
        by: "bob".into(),
        ..pause.clone()
    };
    for (says, by) in [(pause, "sealer"), (other_fleet, "ada"), (other_name, "ada")] {
        let (words, permits, any) = heard(&[(says.clone(), by)]);
        assert!(!any && permits.is_empty(), "{says:?} {by}");
        assert!(words.paused("one", at(20)).is_empty());
        assert_eq!(words.next(), 4, "it is looked at once");
    }
}

#[test]
fn permits_come_with_their_end_their_place_and_who_signed() {
    let digest = Digest::of(b"x").to_string();
    let rewrite = format!("refs/heads/main {}", "1".repeat(40));
    let (_, permits, _) = heard(&[
        (says(Deletion, Some("one"), Some("cart"), &digest), "ada"),
        (says(Rewrite, None, None, &rewrite), "ada"),
        (says(Policies, None, None, &digest), "ada"),
        (says(Policies, None, None, &digest), "sealer"),
    ]);
    let kinds: Vec<PermitKind> = permits.iter().map(|permit| permit.permit.clone()).collect();
    assert_eq!(
        kinds,
        [
            PermitKind::Deletion {
                app: "cart".into(),
                manifest: digest.clone()
            },
            PermitKind::Rewrite {
                reference: "refs/heads/main".into(),
                commit: "1".repeat(40)
            },
            PermitKind::Policies { set: digest },
        ]
    );
    let places: Vec<_> = permits.iter().map(|permit| permit.entry).collect();
    assert_eq!(places, [Some(3), Some(4), Some(5)]);
    for permit in permits {
        assert_eq!((permit.by.as_str(), permit.until), ("ada", Some(at(1_000))));
        assert!(permit.holds(at(999)) && !permit.holds(at(1_000)));
    }
}
