use std::collections::BTreeMap;

use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::key::{FileKey, Sign};
use countersign_ledger::manifest::{Content, ObjectLine};
use countersign_ledger::statement::Override;
use countersign_ledger::trust::{
    ClusterTrust, Level, NamedKey, RootRole, Roots, SealerKey, TrustRoot, VerifiedRoot,
};

use super::*;

fn at(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn known(overrider: u8) -> Known {
    let named = |seed: u8, name: &str| NamedKey {
        key: key(seed).public(),
        name: name.into(),
    };
    let role = RootRole {
        keys: vec![named(1, "root")],
        threshold: 1,
    };
    let mut document = TrustRoot::new("acme", "2026-11-25T08:00:00Z", role, Digest::of(b"ca"));
    document.overriders = vec![named(overrider, "ada")];
    let sealer = SealerKey {
        key: key(9).public(),
    };
    document.sealers.insert("prod".into(), vec![sealer]);
    document.clusters = BTreeMap::from([(
        "one".to_owned(),
        ClusterTrust {
            environment: "prod".into(),
            level: Level::Signed,
        },
    )]);
    let signed = document.sign(&[&key(1)]).unwrap();
    let root = VerifiedRoot::parse(signed.bytes(), &RingVerifier).unwrap();
    Known::new("one", Roots::new(root), None)
}

fn word(index: u64, kind: OverrideKind, app: Option<&str>, until: u64) -> Word {
    let says = Override {
        fleet: "acme".into(),
        kind,
        cluster: None,
        app: app.map(str::to_owned),
        what: String::new(),
        reason: format!("storm {index}"),
        by: "ada".into(),
        issued: at(0),
        until: at(until),
    };
    let envelope = dsse::sign(PAYLOAD_TYPE, &says.payload().unwrap(), &[&key(2)]).unwrap();
    Word {
        verified: rejudge(&known(2), envelope.bytes(), index, &RingVerifier).unwrap(),
        envelope: Bytes::copy_from_slice(envelope.bytes()),
    }
}

fn places(turns: &[Turn]) -> Vec<(u64, bool)> {
    turns.iter().map(|turn| (turn.index, turn.began)).collect()
}

#[test]
fn a_restart_changes_nothing() {
    let mut before = Overrides::default();
    assert!(before.add(vec![word(4, OverrideKind::Pause, None, 100)]));
    assert!(
        !before.add(vec![word(4, OverrideKind::Pause, None, 100)]),
        "it came before"
    );
    assert_eq!(places(&before.turns(at(1))), [(4, true)]);
    let json = serde_json::to_vec(&before.record()).unwrap();
    let (mut after, refused) =
        Overrides::restore(serde_json::from_slice(&json).unwrap(), &known(2));
    assert_eq!(refused, []);
    assert_eq!(after.in_force(at(1)), before.in_force(at(1)));
    assert_eq!(after.turns(at(1)), [], "its beginning was told");
    assert_eq!(places(&after.turns(at(100))), [(4, false)]);
    assert_eq!(
        after.record(),
        Record::default(),
        "and then it is forgotten"
    );
}

#[test]
fn what_was_changed_on_disk_or_signed_by_a_dropped_key_counts_no_more() {
    let mut before = Overrides::default();
    before.add(vec![word(4, OverrideKind::Pause, None, 100)]);
    let (after, refused) = Overrides::restore(before.record(), &known(3));
    assert_eq!(after.in_force(at(1)), InForce::default());
    assert_eq!(refused[0].code(), "OVERRIDE_INVALID");
}

#[test]
fn a_resume_ends_a_pause_before_its_time_and_for_good() {
    let mut overrides = Overrides::default();
    overrides.add(vec![word(4, OverrideKind::Pause, None, 100)]);
    assert_eq!(places(&overrides.turns(at(1))), [(4, true)]);
    overrides.add(vec![word(5, OverrideKind::Resume, None, 10)]);
    assert_eq!(places(&overrides.turns(at(2))), [(4, false)]);
    assert_eq!(overrides.turns(at(50)), [], "its own end ends no resume");
    assert_eq!(overrides.in_force(at(50)), InForce::default());
}

fn line(app: &str, name: &str, content: &[u8]) -> Line {
    Line::Object(ObjectLine {
        id: ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "web".into(),
            name: name.into(),
        },
        app: app.into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        wave: 0,
        bytes: content.len() as u64,
        content: Content::Plain {
            sha256: Digest::of(content),
        },
    })
}

#[test]
fn an_apps_pause_holds_what_changes_that_app_and_nothing_else() {
    let holds = |app: Option<&str>| {
        let mut overrides = Overrides::default();
        overrides.add(vec![word(4, OverrideKind::Pause, app, 100)]);
        overrides.in_force(at(1))
    };
    let old = [line("blog", "a", b"1"), line("cart", "b", b"1")];
    let blog = [line("blog", "a", b"2"), line("cart", "b", b"1")];
    let more = [
        line("blog", "a", b"1"),
        line("cart", "b", b"1"),
        line("cart", "c", b"1"),
    ];
    let gone = [line("blog", "a", b"1")];
    let held = |app, new: &[Line]| held_by(&holds(app), &old, new).map(|(app, _)| app);
    assert_eq!(held(Some("cart"), &blog), None);
    assert_eq!(held(Some("blog"), &blog), Some(Some("blog".into())));
    assert_eq!(held(Some("cart"), &more), Some(Some("cart".into())));
    assert_eq!(held(Some("cart"), &gone), Some(Some("cart".into())));
    assert_eq!(held(None, &blog), Some(None));
    assert_eq!(held_by(&InForce::default(), &old, &more), None);
}
