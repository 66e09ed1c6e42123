//! Who may speak for a cluster, and who no more: joining, stealing, cloning, revoking, against the real programs.

mod account;
mod peer;
mod revoked;
mod stolen;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{self, Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, Sign};
use countersign_ledger::statement::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use countersign_ledger::statement::{Receipt, Statement};
use countersign_ledger::time::Time;
use countersign_ledger::tlog::merkle::EMPTY_ROOT;
use countersign_tests::agent::{self, Agent};
use countersign_tests::cli::{Cli, Output};
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::world::{FLEET, World};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::fixture::{CLUSTER, ONE, config_map};
use peer::{Proof, Stranger};

const TWO: &str = "two";
const LIMIT: Duration = Duration::from_secs(90);
/// The second cluster's document.
const SECOND: (&str, &str) = (
    "clusters/two/cluster.yaml",
    "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: two\nspec:\n  labels:\n    env: test\n",
);

/// A fleet of two clusters, of which only the first will have an agent.
async fn fleet_of_two(
    options: impl FnOnce(countersign_tests::hub::Options) -> countersign_tests::hub::Options,
) -> (World, String) {
    let repo = GitRepo::new().unwrap();
    let files = [
        CLUSTER,
        SECOND,
        ("clusters/one/a.yaml", &config_map("a", "v", "1")),
        (
            "clusters/two/b.yaml",
            &config_map("b", "v", "secret of two"),
        ),
    ];
    let commit = repo.commit_files(&files, "the fleet").unwrap();
    let world = World::start_with(repo, &["one=test", "two=test"], options)
        .await
        .unwrap();
    (world, commit)
}

/// As an operator does it.
async fn cli(world: &World, args: &[&str]) -> Output {
    let data = world.hub.data();
    let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
    args.extend([OsStr::new("--data").to_owned(), data.into_os_string()]);
    tokio::task::spawn_blocking(move || Cli::new().run(args).unwrap())
        .await
        .unwrap()
}

async fn token(world: &World, cluster: &str, more: &[&str]) -> String {
    let mut args = vec!["cluster", "add", cluster, "--join-token-file", "-"];
    args.extend(more);
    let done = cli(world, &args).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    done.stdout.trim().to_owned()
}

/// The statements of the log, claimed or published, in its order.
fn statements(world: &World) -> Vec<(Envelope, Statement)> {
    let store = world.hub.data().join("store");
    let mut claims: Vec<_> = std::fs::read_dir(store.join("claims"))
        .unwrap()
        .map(|claim| claim.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    claims.sort();
    let mut all = Vec::new();
    for claim in claims {
        let claim = countersign_ledger::claim::Claim::parse(&std::fs::read(claim).unwrap());
        let staged = store
            .join("staging")
            .join(claim.unwrap().staging.to_string());
        for entry in countersign_tests::rogue::entries(&std::fs::read(staged).unwrap()) {
            let envelope = Envelope::parse(entry, &Limits::entry()).unwrap();
            let statement = Statement::parse(envelope.payload()).unwrap();
            all.push((envelope, statement));
        }
    }
    all
}

/// Codes of what the audit of the hub's log finds; the audit must have come to a verdict.
async fn audited(world: &World) -> Vec<String> {
    let (log, trust) = (world.hub.data().join("store"), world.trust.document());
    let cache = tempfile::tempdir().unwrap();
    let index = cache.path().join("index.sqlite");
    let verified = tokio::task::spawn_blocking(move || {
        let args: Vec<OsString> = vec![
            "audit".into(),
            "verify".into(),
            "-o".into(),
            "json".into(),
            "--log".into(),
            log.into(),
            "--trust".into(),
            trust.into(),
            "--index".into(),
            index.into(),
        ];
        Cli::new().run(args).unwrap()
    })
    .await
    .unwrap();
    let found: serde_json::Value = serde_json::from_str(&verified.stdout)
        .unwrap_or_else(|error| panic!("{error}: {verified:?}"));
    let rows = found["rows"].as_array().unwrap();
    let codes = rows.iter().filter_map(|row| row["code"].as_str());
    codes.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_serves_one_agent_of_one_cluster_within_its_time() {
    countersign_tests::install_tls();
    let (world, _) = fleet_of_two(|options| options).await;
    let (first, second) = (Stranger::on("uid-1"), Stranger::on("uid-2"));

    let of_one = token(&world, ONE, &[]).await;
    let as_two = first.refused(&world, TWO, Proof::Token(&of_one)).await;
    assert_eq!(as_two, "TOKEN_REFUSED", "a token for another name");

    let expired = token(&world, ONE, &[]).await;
    let id = expired.split('_').nth(1).unwrap();
    let kept = world.hub.data().join(format!("store/join/{id}.json"));
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    record["expires"] = json!("2026-01-01T00:00:00Z");
    std::fs::write(&kept, record.to_string()).unwrap();
    let late = first.refused(&world, ONE, Proof::Token(&expired)).await;
    assert_eq!(late, "TOKEN_REFUSED", "a token whose time is over");

    first
        .register(&world, ONE, Proof::Token(&of_one))
        .await
        .unwrap();
    let used = second.refused(&world, ONE, Proof::Token(&of_one)).await;
    assert_eq!(used, "TOKEN_REFUSED", "a token that was used");
    let again = first.register(&world, ONE, Proof::Token(&of_one)).await;
    assert!(again.is_ok(), "its own agent asks once more");

    // A second agent of the same cluster, and the same cluster under a second name.
    let more = cli(&world, &["cluster", "add", ONE]).await;
    assert_ne!(more.code, Some(0));
    assert!(more.stderr.contains("REGISTERED"), "{more:?}");
    let of_two = token(&world, TWO, &[]).await;
    let clone = Stranger::on("uid-1");
    let cloned = clone.refused(&world, TWO, Proof::Token(&of_two)).await;
    assert_eq!(cloned, "SECOND_NAME");
    let one = world.operator.cluster(ONE).await.unwrap();
    let alarms: Vec<&str> = one.alarm_list.iter().map(|a| a.code.as_str()).collect();
    assert_eq!(alarms, ["SECOND_NAME"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_cluster_is_refused_and_both_agents_say_so() {
    countersign_tests::install_tls();
    let (world, commit) = fleet_of_two(|options| options).await;
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let first = world.join(ONE, &cluster).await.unwrap();
    world.settled(&commit, &[ONE]).await.unwrap();

    // The same Kubernetes cluster, by its UID, under another name.
    let client = cluster.client().await.unwrap();
    namespace(&client, "clone").await;
    let of_two = token(&world, TWO, &[]).await;
    let mut options = agent::Options::new(
        world.hub.agents_url(),
        TWO,
        world.trust.document(),
        &of_two,
        &cluster,
    );
    options.args = vec!["--namespace".into(), "clone".into()];
    let mut clone = Agent::start(options).await.unwrap();
    clone.process.line("SECOND_NAME", LIMIT).await.unwrap();
    until(
        "the first agent has told that it was cloned",
        LIMIT,
        async || {
            let one = world.operator.cluster(ONE).await?;
            let refused = one.refusals.iter().any(|it| it.code == "CLONE_REFUSED");
            let alarm = one.alarm_list.iter().any(|it| it.code == "SECOND_NAME");
            anyhow::ensure!(refused && alarm, "{one:?}\n{}", first.process.log());
            anyhow::Ok(())
        },
    )
    .await;
    let status = cli(&world, &["status", "--cluster", ONE]).await;
    assert!(status.stdout.contains("CLONE_REFUSED"), "{status:?}");
    assert!(status.stdout.contains("SECOND_NAME"), "{status:?}");
    until(
        "it stands in the first agent's receipts",
        LIMIT,
        async || {
            statements(&world).iter().any(|(_, it)| match it {
                Statement::Receipt(it) if it.kind == ReceiptKind::Refusal => {
                    blob(&world, &it.results.unwrap())["code"] == "CLONE_REFUSED"
                }
                _ => false,
            })
        },
    )
    .await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    assert!(maps.get_opt("b").await.unwrap().is_none(), "nothing of two");
}

async fn namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let new = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces
        .create(&PostParams::default(), &new)
        .await
        .unwrap();
}

/// Waits until all that was claimed is published.
async fn published(world: &World) {
    until("all is published", LIMIT, async || {
        let store = world.hub.data().join("store");
        let note = std::fs::read_to_string(store.join("checkpoint")).unwrap_or_default();
        let size = note.lines().nth(1).and_then(|size| size.parse().ok());
        size == Some(statements(world).len())
    })
    .await;
}

/// The first line of a blob in the hub's store.
fn blob(world: &World, name: &Digest) -> serde_json::Value {
    let name = name.to_string();
    let folder = world.hub.data().join("store/blobs").join(&name[..2]);
    let bytes = std::fs::read(folder.join(&name)).unwrap();
    serde_json::from_slice(bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

/// A receipt that is right in everything but who says it of whom.
fn receipt(cluster: &str, seq: u64, previous: Digest, key: &FileKey) -> Bytes {
    let said = Receipt {
        desired: None,
        fleet: FLEET.into(),
        cluster: cluster.into(),
        seq,
        previous: (seq > 1).then_some(previous),
        kind: ReceiptKind::Heartbeat,
        generation: 0,
        manifest: None,
        checkpoint: SeenCheckpoint {
            size: 0,
            root: EMPTY_ROOT,
            time: None,
        },
        apps: AppCounts::default(),
        results: None,
        health: Health::Healthy,
        started: Time::default(),
        ended: Time::default(),
        agent: "0.1.0".into(),
        nonce: String::new(),
        attack: None,
        trust_root: 1,
        dropped: 0,
        break_glass: None,
    };
    let signers: [&dyn Sign; 1] = [key];
    let envelope = dsse::sign(PAYLOAD_TYPE, &said.payload().unwrap(), &signers).unwrap();
    Bytes::copy_from_slice(envelope.bytes())
}
