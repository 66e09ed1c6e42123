//! An agent against the hub's real serving side and a real API server: it registers, verifies, applies, heals, reports;
//! it takes nothing that is not signed for it; it works with the hub away.

use countersign_ledger::key::FileKey;
use countersign_tests::cluster::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use ring::rand::SystemRandom;
use serde_json::json;

use crate::served::{Agent, Hub, NAME, config_map, id, until, value};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_applies_heals_and_reports_and_takes_nothing_unsigned_and_needs_no_hub_to_heal() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    let own = cluster.namespace().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await.unwrap(), &namespace);
    let mut hub = Hub::start().await;
    let data = tempfile::tempdir().unwrap();
    let token = hub.token().await;
    hub.seal(
        &[
            config_map(&namespace, "a", "1"),
            config_map(&namespace, "b", "1"),
        ],
        &[],
    );
    let agent = Agent::start(&hub, cluster, data.path(), &token, &own);

    until("the first state", || async {
        value(&api, "a").await.as_deref() == Some("1")
    })
    .await;
    hub.seal(
        &[
            config_map(&namespace, "a", "2"),
            config_map(&namespace, "b", "1"),
        ],
        &[],
    );
    let took = until("the second state", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    println!("sealed to live: {took:?}");
    let path = format!("/api/v1/clusters/{NAME}");
    until("its report", || async {
        let text = hub.ask(&path).await.to_string();
        text.contains("Healthy") && text.contains("Synced")
    })
    .await;

    // A change behind Git's back is undone, and the hub hears of it.
    let params = PatchParams {
        field_manager: Some("mallory".into()),
        ..PatchParams::default()
    };
    api.patch("a", &params, &Patch::Merge(json!({"data": {"x": "evil"}})))
        .await
        .unwrap();
    let took = until("the healing", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    println!("healed: {took:?}");
    until("the drift's report", || async {
        hub.ask("/api/v1/drifts")
            .await
            .to_string()
            .contains("mallory")
    })
    .await;

    // A thief's envelope: right in everything but the key.
    let thief = FileKey::generate(&SystemRandom::new()).unwrap();
    hub.seal_with(&[config_map(&namespace, "a", "stolen")], &[], &thief);
    until("the refusal", || async {
        hub.ask(&path)
            .await
            .to_string()
            .contains("SIGNATURE_INVALID")
    })
    .await;
    assert_eq!(value(&api, "a").await.as_deref(), Some("2"));
    hub.unseal();

    // The hub is gone: what was verified last is healed all the same, and after a restart of the agent too.
    hub.end().await;
    api.delete("b", &DeleteParams::default()).await.unwrap();
    until("the healing without a hub", || async {
        value(&api, "b").await.as_deref() == Some("1")
    })
    .await;
    agent.stop().await;
    api.patch("a", &params, &Patch::Merge(json!({"data": {"x": "evil"}})))
        .await
        .unwrap();
    let agent = Agent::start(&hub, cluster, data.path(), "", &own);
    let took = until("the healing after a restart", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    println!("healed after a restart without a hub: {took:?}");

    // It comes back, and so does the agent, by its certificate and without a token; a tombstone deletes.
    hub.come_back().await;
    let gone = id(&config_map(&namespace, "b", "1"));
    hub.seal(&[config_map(&namespace, "a", "3")], &[gone]);
    until("the state after the hub came back", || async {
        value(&api, "a").await.as_deref() == Some("3")
    })
    .await;
    until("the deletion", || async {
        value(&api, "b").await.is_none()
    })
    .await;
    until("the deletion's report", || async {
        !hub.state.gone(NAME).is_empty()
    })
    .await;
    agent.stop().await;
}
