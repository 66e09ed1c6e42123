use countersign_ledger::dsse;
use countersign_ledger::key::{FileKey, Sign};
use countersign_ledger::statement::infrastructure::{AddressCounts, Phase};
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Infrastructure, Override, Reproduction};
use countersign_ledger::time::Time;
use countersign_ledger::trust::{
    ClusterTrust, Level, NamedKey, RoleKey, RootRole, TrustRoot, VerifiedRoot,
};

use super::*;

const NOW: u64 = 1_795_000_000_000;
const HOUR: u64 = 3_600_000;

/// The key of that name.
pub(in crate::serve::entries) fn key(name: &str) -> FileKey {
    FileKey::from_seed(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

fn named(name: &str) -> Vec<NamedKey> {
    vec![NamedKey {
        key: key(name).public(),
        name: name.into(),
    }]
}

/// A fleet of one cluster, with a key for each role that enters by the door.
pub(in crate::serve::entries) fn root() -> VerifiedRoot {
    let role = RootRole {
        keys: named("root"),
        threshold: 1,
    };
    let mut root = TrustRoot::new("acme", "2026-11-01T00:00:00Z", role, Digest::of(b"ca"));
    let sealer = RoleKey {
        key: key("sealer").public(),
    };
    root.sealers.insert("prod".into(), vec![sealer]);
    let trust = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    root.clusters.insert("eks".into(), trust);
    root.overriders = named("olga");
    root.reproducers = named("rita");
    root.ci = named("ci");
    let document = root.sign(&[&key("root")]).unwrap();
    let pin = Digest::of(document.bytes());
    VerifiedRoot::pinned(document.bytes(), &pin, &RingVerifier).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW.try_into().unwrap()).unwrap()
}

fn time(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

fn pause() -> Override {
    Override {
        fleet: "acme".into(),
        kind: OverrideKind::Pause,
        cluster: Some("eks".into()),
        app: None,
        what: String::new(),
        reason: "the database moves".into(),
        by: "olga".into(),
        issued: time(NOW),
        until: time(NOW + HOUR),
    }
}

fn infrastructure(resources: &[u8]) -> Infrastructure {
    Infrastructure {
        workspace: "eks".into(),
        plan: Digest::of(b"plan"),
        fleet: "acme".into(),
        environment: "prod".into(),
        phase: Phase::Apply,
        addresses: AddressCounts::default(),
        resources: Digest::of(resources),
        commit: String::new(),
        run: "7".into(),
        by: "ci".into(),
    }
}

fn reproduction() -> Reproduction {
    Reproduction {
        fleet: "acme".into(),
        cluster: "eks".into(),
        generation: 3,
        commit: "1".repeat(40),
        desired: Digest::of(b"desired"),
        digest: Digest::of(b"render"),
        agrees: true,
    }
}

fn offer(statement: &Statement, signers: &[&str]) -> Offer {
    let keys: Vec<FileKey> = signers.iter().map(|name| key(name)).collect();
    let signs: Vec<&dyn Sign> = keys.iter().map(|key| key as &dyn Sign).collect();
    let envelope = dsse::sign(PAYLOAD_TYPE, &statement.payload().unwrap(), &signs).unwrap();
    Offer {
        envelope: Bytes::copy_from_slice(envelope.bytes()),
        blobs: Vec::new(),
    }
}

fn refused(offer: &Offer) -> &'static str {
    accept(offer, &root(), now()).unwrap_err().code
}

#[test]
fn a_key_says_what_the_trust_root_lists_it_for_and_nothing_else() {
    let reproduction = Statement::Reproduction(reproduction());
    let pause = Statement::Override(pause());
    for (statement, signer, by) in [(&reproduction, "rita", "rita"), (&pause, "olga", "olga")] {
        let accepted = accept(&offer(statement, &[signer]), &root(), now()).unwrap();
        assert_eq!(accepted.by, by);
        for other in ["sealer", "root", "ci", "somebody"] {
            assert_eq!(refused(&offer(statement, &[other])), "SIGNATURE_INVALID");
        }
    }
    assert_eq!(refused(&offer(&pause, &["olga", "rita"])), "SIGNATURES");
}

#[test]
fn what_the_hub_and_clusters_say_does_not_enter_here() {
    let source = countersign_ledger::statement::TrustEntry {
        root: Digest::of(b"root"),
        fleet: "acme".into(),
        version: 1,
        previous: None,
    };
    let offer = offer(&Statement::TrustEntry(source), &["sealer"]);
    assert_eq!(refused(&offer), "PREDICATE_FORBIDDEN");
}

#[test]
fn an_override_is_its_signers_own_of_a_cluster_that_is_there_and_ends_soon() {
    let code = |change: fn(&mut Override)| {
        let mut this = pause();
        change(&mut this);
        accept(
            &offer(&Statement::Override(this), &["olga"]),
            &root(),
            now(),
        )
        .err()
        .map(|refusal| refusal.code)
    };
    assert_eq!(code(|_| {}), None);
    assert_eq!(code(|it| it.cluster = None), None, "of the whole fleet");
    for change in [
        (|it: &mut Override| it.by = "rita".into()) as fn(&mut Override),
        |it| it.cluster = Some("other".into()),
        |it| it.issued = time(NOW + HOUR / 2),
        |it| (it.issued, it.until) = (time(NOW - HOUR), time(NOW)),
        |it| it.until = time(NOW + 31 * 24 * HOUR),
    ] {
        assert_eq!(code(change), Some("OVERRIDE_INVALID"));
    }
    assert_eq!(code(|it| it.fleet = "other".into()), Some("OTHER_FLEET"));
    // What concerns all clusters is not said for one.
    let policies = |it: &mut Override| {
        it.kind = OverrideKind::Policies;
        it.what = Digest::of(b"set").to_string();
    };
    let rewrite = |it: &mut Override| {
        it.kind = OverrideKind::Rewrite;
        it.what = format!("refs/heads/main {}", "1".repeat(40));
    };
    for kind in [policies as fn(&mut Override), rewrite] {
        for (cluster, app, wanted) in [
            (None, None, None),
            (Some("eks"), None, Some("OVERRIDE_INVALID")),
            (None, Some("cart"), Some("OVERRIDE_INVALID")),
        ] {
            let mut this = pause();
            kind(&mut this);
            (this.cluster, this.app) = (cluster.map(str::to_owned), app.map(str::to_owned));
            let offer = offer(&Statement::Override(this), &["olga"]);
            let refused = accept(&offer, &root(), now()).err();
            assert_eq!(refused.map(|refusal| refusal.code), wanted);
        }
    }
}

#[test]
fn blobs_come_with_the_statement_that_names_them_and_no_others() {
    let resources: &[u8] = b"[]";
    let statement = Statement::Infrastructure(infrastructure(resources));
    let with = |blobs: &[&'static [u8]]| Offer {
        blobs: blobs.iter().map(|blob| Bytes::from_static(blob)).collect(),
        ..offer(&statement, &["ci"])
    };
    accept(&with(&[resources]), &root(), now()).unwrap();
    let none: &[&[u8]] = &[];
    let other: &[&[u8]] = &[b"{}"];
    let twice: &[&[u8]] = &[resources, resources];
    for blobs in [none, other, twice] {
        assert_eq!(refused(&with(blobs)), "BLOB_MISSING");
    }
}

/// Found on rereading: a pause could be posted again after its resume, in other bytes, by anybody who reads the log.
#[test]
fn one_statement_has_one_spelling_so_that_nobody_says_it_again_for_its_signer() {
    let offer = offer(&Statement::Override(pause()), &["olga"]);
    accept(&offer, &root(), now()).unwrap();
    let text = std::str::from_utf8(&offer.envelope).unwrap();
    let id = key("olga").public().id().to_string();
    for other in [
        format!("{text} "),
        text.replacen("{\"payload\"", "{ \"payload\"", 1),
        text.replace(&id, "somebody"),
        text.replacen("{\"payload\"", "{\"more\":1,\"payload\"", 1),
    ] {
        assert_ne!(other, text);
        let offer = Offer {
            envelope: other.clone().into(),
            blobs: Vec::new(),
        };
        let code = refused(&offer);
        assert!(
            ["ENVELOPE_SPELLING", "ENVELOPE_INVALID"].contains(&code),
            "{code}: {other}"
        );
    }
}

#[test]
fn bytes_that_are_no_statement_are_refused_and_never_a_panic() {
    for bytes in [
        "",
        "{}",
        "[]",
        "{\"payload\":\"\",\"payloadType\":\"x\",\"signatures\":[]}",
    ] {
        let offer = Offer {
            envelope: Bytes::from_static(bytes.as_bytes()),
            blobs: Vec::new(),
        };
        assert_eq!(refused(&offer), "ENVELOPE_INVALID", "{bytes}");
    }
}
