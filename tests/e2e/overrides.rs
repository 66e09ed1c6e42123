//! What people with override keys say, on the real programs: a pause holds what is pushed, through restarts and without a hub,
//! and ends by a resume or by itself; what nobody may say changes nothing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use countersign_ledger::dsse;
use countersign_ledger::key::FileKey;
use countersign_ledger::statement::Override;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::time::Time;
use countersign_proto::agent::v1::{Head, LogEntry};
use countersign_tests::cli::{Cli, Output};
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::git::GitRepo;
use countersign_tests::rogue::Rogue;
use countersign_tests::until;
use countersign_tests::world::{FLEET, World};

use crate::attacks::{self, blobs, heals};
use crate::fixture::{CLUSTER, ONE, Stand, config_map, plain_app};
use crate::log_attacks::the_seen_log;

const LIMIT: Duration = Duration::from_secs(90);

/// A fleet of one cluster whose trust root lists ada, who may override, and her key.
pub(crate) async fn stand() -> (Stand, PathBuf) {
    let repo = GitRepo::new().unwrap();
    let mut files = vec![
        (CLUSTER.0.to_owned(), CLUSTER.1.to_owned()),
        ("clusters/one/a.yaml".into(), config_map("a", "v", "1")),
    ];
    for n in 0..4 {
        let name = format!("h{n}");
        files.push((
            format!("clusters/one/{name}.yaml"),
            config_map(&name, "v", "1"),
        ));
    }
    let named: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let commit = repo.commit_files(&named, "the fleet").unwrap();
    let mut world = World::start(repo, &["one=test"]).await.unwrap();
    let key = world.trust.path().join("ada.key");
    let made = key.to_string_lossy().into_owned();
    let add: &[&str] = &["add", "overrider", "--name", "ada", "--generate", &made];
    world.succeed(&[add]).await.unwrap();
    let stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;
    stand.settled(&commit).await;
    (stand, key)
}

/// Runs a command that signs as the holder of `key`.
pub(crate) async fn say(world: &World, key: &std::path::Path, words: &[&str]) -> Output {
    let trust = &world.trust;
    let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
    for (flag, value) in [
        ("--hub", world.hub.agents_url().into()),
        ("--ca", trust.hub_keys().join("hub-ca.crt").into_os_string()),
        ("--trust", trust.newest().into_os_string()),
        ("--key", key.as_os_str().to_owned()),
    ] {
        args.extend([flag.into(), value]);
    }
    tokio::task::spawn_blocking(move || Cli::new().run(args).unwrap())
        .await
        .unwrap()
}

pub(crate) async fn said(stand: &Stand, key: &std::path::Path, words: &[&str]) {
    let output = say(&stand.world, key, words).await;
    assert_eq!(output.code, Some(0), "{output:?}");
}

/// The value that the pushes change.
async fn value(stand: &Stand) -> Option<String> {
    stand.value("default", "a", "v").await
}

fn push(stand: &Stand, value: &str) {
    let file = config_map("a", "v", value);
    let pushed = stand
        .world
        .push_files(&[("clusters/one/a.yaml", &file)], "a change");
    pushed.unwrap();
}

/// The agent says, after the first `from` bytes of its log, that it holds a state back.
async fn held(stand: &Stand, from: usize) {
    until("a state is held back", LIMIT, async || {
        let log = stand.agent.process.log();
        let log = log.get(from..).unwrap_or_default();
        log.contains("PAUSED").then_some(()).ok_or(stand.logs())
    })
    .await;
}

async fn live(stand: &Stand, wanted: &str) {
    until("the push is live", LIMIT, async || {
        let value = value(stand).await;
        let live = value.as_deref() == Some(wanted);
        live.then_some(())
            .ok_or_else(|| format!("{value:?} {}", stand.logs()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_what_is_pushed_through_restarts_until_a_resume_or_its_end() {
    let (mut stand, key) = stand().await;
    let pause = [
        "pause",
        "--cluster",
        ONE,
        "--reason",
        "the database moves",
        "--for",
    ];
    said(&stand, &key, &[&pause[..], &["1h"]].concat()).await;
    push(&stand, "2");
    held(&stand, 0).await;
    assert_eq!(value(&stand).await.as_deref(), Some("1"));
    heals(&stand, "h0").await;
    assert!(stand.agent.process.log().contains("the database moves"));

    // Without a hub and after a restart it holds all the same, and what was verified last is healed.
    stand.world.hub.process.kill().unwrap();
    stand.agent.restart().unwrap();
    heals(&stand, "h1").await;
    let from = stand.agent.process.log().len();
    stand.world.hub.restart().await.unwrap();
    held(&stand, from).await;
    heals(&stand, "h2").await;
    assert_eq!(value(&stand).await.as_deref(), Some("1"));

    // A resume of another app than all ends nothing; one of the cluster does, before the hour is over.
    let resume = ["resume", "--cluster", ONE, "--reason", "it moved"];
    said(&stand, &key, &[&resume[..], &["--app", "cart"]].concat()).await;
    assert_eq!(value(&stand).await.as_deref(), Some("1"));
    said(&stand, &key, &resume).await;
    live(&stand, "2").await;

    // A pause ends by itself.
    let (from, began) = (stand.agent.process.log().len(), Instant::now());
    said(&stand, &key, &[&pause[..], &["20s"]].concat()).await;
    push(&stand, "3");
    held(&stand, from).await;
    live(&stand, "3").await;
    assert!(began.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_overrider_pauses_nothing() {
    let (stand, _) = stand().await;
    let stranger = stand.world.trust.root_key();
    let pause = ["pause", "--cluster", ONE, "--reason", "mischief"];
    let output = say(&stand.world, &stranger, &pause).await;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("overriders"), "{output:?}");
    push(&stand, "2");
    live(&stand, "2").await;
}

/// A pause in ada's name, signed with a key.
fn pause_by(key: &FileKey, change: impl FnOnce(&mut Override)) -> Vec<u8> {
    let ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    let mut says = Override {
        fleet: FLEET.into(),
        kind: OverrideKind::Pause,
        cluster: Some(ONE.into()),
        app: None,
        what: String::new(),
        reason: "forged".into(),
        by: "ada".into(),
        issued: Time::from_ms(ms).unwrap(),
        until: Time::from_ms(ms + 3_600_000).unwrap(),
    };
    change(&mut says);
    let payload = says.payload().unwrap();
    let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[key]).unwrap();
    envelope.bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_the_logs_key_pauses_nothing() {
    let (mut stand, key) = stand().await;
    let ada = FileKey::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let stranger = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let mut log = the_seen_log(&stand).await;
    stand.world.hub.process.kill().unwrap();
    let keys = stand.world.trust.hub_keys();
    let genuine = blobs(&stand.world.hub.data());
    let before = stand.uid("default", "a").await;

    // What stands in the log is there for good: each attack goes on from the one before.
    let attacks = [
        (
            "nobody's",
            pause_by(&stranger, |_| ()),
            true,
            "OVERRIDE_INVALID",
        ),
        (
            "not in the log",
            pause_by(&ada, |_| ()),
            false,
            "LOG_PROOF_MISSING",
        ),
        (
            "another cluster's",
            pause_by(&ada, |says| says.cluster = Some("two".into())),
            true,
            "OVERRIDE_INVALID",
        ),
    ];
    for (n, (name, envelope, logged, refused)) in attacks.into_iter().enumerate() {
        if logged {
            log.append(&envelope);
        }
        let head = Head {
            overrides: vec![LogEntry {
                envelope: envelope.into(),
                proof: None,
            }],
            ..Head::default()
        };
        let (address, mine) = (stand.world.hub.agents(), Some(log.clone()));
        let rogue = Rogue::start(address, &keys, head, genuine.clone(), mine)
            .await
            .unwrap();
        // What it heard before made it leave nobody: it would stay with the hub that it has.
        stand.agent.restart().unwrap();
        attacks::refused(&stand, &rogue, name, &[refused]).await;
        rogue.leave().await;
        heals(&stand, &format!("h{n}")).await;
    }
    assert!(!stand.agent.data().join("overrides.json").exists());
    assert_eq!(stand.uid("default", "a").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_takes_no_word_that_its_person_did_not_sign() {
    let (stand, key) = stand().await;
    let ada = FileKey::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let stranger = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let ca = std::fs::read(stand.world.trust.hub_keys().join("hub-ca.crt")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap();
    let url = format!("{}/log/entries", stand.world.hub.agents_url());
    let glass = |says: &mut Override| {
        says.kind = OverrideKind::BreakGlass;
        says.what = "ab".repeat(32);
    };
    for (name, body, status, code) in [
        (
            "a stranger's",
            pause_by(&stranger, |_| ()),
            403,
            "SIGNATURE_INVALID",
        ),
        (
            "a stranger's break-glass",
            pause_by(&stranger, glass),
            403,
            "SIGNATURE_INVALID",
        ),
        (
            "in bob's name",
            pause_by(&ada, |says| says.by = "bob".into()),
            422,
            "OVERRIDE_INVALID",
        ),
        (
            "of another fleet",
            pause_by(&ada, |says| says.fleet = "evil".into()),
            422,
            "OTHER_FLEET",
        ),
        (
            "of no cluster of ours",
            pause_by(&ada, |says| says.cluster = Some("nine".into())),
            422,
            "OVERRIDE_INVALID",
        ),
        (
            "that has ended",
            pause_by(&ada, |says| {
                says.issued = Time::from_ms(1).unwrap();
                says.until = Time::from_ms(2).unwrap();
            }),
            422,
            "OVERRIDE_INVALID",
        ),
    ] {
        let request = client.post(&url).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(code), "{name}: {text}");
    }
    push(&stand, "2");
    live(&stand, "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_an_app_still_is_shown_to_people_and_so_is_its_end() {
    let (stand, key) = stand().await;
    let cart = [
        ("clusters/cart.yaml", &*plain_app("cart", "apps/cart")),
        ("apps/cart/c.yaml", &*config_map("c", "v", "1")),
    ];
    stand.push(&cart).await;
    let pause = [
        "pause",
        "--cluster",
        ONE,
        "--app",
        "cart",
        "--reason",
        "the sale",
    ];
    said(&stand, &key, &pause).await;

    // Another app goes on, and this one waits.
    push(&stand, "2");
    live(&stand, "2").await;
    let changed = config_map("c", "v", "2");
    stand
        .world
        .push_files(&[("apps/cart/c.yaml", &changed)], "a change")
        .unwrap();
    until("the hub keeps what the app has", LIMIT, async || {
        let app = stand.world.operator.app("cart").await?;
        let text = serde_json::to_string(&app)?;
        anyhow::ensure!(text.contains("PAUSED"), "{text}");
        anyhow::Ok(())
    })
    .await;
    let value = stand.value("default", "c", "v").await;
    assert_eq!(value.as_deref(), Some("1"));

    let (data, trust) = (stand.world.hub.data(), stand.world.trust.newest());
    let ask = |words: &[&str], more: &[&std::path::Path]| {
        let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
        args.extend(["--data".into(), data.clone().into()]);
        for path in more {
            args.extend(["--trust".into(), path.into()]);
        }
        Cli::new().run(args).unwrap()
    };
    let status = ask(&["status", "--cluster", ONE], &[]);
    assert!(status.stdout.contains("the sale"), "{status:?}");
    let json = ask(&["status", "-o", "json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let pauses = &json["clusters"][0]["pauses"];
    assert_eq!(pauses[0]["app"], "cart", "{json}");
    let listed = ask(&["override", "list", "--in-force"], &[&trust]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.stdout.contains("the sale"), "{listed:?}");

    said(
        &stand,
        &key,
        &["resume", "--cluster", ONE, "--reason", "it is over"],
    )
    .await;
    until("the app goes on", LIMIT, async || {
        stand.value("default", "c", "v").await.as_deref() == Some("2")
    })
    .await;
    let listed = ask(&["override", "list"], &[&trust]);
    assert!(listed.stdout.contains("resumed by "), "{listed:?}");
    let json = ask(&["status", "-o", "json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        json["clusters"][0]["pauses"],
        serde_json::json!([]),
        "{json}"
    );
}
