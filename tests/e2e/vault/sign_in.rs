//! A hub that signs in with its pod's service account: the tokens are a real API server's, and Vault asks that server of
//! each whether it stands behind it.

use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::vault::Vault;
use countersign_tests::world::World;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use reqwest::Method;
use serde_json::{Value, json};

use super::{LIMIT, hub, said_that_it_may_not, trust, vault};
use crate::fixture::{CLUSTER, config_map};

const NAMESPACE: &str = "countersign";
/// Whom the hub's token is for: Vault, and not the API server.
const AUDIENCE: &str = "vault";

async fn create<T>(api: Api<T>, object: Value)
where
    T: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// A service account, and a token of it as a pod has it; for the API server if for nobody else.
async fn account(client: &Client, name: &str, audience: Option<&str>) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    create(accounts.clone(), json!({ "metadata": { "name": name } })).await;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.into_iter().map(str::to_owned).collect(),
            expiration_seconds: Some(3_600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let parameters = PostParams::default();
    let answer = accounts.create_token_request(name, &parameters, &request);
    answer.await.unwrap().status.unwrap().token
}

/// The API server's authority, as PEM.
pub(crate) fn authority(cluster: &Cluster) -> String {
    use base64::Engine as _;
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let named = kubeconfig.clusters[0].cluster.clone().unwrap();
    let pem = match (
        named.certificate_authority_data,
        named.certificate_authority,
    ) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap(),
        (None, Some(file)) => std::fs::read(file).unwrap(),
        (None, None) => panic!("the kubeconfig names no CA"),
    };
    String::from_utf8(pem).unwrap()
}

/// Vault lets the hub's service account in at this mount, and no other; returns a token of that account.
pub(crate) async fn let_in(
    vault: &Vault,
    cluster: &Cluster,
    client: &Client,
    mount: &str,
) -> String {
    let namespaces = Api::<Namespace>::all(client.clone());
    create(namespaces, json!({ "metadata": { "name": NAMESPACE } })).await;
    let reviewer = account(client, "vault", None).await;
    create(
        Api::<ClusterRoleBinding>::all(client.clone()),
        json!({
            "metadata": { "name": "vault-reviews-tokens" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator" },
            "subjects": [{ "kind": "ServiceAccount", "name": "vault", "namespace": NAMESPACE }],
        }),
    )
    .await;
    let post = async |path: &str, body: Value| {
        vault.ask(Method::POST, path, body).await.unwrap();
    };
    let kind = json!({ "type": "kubernetes" });
    post(&format!("sys/auth/{mount}"), kind).await;
    post(
        &format!("auth/{mount}/config"),
        json!({
            "kubernetes_host": cluster.server(),
            "kubernetes_ca_cert": authority(cluster),
            "token_reviewer_jwt": reviewer,
        }),
    )
    .await;
    post(
        &format!("auth/{mount}/role/hub"),
        json!({
            "audience": AUDIENCE,
            "bound_service_account_names": "countersign-hub",
            "bound_service_account_namespaces": NAMESPACE,
            "token_policies": "hub",
            "token_ttl": "1h",
        }),
    )
    .await;
    account(client, "countersign-hub", Some(AUDIENCE)).await
}

/// Ends each token that signing in gave.
async fn sign_all_out(vault: &Vault) {
    let path = "sys/leases/revoke-prefix/auth/kubernetes/login";
    vault.ask(Method::POST, path, Value::Null).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_signs_in_by_its_service_account_again_and_again_and_another_account_does_not() {
    let vault = vault().await;
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let client = cluster.client().await.unwrap();
    let hubs = let_in(&vault, &cluster, &client, "kubernetes").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwt");
    std::fs::write(&file, &hubs).unwrap();

    let repo = GitRepo::new().unwrap();
    let files = [CLUSTER, ("clusters/one/a.yaml", &config_map("a", "v", "1"))];
    repo.commit_files(&files, "the fleet").unwrap();
    let signing_in = [
        ("COUNTERSIGN_VAULT_ROLE", "hub"),
        ("COUNTERSIGN_VAULT_JWT_FILE", file.to_str().unwrap()),
    ];
    let world = World::start_under(trust(&vault).await, repo, hub(&vault, &signing_in))
        .await
        .unwrap();
    sealed(&world, 1).await;

    // Vault forgot who the hub is: it signs in again, and nobody notices.
    sign_all_out(&vault).await;
    let push = |value: &str| {
        let map = config_map("a", "v", value);
        world
            .push_files(&[("clusters/one/a.yaml", &map)], "a change")
            .unwrap();
    };
    push("2");
    sealed(&world, 2).await;

    // The token of another account is a real one, and opens nothing.
    let other = account(&client, "somebody", Some(AUDIENCE)).await;
    std::fs::write(&file, other).unwrap();
    sign_all_out(&vault).await;
    push("3");
    let fleet = said_that_it_may_not(&world, "service account name not authorized").await;
    assert_eq!(fleet.clusters[0].generation_sealed, 2);
    std::fs::write(&file, hubs).unwrap();
    sealed(&world, 3).await;
}

/// Waits until that generation is sealed.
async fn sealed(world: &World, generation: u64) {
    until("it is sealed", LIMIT, async || {
        let fleet = world.operator.fleet().await;
        let fleet = fleet.map_err(|error| format!("{error:#}"))?;
        if fleet.clusters[0].generation_sealed == generation {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", fleet.clusters, fleet.alarms))
        }
    })
    .await;
}
