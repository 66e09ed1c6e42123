//! Permits where the trust root lists people for overrides: signed, for exactly one act, once.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use countersign_fleet::api::PermitKind;
use countersign_ledger::dsse;
use countersign_ledger::key::FileKey;
use countersign_ledger::statement::Override;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::time::Time;
use countersign_tests::cli::{Cli, Output};
use countersign_tests::until;
use countersign_tests::world::FLEET;

use crate::fixture::{ONE, Stand, config_map};
use crate::overrides::{said, say, stand};

const LIMIT: Duration = Duration::from_secs(90);
/// Objects of the cluster's own app beside those that the stand has.
const MORE: usize = 25;
/// So many of them go: more than a fifth.
const GO: usize = 10;

fn file(n: usize) -> String {
    format!("clusters/one/m{n:02}.yaml")
}

fn name(n: usize) -> String {
    format!("m{n:02}")
}

/// All of them are in Git.
pub(crate) async fn fill(stand: &Stand) {
    let files: Vec<(String, String)> = (0..MORE)
        .map(|n| (file(n), config_map(&name(n), "v", "1")))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let commit = stand.world.push_files(&files, "many").unwrap();
    stand.settled(&commit).await;
}

/// Takes [`GO`] of them away; gives the digest that waits for a permit, and the commit.
pub(crate) async fn empty(stand: &Stand) -> (String, String) {
    for n in 0..GO {
        stand.world.repo.remove(&file(n)).unwrap();
    }
    let commit = stand.world.push("fewer").unwrap();
    let digest = until("the deletion waits for a permit", LIMIT, async || {
        let fleet = stand
            .world
            .operator
            .fleet()
            .await
            .map_err(|e| e.to_string())?;
        let processed = fleet.source.commit.as_ref().map(|commit| commit.id.clone());
        let needed = fleet
            .permits_needed
            .iter()
            .find_map(|needed| match &needed.permit {
                PermitKind::Deletion { app, manifest } if app == ONE => Some(manifest.clone()),
                _ => None,
            });
        needed
            .filter(|_| processed.as_ref() == Some(&commit))
            .ok_or_else(|| format!("{fleet:?}"))
    })
    .await;
    (digest, commit)
}

/// What was permitted is done. A cluster that waits for a permit is settled too, so that alone says nothing.
pub(crate) async fn gone(stand: &Stand, commit: &str) {
    until("the objects are gone", LIMIT, async || {
        let mut left = Vec::new();
        for n in 0..GO {
            left.extend(stand.value("default", &name(n), "v").await.map(|_| n));
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}\n{}", stand.logs()))
        }
    })
    .await;
    stand.settled(commit).await;
}

async fn are_there(stand: &Stand, there: bool) {
    for n in 0..MORE {
        let found = stand.value("default", &name(n), "v").await.is_some();
        assert_eq!(found, there || n >= GO, "{}\n{}", name(n), stand.logs());
    }
}

/// `countersign permit …` of an operator, without a key.
fn unsigned(stand: &Stand, words: &[&str]) -> Output {
    let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
    args.extend(["--data".into(), stand.world.hub.data().into()]);
    Cli::new().run(args).unwrap()
}

/// What the hub says to a permit in ada's name that another key signed.
async fn forged(stand: &Stand, digest: &str) -> String {
    let ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    let says = Override {
        fleet: FLEET.into(),
        kind: OverrideKind::Deletion,
        cluster: Some(ONE.into()),
        app: Some(ONE.into()),
        what: digest.into(),
        reason: "forged".into(),
        by: "ada".into(),
        issued: Time::from_ms(ms).unwrap(),
        until: Time::from_ms(ms + 3_600_000).unwrap(),
    };
    let stranger = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &says.payload().unwrap(), &[&stranger]).unwrap();
    let ca = std::fs::read(stand.world.trust.hub_keys().join("hub-ca.crt")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap();
    let answer = client
        .post(format!("{}/log/entries", stand.world.hub.agents_url()))
        .header("content-type", "application/json")
        .body(envelope.bytes().to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    answer.text().await.unwrap()
}

pub(crate) async fn permit(stand: &Stand, key: &Path, digest: &str) -> Output {
    let words = [
        "permit",
        "deletion",
        ONE,
        "--cluster",
        ONE,
        "--manifest",
        digest,
    ];
    say(
        &stand.world,
        key,
        &[&words[..], &["--reason", "the shop closes"]].concat(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_deletion_waits_for_a_word_of_an_override_key_which_lets_exactly_that_through_once()
{
    let (mut stand, ada) = stand().await;
    fill(&stand).await;
    let (digest, commit) = empty(&stand).await;

    let given = [
        "permit",
        "deletion",
        ONE,
        "--manifest",
        &digest,
        "--reason",
        "r",
    ];
    let refused = unsigned(&stand, &given);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("PERMIT_UNSIGNED"), "{refused:?}");
    let stranger = permit(&stand, &stand.world.trust.root_key(), &digest).await;
    assert_eq!(stranger.code, Some(2), "{stranger:?}");
    let refused = forged(&stand, &digest).await;
    assert!(refused.contains("SIGNATURE_INVALID"), "{refused}");
    // One for other objects lets nothing through, neither does the hub's next start.
    let other = permit(&stand, &ada, &"ab".repeat(32)).await;
    assert_eq!(other.code, Some(0), "{other:?}");
    stand.world.hub.restart().await.unwrap();
    waits(&stand, &digest).await;
    are_there(&stand, true).await;

    let given = permit(&stand, &ada, &digest).await;
    assert_eq!(given.code, Some(0), "{given:?}");
    gone(&stand, &commit).await;
    are_there(&stand, false).await;
    let list = unsigned(&stand, &["permit", "list", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list["signedOnly"], true, "{list:#}");
    let used: Vec<(&str, bool)> = list["permits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|permit| (permit["by"].as_str().unwrap(), permit["used"] == true))
        .collect();
    assert_eq!(used, [("ada", false), ("ada", true)], "{list:#}");

    // The same deletion once more is another act, after a restart too.
    fill(&stand).await;
    stand.world.hub.restart().await.unwrap();
    let (again, commit) = empty(&stand).await;
    assert_eq!(again, digest);
    are_there(&stand, true).await;
    let given = permit(&stand, &ada, &digest).await;
    assert_eq!(given.code, Some(0), "{given:?}");
    gone(&stand, &commit).await;
    are_there(&stand, false).await;

    stand.world.hub.stop().await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut args: Vec<OsString> = ["audit", "exceptions", "--log"].map(Into::into).into();
    args.extend([
        stand.world.hub.data().join("store").into(),
        "--trust".into(),
        stand.world.trust.document().into(),
        "--index".into(),
        scratch.path().join("index.sqlite").into(),
    ]);
    let found = Cli::new().run(args).unwrap();
    // Three words, two of them used, each by the state that names it.
    let rows = |kind: &str, more: &str| {
        let of = |line: &&str| line.contains(kind) && line.contains(more);
        let told = found.stdout.lines().filter(of);
        told.filter(|line| line.contains("the shop closes")).count()
    };
    assert_eq!(rows("OVERRIDE", ""), 3, "{found:?}");
    assert_eq!(rows("OVERRIDE", "used for entry"), 2, "{found:?}");
    assert_eq!(rows("PERMIT", ""), 2, "{found:?}");
}

/// This deletion waits after the hub has started again, too.
async fn waits(stand: &Stand, digest: &str) {
    until("it waits still", LIMIT, async || {
        let fleet = stand
            .world
            .operator
            .fleet()
            .await
            .map_err(|e| e.to_string())?;
        let text = format!("{:?}", fleet.permits_needed);
        if text.contains(digest) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_history_waits_for_a_word_of_an_override_key() {
    let (stand, ada) = stand().await;
    let first = stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    stand.world.repo.reset("HEAD~1").unwrap();
    let other = config_map("a", "v", "3");
    let sideways = stand
        .world
        .repo
        .commit_files(&[("clusters/one/a.yaml", &other)], "another history")
        .unwrap();
    stand.world.repo.push_force(&stand.world.bare).unwrap();
    until("it is refused", LIMIT, async || {
        let fleet = stand
            .world
            .operator
            .fleet()
            .await
            .map_err(|e| e.to_string())?;
        if fleet.source.code == "FORCE_PUSH" {
            Ok(())
        } else {
            Err(format!("{:?}", fleet.source))
        }
    })
    .await;
    let words = ["permit", "rewrite", "refs/heads/main"];
    let reason = ["--reason", "history cleaned"];
    let refused = unsigned(&stand, &[&words[..], &[&sideways], &reason].concat());
    assert!(refused.stderr.contains("PERMIT_UNSIGNED"), "{refused:?}");
    said(&stand, &ada, &[&words[..], &[&first], &reason].concat()).await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));
    said(&stand, &ada, &[&words[..], &[&sideways], &reason].concat()).await;
    stand.settled(&sideways).await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("3"));
}
