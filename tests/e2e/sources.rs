//! Every kind of source, from a pushed commit to the cluster.

use std::time::Duration;

use countersign_tests::{
    cluster::Options,
    git::{Bare, GitRepo, GitServer, SshServer},
    hub::Hub,
    operator::Operator,
    until,
};

use crate::fixture::{CLUSTER, ONE, Stand, config_map, plain_app};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn plain_files_a_chart_and_a_kustomization_arrive_as_their_cluster_wants_them() {
    let chart = "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: wallet\nspec:\n  source:\n    path: charts/wallet\n  render:\n    helm:\n      valueFiles: [\"values/{{ .cluster.labels.env }}.yaml\"]\n";
    let kustomize = "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: odds\nspec:\n  source:\n    path: odds\n  render:\n    kustomize:\n      path: overlays/{{ .cluster.labels.env }}\n";
    let stand = Stand::new(&[
        ("clusters/one/own.yaml", &config_map("own", "from", "the cluster's folder")),
        ("clusters/lobby.yaml", &plain_app("lobby", "apps/lobby")),
        ("apps/lobby/a.yaml", &config_map("lobby", "from", "a plain file")),
        ("clusters/wallet.yaml", chart),
        ("charts/wallet/Chart.yaml", "apiVersion: v2\nname: wallet\nversion: 0.1.0\n"),
        ("charts/wallet/values.yaml", "limit: 1\n"),
        (
            "charts/wallet/templates/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  limit: {{ .Values.limit | quote }}\n",
        ),
        ("values/test.yaml", "limit: 42\n"),
        ("clusters/odds.yaml", kustomize),
        ("odds/base/kustomization.yaml", "resources: [a.yaml]\n"),
        ("odds/base/a.yaml", &config_map("odds", "feed", "primary")),
        (
            "odds/overlays/test/kustomization.yaml",
            "resources: [../../base]\nnamePrefix: test-\n",
        ),
    ])
    .await;
    for (name, key, value) in [
        ("own", "from", "the cluster's folder"),
        ("lobby", "from", "a plain file"),
        ("wallet", "limit", "42"),
        ("test-odds", "feed", "primary"),
    ] {
        let seen = stand.value("default", name, key).await;
        assert_eq!(seen.as_deref(), Some(value), "{name}");
    }

    stand.push(&[("values/test.yaml", "limit: 43\n")]).await;
    let seen = stand.value("default", "wallet", "limit").await;
    assert_eq!(
        seen.as_deref(),
        Some("43"),
        "a values file alone changes the chart's objects"
    );
}

/// A forge, the header that proves its requests and the one that names the event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Forge {
    Github,
    Gitlab,
    Gitea,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_over_http_with_a_token_is_followed_and_each_forges_webhook_wakes_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let (token, secret) = (folder.path().join("token"), folder.path().join("secret"));
    std::fs::write(&token, "open sesame").unwrap();
    std::fs::write(&secret, "it is me").unwrap();

    let (repo, bare, first) = pushed();
    let server = GitServer::start_with_token(bare.root(), "open sesame").unwrap();
    let trust = countersign_tests::cli::Trust::init("test", &["one=test"]).unwrap();
    let options = countersign_tests::hub::Options::new(server.url("fleet"), &trust).args([
        "--git-token-file".into(),
        token.into_os_string(),
        "--webhook-github-secret-file".into(),
        secret.clone().into_os_string(),
        "--webhook-gitlab-secret-file".into(),
        secret.clone().into_os_string(),
        "--webhook-gitea-secret-file".into(),
        secret.into_os_string(),
        "--webhook-repository".into(),
        "casino/fleet".into(),
        // Nothing is found by looking: only the webhook can wake it.
        "--poll-seconds".into(),
        "3600".into(),
    ]);
    let hub = Hub::start(options).await.unwrap();
    let operator = Operator::of(&hub).unwrap();
    seen(&operator, &first).await;

    for (number, forge) in [Forge::Github, Forge::Gitlab, Forge::Gitea]
        .into_iter()
        .enumerate()
    {
        let content = config_map("own", "v", &format!("{}", number + 2));
        let next = repo
            .commit_files(
                &[("clusters/one/own.yaml", &content)],
                &format!("{forge:?}"),
            )
            .unwrap();
        repo.push(&bare).unwrap();
        let body = serde_json::json!({
            "ref": "refs/heads/main",
            "after": next,
            "repository": {"full_name": "casino/fleet"},
            "project": {"path_with_namespace": "casino/fleet"},
        })
        .to_string();
        let wrong = post(&hub, forge, &body, "somebody else", "1").await;
        assert_eq!(wrong, 401, "{forge:?}: a wrong proof");
        assert_eq!(
            post(&hub, forge, &body, "it is me", "2").await,
            202,
            "{forge:?}"
        );
        seen(&operator, &next).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_over_ssh_is_followed_with_the_key_that_may_read_and_no_other() {
    if !std::path::Path::new("/usr/bin/ssh").exists() {
        eprintln!("not run: /usr/bin/ssh, which the hub uses for ssh:// sources, is not installed");
        return;
    }
    let (repo, bare, first) = pushed();
    let server = SshServer::start(bare.root()).await.unwrap();
    let trust = countersign_tests::cli::Trust::init("test", &["one=test"]).unwrap();
    let start = |key: std::path::PathBuf| {
        let options = countersign_tests::hub::Options::new(server.url("fleet.git"), &trust).args([
            "--ssh-key-file".into(),
            key.into_os_string(),
            "--known-hosts-file".into(),
            server.known_hosts().into_os_string(),
            "--poll-seconds".into(),
            "1".into(),
        ]);
        Hub::start(options)
    };
    let hub = start(server.key()).await.unwrap();
    let operator = Operator::of(&hub).unwrap();
    seen(&operator, &first).await;
    let second = repo
        .commit_files(
            &[("clusters/one/own.yaml", &config_map("own", "v", "2"))],
            "two",
        )
        .unwrap();
    repo.push(&bare).unwrap();
    seen(&operator, &second).await;
    drop(hub);

    let stranger = start(server.other_key()).await.unwrap();
    let operator = Operator::of(&stranger).unwrap();
    until("the key is refused", LIMIT, async || {
        let source = operator.fleet().await?.source;
        anyhow::ensure!(source.code == "ACCESS_DENIED", "{source:?}");
        Ok(())
    })
    .await;
}

/// A fleet of one object, pushed: the clone, what a forge holds, and the commit.
fn pushed() -> (GitRepo, Bare, String) {
    let repo = GitRepo::new().unwrap();
    let own = config_map("own", "v", "1");
    let first = repo
        .commit_files(&[CLUSTER, ("clusters/one/own.yaml", &own)], "the fleet")
        .unwrap();
    let bare = GitRepo::bare("fleet").unwrap();
    repo.push(&bare).unwrap();
    (repo, bare, first)
}

pub(crate) async fn seen(operator: &Operator, commit: &str) {
    until("the hub has sealed the commit", LIMIT, async || {
        let fleet = operator.fleet().await?;
        let at = fleet.source.commit.as_ref().map(|commit| commit.id.clone());
        let sealed = fleet
            .clusters
            .iter()
            .any(|c| c.name == ONE && c.generation_sealed > 0);
        anyhow::ensure!(
            at.as_deref() == Some(commit) && sealed && fleet.source.processed.is_some(),
            "{:?} {:?}",
            fleet.source,
            fleet.mistakes
        );
        Ok(())
    })
    .await;
}

/// Posts a push event as `forge` does; returns the answer's status.
pub(crate) async fn post(hub: &Hub, forge: Forge, body: &str, secret: &str, delivery: &str) -> u16 {
    post_to(&hub.agents_url(), forge, body, secret, delivery).await
}

/// [`post`] to the hub at this address.
pub(crate) async fn post_to(
    hub: &str,
    forge: Forge,
    body: &str,
    secret: &str,
    delivery: &str,
) -> u16 {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature: String = ring::hmac::sign(&key, body.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let (route, headers) = match forge {
        Forge::Github => (
            "github",
            [
                ("X-GitHub-Event", "push".to_owned()),
                ("X-GitHub-Delivery", delivery.to_owned()),
                ("X-Hub-Signature-256", format!("sha256={signature}")),
            ],
        ),
        Forge::Gitlab => (
            "gitlab",
            [
                ("X-Gitlab-Event", "Push Hook".to_owned()),
                ("X-Gitlab-Event-UUID", delivery.to_owned()),
                ("X-Gitlab-Token", secret.to_owned()),
            ],
        ),
        Forge::Gitea => (
            "gitea",
            [
                ("X-Gitea-Event", "push".to_owned()),
                ("X-Gitea-Delivery", delivery.to_owned()),
                ("X-Gitea-Signature", signature),
            ],
        ),
    };
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let mut request = client
        .post(format!("{hub}/webhooks/{route}"))
        .header("Content-Type", "application/json")
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_and_its_objects_arrive_in_one_commit() {
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: tables.casino.example\nspec:\n  group: casino.example\n  scope: Namespaced\n  names:\n    kind: Table\n    plural: tables\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n          type: object\n          properties:\n            spec:\n              type: object\n              properties:\n                seats:\n                  type: integer\n";
    let table = "apiVersion: casino.example/v1\nkind: Table\nmetadata:\n  name: roulette\n  namespace: floor\nspec:\n  seats: 8\n";
    let stand = Stand::with(
        &[
            // Named so that the object comes before what it needs: order in Git must not matter.
            ("clusters/one/a-table.yaml", table),
            ("clusters/one/z-crd.yaml", crd),
            (
                "clusters/one/z-namespace.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: floor\n",
            ),
        ],
        Options::default(),
        |options| options,
    )
    .await;
    let kind = kube::core::GroupVersionKind::gvk("casino.example", "v1", "Table");
    let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "tables");
    let api = kube::Api::<kube::core::DynamicObject>::namespaced_with(
        stand.client.clone(),
        "floor",
        &resource,
    );
    assert_eq!(api.get("roulette").await.unwrap().data["spec"]["seats"], 8);
}
