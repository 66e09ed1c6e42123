//! Level `witnessed` on the real programs: a state is live once a quorum has cosigned a checkpoint that covers it, and not
//! before; what lacks the quorum waits where everybody can see it, and what lies about it is refused.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use countersign_ledger::{digest::Digest, tlog::note::Vkey};
use countersign_tests::{
    agent::Agent,
    cli::Cli,
    cluster::{Cluster, Options},
    git::GitRepo,
    port,
    rogue::{Cosigner, Rogue, StolenLog},
    until,
    witness::{Omniwitness, Witness, policy},
    world::{FLEET, World},
};
use countersign_witness::AddCheckpoint;

use crate::{
    attacks::{self, blobs, envelopes, head, heals},
    fixture::{CLUSTER, ONE, Stand, config_map},
    log_attacks::the_seen_log,
};

mod quorum;

pub(crate) const LIMIT: Duration = Duration::from_secs(90);
/// How old a checkpoint may be (15 minutes), and how far ahead of the agent's clock (5 minutes), in seconds.
const STALE: u64 = 15 * 60;
const SKEW: u64 = 5 * 60;

/// A hub of clusters `one` and `two` at level `signed`, with these files in its first commit; nobody has joined.
async fn world(files: &[(String, String)]) -> (World, String) {
    let repo = GitRepo::new().unwrap();
    let mut all = vec![CLUSTER, (TWO.0, TWO.1)];
    all.extend(files.iter().map(|(path, text)| (&**path, &**text)));
    let commit = repo.commit_files(&all, "the fleet").unwrap();
    let world = World::start(repo, &["one=test", "two=test"]).await.unwrap();
    (world, commit)
}

const TWO: (&str, &str) = (
    "clusters/two/cluster.yaml",
    "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: two\nspec:\n  labels:\n    env: test\n",
);

/// The object of the pushes, and some to be healed, each once.
fn files(healed: usize) -> Vec<(String, String)> {
    let file = |name: &str| {
        (
            format!("clusters/one/{name}.yaml"),
            config_map(name, "v", "1"),
        )
    };
    let mut all = vec![file("a")];
    all.extend((0..healed).map(|n| file(&format!("h{n}"))));
    all
}

/// From here on cluster `one` demands `quorum` of these witnesses.
async fn demand(world: &mut World, witnesses: &[(&Vkey, String)], quorum: usize) {
    let log = world.trust.log_vkey(FLEET).unwrap();
    let file = world.trust.path().join("witnesses.txt");
    std::fs::write(&file, policy(&log, witnesses, quorum)).unwrap();
    let file = file.to_string_lossy();
    world
        .succeed(&[
            &["add", "witness-policy", &file],
            &["add", "cluster", "one=test:witnessed"],
        ])
        .await
        .unwrap();
}

/// Three witnesses of ours, two of which must have cosigned, and cluster `one` settled under them.
pub(crate) async fn three(healed: usize) -> (Stand, Vec<Witness>) {
    let (mut world, commit) = world(&files(healed)).await;
    let log = world.trust.log_vkey(FLEET).unwrap();
    let mut witnesses = Vec::new();
    for n in 1..=3 {
        let name = format!("witness.example/w{n}");
        let log = log.clone();
        witnesses.push(Witness::start(&name, &[log]).await.unwrap());
    }
    let named: Vec<_> = witnesses.iter().map(|w| (w.vkey(), w.url())).collect();
    demand(&mut world, &named, 2).await;
    let stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;
    stand.settled(&commit).await;
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    (stand, witnesses)
}

fn now() -> u64 {
    let now = jiff::Timestamp::now().as_second();
    u64::try_from(now).unwrap()
}

pub(crate) fn cosigner(witness: &Witness, time: u64) -> Cosigner {
    Cosigner {
        name: witness.vkey().name().to_owned(),
        key: Arc::new(witness.key().unwrap()),
        time,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_too_few_old_or_false_witnesses_cosigned_is_refused() {
    let (mut stand, mut witnesses) = three(7).await;
    let seen = the_seen_log(&stand).await;
    stand.world.hub.process.kill().unwrap();
    let keys = stand.world.trust.hub_keys();
    let newest = envelopes(&stand.world.hub.data()).pop().unwrap();
    let genuine = blobs(&stand.world.hub.data());
    let before = stand.config_maps("default").get("a").await.unwrap();
    let saved = std::fs::read(stand.agent.data().join("state.json")).unwrap();

    let [w1, w2, _] = &witnesses[..] else {
        panic!("three witnesses")
    };
    let stranger = Cosigner {
        name: "witness.example/w9".to_owned(),
        key: Arc::new(
            countersign_ledger::key::FileKey::generate(&ring::rand::SystemRandom::new()).unwrap(),
        ),
        time: now(),
    };
    let named_alike = Cosigner {
        name: w2.vkey().name().to_owned(),
        ..stranger.clone()
    };
    let forked = {
        let mut log = seen.clone();
        log.rewrite(seen.size() - 1, b"shown to nobody else");
        log
    };
    let attacks = [
        (
            "nobody cosigned",
            seen.clone(),
            vec![],
            "WITNESS_QUORUM_MISSING",
        ),
        (
            "one witness and one that nobody knows",
            seen.clone(),
            vec![cosigner(w1, now()), stranger],
            "WITNESS_QUORUM_MISSING",
        ),
        (
            "one witness and one under the name of another",
            seen.clone(),
            vec![cosigner(w1, now()), named_alike],
            "WITNESS_QUORUM_MISSING",
        ),
        (
            "one witness, twice",
            seen.clone(),
            vec![cosigner(w1, now()), cosigner(w1, now() - 1)],
            "WITNESS_QUORUM_MISSING",
        ),
        (
            "a frozen checkpoint: two witnesses, long ago",
            // Larger than what the agent saw, so that only its age is against it.
            grown(&seen),
            vec![
                cosigner(w1, now() - STALE - 60),
                cosigner(w2, now() - STALE - 60),
            ],
            "CHECKPOINT_STALE",
        ),
        (
            "a checkpoint from the future",
            seen.clone(),
            vec![
                cosigner(w1, now() + SKEW + 600),
                cosigner(w2, now() + SKEW + 600),
            ],
            "CHECKPOINT_FROM_FUTURE",
        ),
        (
            "a fork that all witnesses of the quorum were forced to cosign",
            forked.clone(),
            vec![cosigner(w1, now()), cosigner(w2, now())],
            "LOG_FORKED",
        ),
    ];
    for (n, (name, log, cosigners, code)) in attacks.into_iter().enumerate() {
        let rogue = Rogue::start(
            stand.world.hub.agents(),
            &keys,
            head(std::slice::from_ref(&newest)),
            genuine.clone(),
            Some(log.cosigned_by(&cosigners)),
        )
        .await
        .unwrap();
        attacks::refused(&stand, &rogue, name, &[code]).await;
        rogue.leave().await;
        let after = stand.config_maps("default").get("a").await.unwrap();
        assert_eq!(
            (&after.metadata.uid, &after.metadata.resource_version),
            (&before.metadata.uid, &before.metadata.resource_version),
            "{name}"
        );
        let kept = std::fs::read(stand.agent.data().join("state.json")).unwrap();
        assert_eq!(
            kept, saved,
            "{name}: state is kept after all checks, not before"
        );
        heals(&stand, &format!("h{n}")).await;
    }

    tricked_by_nobody(&mut witnesses[0], &seen, &forked, &stand).await;

    // The hub is back; its witnesses never moved from its history.
    stand.world.hub.restart().await.unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "3"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("3"));
}

fn grown(seen: &StolenLog) -> StolenLog {
    let mut log = seen.clone();
    log.append(b"what the log never had");
    log
}

/// The log's own key signs a second history: the witness takes neither of its sizes, says why, keeps its state over a
/// restart, and holds evidence that the log's key alone can check.
async fn tricked_by_nobody(
    witness: &mut Witness,
    seen: &StolenLog,
    forked: &StolenLog,
    stand: &Stand,
) {
    let client = reqwest::Client::new();
    let newest = async || {
        let origin = seen_origin();
        let url = format!("{}/{origin}/checkpoint", witness.url());
        client.get(url).send().await.unwrap().text().await.unwrap()
    };
    let cosigned = newest().await;
    let size: u64 = cosigned.lines().nth(1).unwrap().parse().unwrap();
    let size = usize::try_from(size).unwrap();
    assert!(size >= seen.size(), "{cosigned}");
    let mut longer = forked.clone();
    while longer.size() < size + 3 {
        longer.append(format!("a lie {}", longer.size()).as_bytes());
    }
    let same = longer.clone().cut(size);
    for (name, log) in [("of the same size", same), ("that is longer", longer)] {
        let body = AddCheckpoint {
            old: size as u64,
            proof: log.consistency(size).unwrap(),
            note: log.checkpoint().unwrap(),
        }
        .body();
        let url = format!("{}/add-checkpoint", witness.url());
        let answer = client.post(url).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 422, "a fork {name}");
    }
    assert_eq!(newest().await, cosigned);
    let evidence: Vec<_> = std::fs::read_dir(witness.data().join("evidence"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(!evidence.is_empty());
    let trust = stand.world.trust.document();
    for file in evidence {
        let args = [
            "log".as_ref(),
            "verify-fork".as_ref(),
            file.as_os_str(),
            "--trust".as_ref(),
            trust.as_os_str(),
        ];
        Cli::new().ok(args).unwrap();
    }
    witness.process.kill().unwrap();
    witness.restart().await.unwrap();
    let url = format!("{}/{}/checkpoint", witness.url(), seen_origin());
    let after = client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(after, cosigned);
}

/// The log's origin as a witness's address has it.
fn seen_origin() -> Digest {
    Digest::of(countersign_ledger::trust::log_name(FLEET).as_bytes())
}

/// What the agent keeps of the log: entries, and when its quorum cosigned.
fn kept(agent: &Agent) -> anyhow::Result<(u64, u64)> {
    let state = std::fs::read(agent.data().join("state.json"))?;
    let state: serde_json::Value = serde_json::from_slice(&state)?;
    let seen = &state["log"]["seen"];
    let size = seen["size"].as_u64().context("no size")?;
    Ok((size, seen["time"].as_u64().context("no quorum's time")?))
}
