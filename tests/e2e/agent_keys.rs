//! An agent that keeps its keys in a Secret of its own namespace: a lost volume costs it nothing.

use std::collections::BTreeSet;

use countersign_tests::cluster::Cluster;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use crate::served::{Agent, Hub, config_map, until, value};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_keys_are_in_a_secret_comes_back_without_its_folder_and_without_a_token() {
    let cluster = Cluster::shared().await.unwrap();
    let (namespace, own) = (
        cluster.namespace().await.unwrap(),
        cluster.namespace().await.unwrap(),
    );
    let client = cluster.client().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let hub = Hub::start().await;
    let token = hub.token().await;
    let more = [("--keys-secret", "countersign-agent")];
    let data = tempfile::tempdir().unwrap();
    hub.seal(&[config_map(&namespace, "a", "1")], &[]);
    let agent = Agent::start_with(&hub, cluster, data.path(), &token, &own, &more);
    until("the first state", || async {
        value(&api, "a").await.as_deref() == Some("1")
    })
    .await;
    agent.stop().await;
    let secret = Api::<Secret>::namespaced(client, &own)
        .get("countersign-agent")
        .await
        .unwrap();
    let kept: BTreeSet<String> = secret.data.unwrap().into_keys().collect();
    assert_eq!(
        kept,
        ["client.pem", "encryption.key", "receipt.key"]
            .map(str::to_owned)
            .into()
    );
    let files = std::fs::read_dir(data.path().join("keys")).unwrap().count();
    assert_eq!(files, 0, "nothing of the keys is on disk");

    let other = tempfile::tempdir().unwrap();
    hub.seal(&[config_map(&namespace, "a", "2")], &[]);
    let agent = Agent::start_with(&hub, cluster, other.path(), "", &own, &more);
    until("the second state", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    agent.stop().await;
}
