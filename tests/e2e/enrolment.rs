//! Who may speak for a cluster, and who no more: joining, stealing, cloning, revoking, against the real programs.

mod peer;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use bytes::Bytes;
use countersign_fleet::api::Connection;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{self, Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, RingVerifier, Sign};
use countersign_ledger::statement::enrolment::Method;
use countersign_ledger::statement::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use countersign_ledger::statement::{Receipt, Statement};
use countersign_ledger::time::Time;
use countersign_ledger::tlog::merkle::EMPTY_ROOT;
use countersign_proto::agent::v1 as proto;
use countersign_tests::agent::{self, Agent};
use countersign_tests::cli::{Cli, Output};
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::world::{FLEET, World};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tonic::Code;

use crate::fixture::{CLUSTER, ONE, Stand, config_map};
use peer::{Proof, Stranger, code, connect, stolen};

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
async fn a_stolen_certificate_reads_and_says_nothing_of_another_cluster() {
    countersign_tests::install_tls();
    let (world, commit) = fleet_of_two(|options| options).await;
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let mut agent = world.join(ONE, &cluster).await.unwrap();
    world.settled(&commit, &[ONE]).await.unwrap();
    until("the first receipt", LIMIT, async || {
        let said = statements(&world);
        said.iter()
            .any(|(_, it)| matches!(it, Statement::Receipt(_)))
    })
    .await;
    agent.stop().await.unwrap();
    let mut thief = connect(&world, Some(stolen(&agent))).await;

    // It is cluster one's, whatever it asks for.
    let request = proto::HeadsRequest::default();
    let mut heads = thief.heads(request).await.unwrap().into_inner();
    let head = heads.message().await.unwrap().unwrap();
    for envelope in &head.envelopes {
        let envelope = Envelope::parse(envelope, &Limits::entry()).unwrap();
        let Ok(Statement::Desired(desired)) = Statement::parse(envelope.payload()) else {
            panic!("no desired state");
        };
        assert_eq!(desired.cluster, ONE);
    }
    let of_two = statements(&world)
        .into_iter()
        .find_map(|(_, it)| match it {
            Statement::Desired(it) if it.cluster == TWO => Some(it.manifest),
            _ => None,
        })
        .expect("a state of two");
    let list = blob(&world, &of_two);
    let section: Digest = list["sections"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let apps: Digest = list["apps"].as_str().unwrap().parse().unwrap();
    for name in [of_two, section, apps] {
        let request = proto::BlobsRequest {
            digests: vec![Bytes::copy_from_slice(name.as_bytes())],
        };
        let refused = thief.blobs(request).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }

    // What it signs for another cluster, or with another key, the log does not take.
    let before = statements(&world).len();
    let pem = std::fs::read_to_string(agent.data().join("keys/receipt.key")).unwrap();
    let own = FileKey::from_pem(&pem).unwrap();
    let other = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    for (cluster, key, want) in [
        (TWO, &own, "WRONG_CLUSTER"),
        (ONE, &other, "RECEIPT_SIGNATURE_INVALID"),
        (TWO, &other, "RECEIPT_SIGNATURE_INVALID"),
    ] {
        let asked = proto::ReceiptsRequest::default();
        let at = thief.receipts(asked).await.unwrap().into_inner();
        let forged = proto::ReceiptsRequest {
            envelopes: vec![receipt(cluster, at.next_seq, Digest::of(&at.newest), key)],
            tree_size: 0,
        };
        let answer = thief.receipts(forged).await.unwrap().into_inner();
        assert_eq!(answer.refused_code, want, "{}", answer.refused);
        assert!(answer.proofs.is_empty());
    }
    assert_eq!(statements(&world).len(), before);
    let one = world.operator.cluster(ONE).await.unwrap();
    let alarms: Vec<&str> = one.alarm_list.iter().map(|a| a.code.as_str()).collect();
    assert!(alarms.contains(&"WRONG_CLUSTER"), "{alarms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_keeps_its_cluster_and_reads_says_and_renews_nothing() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let uid = stand.uid("default", "a").await;
    until("the first receipt", LIMIT, async || {
        let said = statements(&stand.world);
        said.iter()
            .any(|(_, it)| matches!(it, Statement::Receipt(_)))
    })
    .await;
    let early = token(&stand.world, ONE, &["--replace"]).await;

    let args = ["cluster", "revoke", ONE, "--reason", "its node was stolen"];
    let done = cli(&stand.world, &args).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("its node was stolen"), "{done:?}");
    stand
        .agent
        .process
        .line("AGENT_REVOKED", LIMIT)
        .await
        .unwrap();
    until("its stream has ended", LIMIT, async || {
        let one = stand.world.operator.cluster(ONE).await?;
        anyhow::ensure!(one.summary.connection == Connection::Revoked, "{one:?}");
        anyhow::Ok(())
    })
    .await;

    // With all that lies on its volume, from anywhere.
    let mut thief = connect(&stand.world, Some(stolen(&stand.agent))).await;
    let refused = [
        thief.heads(proto::HeadsRequest::default()).await.map(drop),
        thief.blobs(proto::BlobsRequest::default()).await.map(drop),
        thief
            .receipts(proto::ReceiptsRequest::default())
            .await
            .map(drop),
        thief
            .report(proto::ReportRequest::default())
            .await
            .map(drop),
        thief.enrol(proto::EnrolRequest::default()).await.map(drop),
    ];
    for refused in refused {
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.code(), code(&refused)),
            (Code::PermissionDenied, "AGENT_REVOKED")
        );
    }
    let stranger = Stranger::on("uid");
    let before = stranger
        .refused(&stand.world, ONE, Proof::Token(&early))
        .await;
    assert_eq!(before, "TOKEN_REFUSED", "made before the revocation");

    // A new commit does not reach the cluster; what it had is healed.
    let missed = [("clusters/one/a.yaml", config_map("a", "v", "2"))];
    let missed: Vec<(&str, &str)> = missed.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let commit = stand.world.push_files(&missed, "missed").unwrap();
    until("the commit is sealed", LIMIT, async || {
        let fleet = stand.world.operator.fleet().await?;
        let at = fleet.source.commit.as_ref().map(|seen| seen.id.clone());
        anyhow::ensure!(at.as_ref() == Some(&commit) && fleet.source.processed.is_some());
        anyhow::Ok(())
    })
    .await;
    let rival = PatchParams {
        field_manager: Some("rival".into()),
        ..PatchParams::default()
    };
    let hacked = Patch::Merge(json!({"data": {"v": "hacked"}}));
    let maps = stand.config_maps("default");
    maps.patch("a", &rival, &hacked).await.unwrap();
    until("what was changed is back", LIMIT, async || {
        stand.value("default", "a", "v").await.as_deref() == Some("1")
    })
    .await;
    assert_eq!(stand.uid("default", "a").await, uid);

    // It does not come back by itself, whether it is started again or asks anew.
    let old_keys = stolen(&stand.agent);
    stand.agent.restart().unwrap();
    stand
        .agent
        .process
        .line("AGENT_REVOKED", LIMIT)
        .await
        .unwrap();
    stand.agent.stop().await.unwrap();

    // A person lets a new one in.
    let again = token(&stand.world, ONE, &["--replace"]).await;
    let new = agent::Options::new(
        stand.world.hub.agents_url(),
        ONE,
        stand.world.trust.document(),
        &again,
        stand.cluster(),
    );
    stand.agent = Agent::start(new).await.unwrap();
    stand.settled(&commit).await;
    assert_eq!(
        stand.uid("default", "a").await,
        uid,
        "adopted, not recreated"
    );
    let mut thief = connect(&stand.world, Some(old_keys)).await;
    let refused = thief.report(proto::ReportRequest::default()).await;
    assert_eq!(code(&refused.unwrap_err()), "AGENT_REVOKED");

    until("the new agent's receipt", LIMIT, async || {
        let said = statements(&stand.world);
        let last = said
            .iter()
            .rposition(|(_, it)| matches!(it, Statement::Enrolment(_)));
        last.is_some_and(|at| {
            let mut after = said[at..].iter();
            after
                .any(|(_, it)| matches!(it, Statement::Receipt(it) if it.kind == ReceiptKind::Sync))
        })
    })
    .await;
    let said: Vec<String> = statements(&stand.world)
        .iter()
        .filter_map(|(envelope, it)| match it {
            Statement::Enrolment(it) => {
                let signers = envelope.signed_by([&it.receipt_key], &RingVerifier);
                assert_eq!((signers.len(), envelope.signatures().len()), (1, 2));
                Some(format!("enrolled {}", it.number))
            }
            Statement::Revocation(it) => Some(format!("revoked: {}", it.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(
        said,
        ["enrolled 1", "revoked: its node was stolen", "enrolled 2"]
    );
    published(&stand.world).await;
    let found = audited(&stand.world).await;
    for code in [
        "RECEIPT_UNENROLLED",
        "ENROLMENT_NUMBER",
        "KEY_REVOKED",
        "RECEIPT_GAP",
    ] {
        assert!(!found.iter().any(|had| had == code), "{found:?}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_joins_by_its_service_account_and_by_no_other() {
    countersign_tests::install_tls();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let client = cluster.client().await.unwrap();
    namespace(&client, "countersign").await;
    for (namespace, name) in [("countersign", "countersign-agent"), ("default", "other")] {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        accounts
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let issuers = issuers(&client, &cluster, folder.path()).await;
    let (world, commit) = fleet_of_two(|options| {
        options.args([OsString::from("--join-issuers"), issuers.into_os_string()])
    })
    .await;

    let account = ("countersign", "countersign-agent");
    let good = issued(&client, account, &["countersign-hub:one"]).await;
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIn0"; // {"alg":"none"}
    let stranger = Stranger::on("uid-9");
    for (cluster, token, what) in [
        (
            ONE,
            issued(&client, account, &["countersign-hub:two"]).await,
            "for another cluster's name",
        ),
        (
            ONE,
            issued(&client, account, &["countersign-hub:one", "else"]).await,
            "for others too",
        ),
        (
            ONE,
            issued(&client, account, &[]).await,
            "for the API server",
        ),
        (
            ONE,
            issued(&client, ("default", "other"), &["countersign-hub:one"]).await,
            "of another account",
        ),
        (TWO, good.clone(), "for a cluster that may not join so"),
        (ONE, format!("{none}.{payload}."), "signed by nobody"),
        (ONE, format!("{none}.{payload}.{signature}"), "alg none"),
        (
            ONE,
            format!("{header}.{payload}.AAAA"),
            "with another signature",
        ),
        (ONE, "x".to_owned(), "that is none"),
    ] {
        let proof = Proof::ServiceAccount(&token);
        let refused = stranger.refused(&world, cluster, proof).await;
        assert_eq!(refused, "SERVICE_ACCOUNT_REFUSED", "a token {what}");
    }

    let file = folder.path().join("token");
    std::fs::write(&file, &good).unwrap();
    let (hub, trust) = (world.hub.agents_url(), world.trust.document());
    let mut options = agent::Options::new(hub, ONE, trust, "", &cluster);
    options.args = vec!["--join-service-account-token".into(), file.into_os_string()];
    let agent = Agent::start(options).await.unwrap();
    if let Err(error) = world.settled(&commit, &[ONE]).await {
        panic!("{error}\n{}", agent.process.log());
    }
    until("it is enrolled", LIMIT, async || {
        statements(&world).iter().any(|(_, it)| match it {
            Statement::Enrolment(it) => it.method == Method::ServiceAccount,
            _ => false,
        })
    })
    .await;
    // The account vouches for the first agent; to let another take its place is a person's word.
    let second = stranger
        .refused(&world, ONE, Proof::ServiceAccount(&good))
        .await;
    assert_eq!(second, "SECOND_KEY");
}

/// The file that allows cluster one's account, with keys from the API server itself.
async fn issuers(
    client: &Client,
    cluster: &Cluster,
    folder: &std::path::Path,
) -> std::path::PathBuf {
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let public = json!({
        "metadata": {"name": "issuer-discovery-for-all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:service-account-issuer-discovery"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": "system:unauthenticated"}],
    });
    let binding = serde_json::from_value(public).unwrap();
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let named = kubeconfig.clusters[0].cluster.clone().unwrap();
    let ca = match (
        named.certificate_authority_data,
        named.certificate_authority,
    ) {
        (Some(data), _) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .decode(data)
                .unwrap()
        }
        (None, Some(file)) => std::fs::read(file).unwrap(),
        (None, None) => panic!("the kubeconfig names no CA"),
    };
    std::fs::write(folder.join("ca.crt"), ca).unwrap();
    let file = folder.join("join.toml");
    let text = format!(
        "[clusters.one]\nissuer = \"https://kubernetes.default.svc.cluster.local\"\n\
         service-account = \"countersign/countersign-agent\"\n\
         jwks-url = \"{}/openid/v1/jwks\"\nca-file = \"ca.crt\"\n",
        cluster.server()
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A token of a service account, as the kubelet gives it to a pod.
async fn issued(client: &Client, (namespace, name): (&str, &str), audiences: &[&str]) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audiences.iter().map(|one| (*one).to_owned()).collect(),
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let parameters = PostParams::default();
    let answer = accounts
        .create_token_request(name, &parameters, &request)
        .await;
    answer.unwrap().status.unwrap().token
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
