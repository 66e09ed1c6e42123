//! Break-glass on the real programs: while all witnesses are down a person lets one state through, once; the next one waits,
//! and all goes on when they are back. Whoever has no override key lets nothing through.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use countersign_ledger::dsse::{self, Envelope, Limits};
use countersign_ledger::key::FileKey;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Override, Receipt, Statement};
use countersign_ledger::time::Time;
use countersign_proto::agent::v1::{Head, LogEntry};
use countersign_tests::cli::{Cli, Output};
use countersign_tests::rogue::{Rogue, entries, forge};
use countersign_tests::until;
use countersign_tests::world::FLEET;

use crate::attacks::{self, blobs, envelopes, heals};
use crate::fixture::{ONE, Stand, config_map};
use crate::log_attacks::the_seen_log;
use crate::overrides::say;
use crate::witnessed::{LIMIT, cosigner, three};

/// A cluster at level `witnessed`, and the key of ada, who may override.
async fn stand(healed: usize) -> (Stand, Vec<countersign_tests::witness::Witness>, PathBuf) {
    let (mut stand, witnesses) = three(healed).await;
    let key = stand.world.trust.path().join("ada.key");
    let made = key.to_string_lossy().into_owned();
    let add: &[&str] = &["add", "overrider", "--name", "ada", "--generate", &made];
    stand.world.succeed(&[add]).await.unwrap();
    let (path, text) = change("3");
    stand.push(&[(path, &text)]).await;
    (stand, witnesses, key)
}

fn change(value: &str) -> (&'static str, String) {
    ("clusters/one/a.yaml", config_map("a", "v", value))
}

/// Runs `break-glass` as the holder of `key`.
async fn break_glass(stand: &Stand, key: &Path, words: &[&str]) -> Output {
    let glass = ["break-glass", "--cluster", ONE, "--reason", "all are down"];
    say(&stand.world, key, &[&glass[..], words].concat()).await
}

/// Pushes what can't be published, and waits until it is sealed.
async fn waits(stand: &Stand, value: &str) {
    let before = stand.world.operator.cluster(ONE).await.unwrap();
    let before = before.summary.generation_sealed;
    let (path, text) = change(value);
    stand.world.push_files(&[(path, &text)], "waits").unwrap();
    until("it is sealed and waits", LIMIT, async || {
        let one = stand.world.operator.cluster(ONE).await?.summary;
        anyhow::ensure!(one.generation_sealed > before, "{one:?}");
        anyhow::Ok(())
    })
    .await;
}

async fn live(stand: &Stand, wanted: &str) {
    until("it is live", LIMIT, async || {
        let value = stand.value("default", "a", "v").await;
        let live = value.as_deref() == Some(wanted);
        live.then_some(())
            .ok_or_else(|| format!("{value:?}\n{}", stand.logs()))
    })
    .await;
}

/// What the cluster said of a generation, published or not.
fn receipts(stand: &Stand, generation: u64) -> Vec<Receipt> {
    let mut found = Vec::new();
    let staging = stand.world.hub.data().join("store/staging");
    for entry in std::fs::read_dir(staging).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for entry in entries(&bytes) {
            let envelope = Envelope::parse(entry, &Limits::entry()).unwrap();
            if let Ok(Statement::Receipt(receipt)) = Statement::parse(envelope.payload())
                && receipt.generation == generation
            {
                found.push(receipt);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_lets_one_state_through_while_all_witnesses_are_down() {
    let (mut stand, mut witnesses, key) = stand(3).await;
    for witness in &mut witnesses {
        witness.process.kill().unwrap();
    }
    waits(&stand, "4").await;
    let generation = stand.world.operator.cluster(ONE).await.unwrap();
    let generation = generation.summary.generation_sealed;

    // Nobody is at a terminal: what it would be is named, and nothing is signed.
    let named = break_glass(&stand, &key, &[]).await;
    assert_eq!(named.code, Some(2), "{named:?}");
    assert!(
        named.stderr.contains(&format!("generation {generation} ")),
        "{named:?}"
    );
    let state = named.stderr.split(", state ").nth(1).unwrap();
    let state = state.split(':').next().unwrap().to_owned();
    heals(&stand, "h0").await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("3"));

    let said = break_glass(&stand, &key, &["--state", &state]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    live(&stand, "4").await;

    // The next one waits, whoever restarts; what came through stays and is healed.
    waits(&stand, "5").await;
    heals(&stand, "h1").await;
    stand.agent.restart().unwrap();
    heals(&stand, "h2").await;
    stand.world.hub.restart().await.unwrap();
    heals(&stand, "h0").await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("4"));

    // The cluster says by whose word it runs what it runs.
    let receipts = until("the receipt is in the log", LIMIT, async || {
        let found = receipts(&stand, generation);
        (!found.is_empty())
            .then_some(found)
            .ok_or_else(|| stand.logs())
    })
    .await;
    let index = said.stdout.split("; entry ").nth(1).unwrap();
    let index: u64 = index.split(' ').next().unwrap().parse().unwrap();
    for receipt in receipts {
        assert_eq!(receipt.break_glass, Some(index), "{receipt:?}");
        assert_eq!(receipt.checkpoint.time, None, "no quorum saw it");
    }

    for witness in &mut witnesses {
        witness.restart().await.unwrap();
    }
    live(&stand, "5").await;
    let log = stand.world.hub.data().join("store");
    let exceptions = until("the audit lists it", LIMIT, async || {
        let args: Vec<OsString> = vec![
            "audit".into(),
            "exceptions".into(),
            "--log".into(),
            log.clone().into(),
            "--trust".into(),
            stand.world.trust.document().into(),
            "-o".into(),
            "json".into(),
        ];
        let output = Cli::new().run(args)?;
        anyhow::ensure!(output.stdout.contains("all are down"), "{output:?}");
        anyhow::Ok(output.stdout)
    })
    .await;
    assert!(exceptions.contains("breakGlass"), "{exceptions}");
}

fn word(key: &FileKey, state: &str, change: impl FnOnce(&mut Override)) -> Vec<u8> {
    let ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    let mut says = Override {
        fleet: FLEET.into(),
        kind: OverrideKind::BreakGlass,
        cluster: Some(ONE.into()),
        app: None,
        what: state.into(),
        reason: "forged".into(),
        by: "ada".into(),
        issued: Time::from_ms(ms - 7_200_000).unwrap(),
        until: Time::from_ms(ms + 3_600_000).unwrap(),
    };
    change(&mut says);
    let payload = says.payload().unwrap();
    let envelope = dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[key]).unwrap();
    envelope.bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_all_its_keys_breaks_no_glass() {
    let (mut stand, witnesses, key) = stand(6).await;
    let ada = FileKey::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let stranger = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let mut log = the_seen_log(&stand).await;
    stand.world.hub.process.kill().unwrap();
    let keys = stand.world.trust.hub_keys();
    let newest = envelopes(&stand.world.hub.data()).pop().unwrap();
    let pem = std::fs::read_to_string(keys.join("sealer-test.key")).unwrap();
    let sealer = FileKey::from_pem(&pem).unwrap();
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"}, "data": {"v": "stolen"},
    });
    let forgery = forge(&newest, &object, &sealer).unwrap();
    let forged = forgery.head.envelopes.last().unwrap().to_vec();
    let state = countersign_ledger::digest::Digest::of(&forged).to_string();
    let mut blobs = blobs(&stand.world.hub.data());
    blobs.extend(forgery.blobs.clone());
    let before = stand.config_maps("default").get("a").await.unwrap();
    log.append(&forged);

    let ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    let attacks = [
        ("nobody's word", None, true, "WITNESS_QUORUM_MISSING"),
        (
            "a stranger's word",
            Some(word(&stranger, &state, |_| ())),
            true,
            "OVERRIDE_INVALID",
        ),
        (
            "ada's word, not in the log",
            Some(word(&ada, &state, |_| ())),
            false,
            "LOG_PROOF_MISSING",
        ),
        (
            "ada's word for another cluster",
            Some(word(&ada, &state, |says| says.cluster = Some("two".into()))),
            true,
            "OVERRIDE_INVALID",
        ),
        (
            "ada's word for another state",
            Some(word(&ada, &"ab".repeat(32), |_| ())),
            true,
            "OVERRIDE_INVALID",
        ),
        (
            "ada's word, ended",
            Some(word(&ada, &state, |says| {
                says.until = Time::from_ms(ms - 1_000).unwrap();
            })),
            true,
            "OVERRIDE_INVALID",
        ),
    ];
    for (n, (name, word, logged, code)) in attacks.into_iter().enumerate() {
        // What stands in the log is there for good: each attack goes on from the one before.
        if let Some(word) = word.as_ref().filter(|_| logged) {
            log.append(word);
        }
        let overrides = word.into_iter().map(|envelope| LogEntry {
            envelope: envelope.into(),
            proof: None,
        });
        let head = Head {
            overrides: overrides.collect(),
            ..forgery.head.clone()
        };
        let address = stand.world.hub.agents();
        let rogue = Rogue::start(address, &keys, head, blobs.clone(), Some(log.clone()))
            .await
            .unwrap();
        // The same code twice is told once: a new start tells it again.
        stand.agent.restart().unwrap();
        attacks::refused(&stand, &rogue, name, &[code]).await;
        rogue.leave().await;
        heals(&stand, &format!("h{n}")).await;
        let after = stand.config_maps("default").get("a").await.unwrap();
        assert_eq!(
            (&after.metadata.uid, &after.metadata.resource_version),
            (&before.metadata.uid, &before.metadata.resource_version),
            "{name}"
        );
    }

    // With her word beside it, it does: who holds both keys needs no witness, nor a checkpoint of today.
    let said = word(&ada, &state, |_| ());
    log.append(&said);
    let long_ago = ms / 1_000 - 3_600;
    let cosigners: Vec<_> = witnesses[..2]
        .iter()
        .map(|witness| cosigner(witness, long_ago))
        .collect();
    let head = Head {
        overrides: vec![LogEntry {
            envelope: said.into(),
            proof: None,
        }],
        ..forgery.head
    };
    let log = log.cosigned_by(&cosigners);
    let _rogue = Rogue::start(stand.world.hub.agents(), &keys, head, blobs, Some(log))
        .await
        .unwrap();
    stand.agent.restart().unwrap();
    live(&stand, "stolen").await;
}
