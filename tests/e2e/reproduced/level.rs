//! Level `reproduced`: agents apply what a second renderer agreed to, and nothing else, whoever holds the hub's keys.

use std::{path::PathBuf, sync::Arc, time::Duration};

use countersign_ledger::{
    Digest,
    digest::leaf_hash,
    dsse,
    key::FileKey,
    statement::{Reproduction, Statement},
};
use countersign_proto::agent::v1::{Head, LogEntry};
use countersign_tests::{
    cli::Cli,
    cluster::{Cluster, Options},
    git::{GitRepo, SshSigner},
    hub,
    process::{Process, Spec},
    program,
    rogue::{Cosigner, Forgery, Rogue, StolenLog},
    tool::Tool,
    until,
    witness::{Witness, policy},
    world::{FLEET, World},
};
use tempfile::TempDir;

use super::forged;
use crate::{
    attacks::{self, blobs, envelopes, heals},
    fixture::{CLUSTER, ONE, Stand, config_map},
    log_attacks::the_seen_log,
};

const LIMIT: Duration = Duration::from_secs(90);

fn ada() -> SshSigner {
    SshSigner::from_seed([1; 32]).unwrap()
}

fn file(name: &str) -> String {
    format!("clusters/one/{name}.yaml")
}

/// A fleet of one cluster at level `reproduced`, and a second renderer that does not run yet.
pub(super) struct Place {
    pub(super) stand: Stand,
    witness: Witness,
    pub(super) second: Spec,
    key: PathBuf,
    _folder: TempDir,
}

impl Place {
    /// The first commit has object `a` and `healed` others; it is sealed.
    async fn new(healed: usize) -> (Self, String) {
        Self::with(healed, &[], |options| options).await
    }

    /// [`Place::new`] with more files, and a hub as wanted.
    pub(super) async fn with(
        healed: usize,
        files: &[(&str, &str)],
        options: impl FnOnce(hub::Options) -> hub::Options,
    ) -> (Self, String) {
        let repo = GitRepo::new().unwrap();
        repo.write(CLUSTER.0, CLUSTER.1).unwrap();
        for (path, text) in files {
            repo.write(path, text).unwrap();
        }
        for name in std::iter::once("a".to_owned()).chain((0..healed).map(|n| format!("h{n}"))) {
            repo.write(&file(&name), config_map(&name, "v", "1"))
                .unwrap();
        }
        let commit = repo.commit_signed("the fleet", &ada()).unwrap();
        let mut world = World::start_with(repo, &["one=test"], options)
            .await
            .unwrap();
        let log = world.trust.log_vkey(FLEET).unwrap();
        let witness = Witness::start("witness.example/w1", std::slice::from_ref(&log))
            .await
            .unwrap();
        let witnesses = world.trust.path().join("witnesses.txt");
        std::fs::write(
            &witnesses,
            policy(&log, &[(witness.vkey(), witness.url())], 1),
        )
        .unwrap();
        let key = world.trust.path().join("second.key");
        let (ada, witnesses, generated) = (
            ada().public(),
            witnesses.to_string_lossy(),
            key.to_string_lossy(),
        );
        world
            .succeed(&[
                &["add", "witness-policy", &witnesses],
                &["add", "person", &ada, "--name", "ada", "--path", "/"],
                &[
                    "add",
                    "reproducer",
                    "--generate",
                    &generated,
                    "--name",
                    "rita",
                ],
                &["add", "cluster", "one=test:reproduced"],
            ])
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let second = second(&world, &key, &folder).await;
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let stand = Stand::join(world, cluster).await;
        let place = Self {
            stand,
            witness,
            second,
            key,
            _folder: folder,
        };
        (place, commit)
    }

    pub(super) fn push(&self, value: &str) -> String {
        let world = &self.stand.world;
        world
            .repo
            .write(&file("a"), config_map("a", "v", value))
            .unwrap();
        let commit = world.repo.commit_signed(value, &ada()).unwrap();
        world.repo.push(&world.bare).unwrap();
        commit
    }

    pub(super) async fn live(&self, commit: &str, value: &str) {
        self.stand.settled(commit).await;
        let live = self.stand.value("default", "a", "v").await;
        assert_eq!(live.as_deref(), Some(value));
    }

    /// The hub sealed this generation, and the agent, which is connected, stays at the one below.
    async fn waits(&self, generation: u64) {
        until(
            "it is sealed and covered, and the agent waits",
            LIMIT,
            async || {
                let seen = self
                    .stand
                    .world
                    .operator
                    .cluster(ONE)
                    .await
                    .map_err(|e| e.to_string())?;
                let published =
                    std::fs::read_to_string(self.stand.world.hub.data().join("store/checkpoint"))
                        .unwrap_or_default();
                let size: usize = published
                    .lines()
                    .nth(1)
                    .and_then(|line| line.parse().ok())
                    .unwrap_or_default();
                let log = self.log();
                let newest = envelopes(&self.stand.world.hub.data()).pop();
                let covered = newest.is_some_and(|newest| log.clone().cut(size).has(&newest));
                if seen.summary.generation_sealed == generation
                    && covered
                    && self.stand.agent.process.log().contains("following heads")
                {
                    Ok(())
                } else {
                    Err(format!("{seen:?}\n{}", self.stand.logs()))
                }
            },
        )
        .await;
        let state = std::fs::read(self.stand.agent.data().join("state.json")).ok();
        let state: Option<serde_json::Value> =
            state.and_then(|state| serde_json::from_slice(&state).ok());
        let verified = state
            .and_then(|state| state["generation"].as_u64())
            .unwrap_or_default();
        assert_eq!(verified, generation - 1, "{}", self.stand.logs());
    }

    fn log(&self) -> StolenLog {
        let world = &self.stand.world;
        StolenLog::take(
            FLEET,
            &world.hub.data().join("store"),
            &world.trust.hub_keys(),
        )
        .unwrap()
    }

    pub(super) fn start(&self) -> Process {
        self.second.start().unwrap()
    }

    /// UID and resource version of `a`: a write moves it.
    async fn mark(&self) -> (Option<String>, Option<String>) {
        let found = self.stand.config_maps("default").get("a").await.unwrap();
        (found.metadata.uid, found.metadata.resource_version)
    }

    fn rita(&self) -> FileKey {
        FileKey::from_pem(&std::fs::read_to_string(&self.key).unwrap()).unwrap()
    }
}

async fn second(world: &World, key: &std::path::Path, folder: &TempDir) -> Spec {
    let renderer = tokio::task::spawn_blocking(|| Tool::Renderer.path().unwrap())
        .await
        .unwrap();
    let url = world.hub.agents_url();
    Spec::new(
        "second",
        program::path("countersign").unwrap(),
        folder.path(),
    )
    .args(["reproduce", "--every", "1", "--repo"])
    .arg(format!("file://{}", world.bare.path().display()))
    .args(["--log", &format!("{url}/log"), "--hub", &url, "--ca"])
    .arg(world.trust.hub_keys().join("hub-ca.crt"))
    .arg("--trust")
    .arg(world.trust.document())
    .arg("--key")
    .arg(key)
    .arg("--data")
    .arg(folder.path().join("data"))
    .arg("--renderer")
    .arg(renderer)
}

/// A word about a sealed state.
fn word(about: &[u8], agrees: bool, digest: Digest, key: &FileKey) -> Vec<u8> {
    let envelope = dsse::Envelope::parse(about, &dsse::Limits::entry()).unwrap();
    let Statement::Desired(desired) = Statement::parse(envelope.payload()).unwrap() else {
        panic!("not a desired state");
    };
    let said = Reproduction {
        fleet: desired.fleet,
        cluster: desired.cluster,
        generation: desired.generation,
        commit: desired.commit,
        desired: leaf_hash(about),
        digest,
        agrees,
    };
    let payload = said.payload().unwrap();
    dsse::sign(dsse::PAYLOAD_TYPE, &payload, &[key])
        .unwrap()
        .bytes()
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_goes_live_once_a_second_renderer_agreed_and_not_before() {
    let (mut place, first) = Place::new(0).await;
    place.waits(1).await;
    assert_eq!(place.stand.value("default", "a", "v").await, None);
    let mut second = place.start();
    place.live(&first, "1").await;

    // While it is away what was sealed waits, and it goes on where it was.
    let said = second.log();
    assert!(said.contains("agrees  one generation 1 "), "{said}");
    second.kill().unwrap();
    let before = place.mark().await;
    let next = place.push("2");
    place.waits(2).await;
    assert_eq!(place.mark().await, before);
    let mut second = place.start();
    place.live(&next, "2").await;
    let said = second.log();
    assert!(said.contains("agrees  one generation 2 "), "{said}");
    assert!(!said.contains("generation 1 "), "said once: {said}");

    // An agent that comes back is brought to the newest state that was agreed to, though a newer one is sealed and the hub
    // has started since.
    place.stand.agent.process.kill().unwrap();
    place.push("3");
    until("the third state is agreed to", LIMIT, async || {
        let said = second.log();
        if said.contains("agrees  one generation 3 ") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
    second.kill().unwrap();
    place.push("4");
    until("the fourth state is sealed", LIMIT, async || {
        let cluster = place.stand.world.operator.cluster(ONE).await;
        let sealed = cluster.map(|cluster| cluster.summary.generation_sealed);
        matches!(sealed, Ok(4))
    })
    .await;
    place.stand.world.hub.restart().await.unwrap();
    place.stand.agent.restart().unwrap();
    until("the third state is live", LIMIT, async || {
        let live = place.stand.value("default", "a", "v").await;
        if live.as_deref() == Some("3") {
            Ok(())
        } else {
            Err(format!("{live:?}\n{}", place.stand.logs()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_with_all_keys_of_the_hub_and_a_genuine_commit_moves_nothing() {
    let (mut place, first) = Place::new(3).await;
    let mut second = place.start();
    place.live(&first, "1").await;
    let good = place.push("2");
    place.live(&good, "2").await;
    second.kill().unwrap();
    let log = the_seen_log(&place.stand).await;
    place.stand.world.hub.process.kill().unwrap();

    let Forgery {
        head,
        blobs: smuggled,
    } = forged(&place.stand);
    let state = head.envelopes[0].to_vec();
    let newest = envelopes(&place.stand.world.hub.data()).pop().unwrap();
    let stranger = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let keys = place.stand.world.trust.hub_keys();
    let genuine = blobs(&place.stand.world.hub.data());
    let cosigner = Cosigner {
        name: place.witness.vkey().name().to_owned(),
        key: Arc::new(place.witness.key().unwrap()),
        time: u64::try_from(jiff::Timestamp::now().as_second()).unwrap(),
    };
    let render = countersign_ledger::manifest::render_digest(&[]);
    for (n, (name, words, code)) in [
        ("nobody's word", vec![], "REPRODUCTION_MISSING"),
        (
            "the second renderer's word about the state before",
            vec![log.word_about(&newest).unwrap()],
            "REPRODUCTION_MISSING",
        ),
        (
            "the thief's own word",
            vec![word(&state, true, render, &stranger)],
            "REPRODUCTION_MISMATCH",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let before = place.mark().await;
        let mut log = log.clone().cosigned_by(std::slice::from_ref(&cosigner));
        log.append(&state);
        for word in &words {
            log.append(word);
        }
        let head = Head {
            git_objects: super::objects(place.stand.world.repo.path(), &good),
            reproductions: words
                .into_iter()
                .map(|word| LogEntry {
                    envelope: word.into(),
                    proof: None,
                })
                .collect(),
            ..head.clone()
        };
        let both = genuine.iter().chain(&smuggled).cloned().collect();
        let rogue = Rogue::start(place.stand.world.hub.agents(), &keys, head, both, Some(log))
            .await
            .unwrap();
        attacks::refused(&place.stand, &rogue, name, &[code]).await;
        rogue.leave().await;
        assert_eq!(
            place.stand.value("default", "loot", "v").await,
            None,
            "{name}"
        );
        assert_eq!(place.mark().await, before, "{name}");
        heals(&place.stand, &format!("h{n}")).await;
    }

    // The hub is its owner's again.
    place.stand.world.hub.restart().await.unwrap();
    let mut second = place.start();
    let next = place.push("3");
    place.live(&next, "3").await;
    second.kill().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_do_not_move_to_a_state_that_a_second_renderer_contradicts() {
    let (mut place, first) = Place::new(1).await;
    let mut second = place.start();
    place.live(&first, "1").await;
    second.kill().unwrap();
    let before = place.mark().await;
    place.push("2");
    place.waits(2).await;

    let newest = envelopes(&place.stand.world.hub.data()).pop().unwrap();
    let other = Digest::of(b"what another renderer got");
    let no = word(&newest, false, other, &place.rita());
    let ca = std::fs::read(place.stand.world.trust.hub_keys().join("hub-ca.crt")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap();
    let url = format!("{}/log/entries", place.stand.world.hub.agents_url());
    let said = client
        .post(url)
        .header("content-type", "application/json")
        .body(no)
        .send()
        .await
        .unwrap();
    assert_eq!(said.status(), 200, "{}", said.text().await.unwrap());
    until("the agent refuses it", LIMIT, async || {
        let cluster = place
            .stand
            .world
            .operator
            .cluster(ONE)
            .await
            .map_err(|e| e.to_string())?;
        if cluster
            .refusals
            .iter()
            .any(|seen| seen.code == "REPRODUCTION_DISAGREES")
        {
            Ok(())
        } else {
            Err(format!("{:?}\n{}", cluster.refusals, place.stand.logs()))
        }
    })
    .await;
    assert_eq!(place.mark().await, before);
    heals(&place.stand, "h0").await;

    // What is agreed to later goes live, over the state that was not.
    let mut second = place.start();
    let next = place.push("3");
    place.live(&next, "3").await;
    second.kill().unwrap();
    place.stand.world.hub.stop().await.unwrap();

    let store = place.stand.world.hub.data().join("store");
    let scratch = tempfile::tempdir().unwrap();
    let index = scratch.path().join("index.sqlite");
    let mut args: Vec<std::ffi::OsString> = ["audit", "verify", "-o", "json", "--log"]
        .map(Into::into)
        .into();
    args.extend([
        store.into(),
        "--trust".into(),
        place.stand.world.trust.document().into(),
        "--index".into(),
        index.into(),
    ]);
    let found = Cli::new().run(args).unwrap();
    assert!(found.stdout.contains("REPRODUCTION_DISAGREES"), "{found:?}");
    assert!(found.stdout.contains(&other.to_string()), "{found:?}");
    assert!(found.stdout.contains("; sealed was "), "{found:?}");
}
