//! Joining by a service account of the cluster itself.

use std::ffi::OsString;

use countersign_ledger::statement::Statement;
use countersign_ledger::statement::enrolment::Method;
use countersign_tests::agent::{self, Agent};
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::until;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::peer::{Proof, Stranger};
use super::{LIMIT, TWO, fleet_of_two, namespace, statements};
use crate::fixture::ONE;

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
