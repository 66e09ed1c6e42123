//! How far a cluster was is known to the cluster itself: an agent that lost its volume is not taken back to an older day, however
//! well that day is signed and logged.

use std::time::Duration;

use countersign_ledger::digest::Digest;
use countersign_tests::rogue::{Rogue, StolenLog};
use countersign_tests::until;
use countersign_tests::world::FLEET;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::attacks::{self, blobs, envelopes, head};
use crate::fixture::{Stand, config_map};
use crate::log_attacks::the_seen_log;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_its_volume_is_not_taken_back_to_an_older_day() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    // Without a namespace for the agent there is no Lease.
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(stand.client.clone());
    let new = serde_json::from_value(json!({"metadata": {"name": "countersign"}})).unwrap();
    let _ = namespaces.create(&PostParams::default(), &new).await;
    stand.agent.restart().unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    let log = the_seen_log(&stand).await;
    let leases: Api<Lease> = Api::namespaced(stand.client.clone(), "countersign");
    until("the cluster holds the floor", LIMIT, async || {
        let lease = leases.get_opt("countersign-agent").await?;
        let held = lease.and_then(|lease| lease.metadata.annotations);
        let text = held.and_then(|held| held.get("countersign.dev/floor").cloned());
        let floor: Value = serde_json::from_str(&text.unwrap_or_default())?;
        anyhow::ensure!(floor["generation"] == 2, "{floor}");
        anyhow::ensure!(floor["receipts"][1].as_u64() >= Some(2), "{floor}");
        anyhow::Ok(())
    })
    .await;
    stand.agent.process.kill().unwrap();
    stand.world.hub.process.kill().unwrap();
    let uid = stand.uid("default", "a").await;

    lose_the_volume(&stand);
    let data = stand.world.hub.data();
    let keys = stand.world.trust.hub_keys();
    let first = envelopes(&data).swap_remove(0);
    let rogue = Rogue::start(
        stand.world.hub.agents(),
        &keys,
        head(&[first]),
        blobs(&data),
        Some(log),
    )
    .await
    .unwrap();
    stand.agent.restart().unwrap();
    attacks::refused(&stand, &rogue, "an older day", &["REPLAYED"]).await;
    rogue.leave().await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));

    // The real hub brings it to where it was, and its receipts go on where they ended.
    stand.world.hub.restart().await.unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "3"))])
        .await;
    assert_eq!(stand.uid("default", "a").await, uid);
    let base = stand.agent.data().join("receipts/base.json");
    until("its chain goes on", LIMIT, async || {
        let base: Value = serde_json::from_slice(&std::fs::read(&base)?)?;
        let seq = base["seq"].as_u64().unwrap_or_default();
        anyhow::ensure!(seq >= 3, "{base}");
        anyhow::Ok(())
    })
    .await;
    let kept: Value = serde_json::from_slice(&std::fs::read(&base).unwrap()).unwrap();
    assert!(kept["envelope"].as_str().unwrap().parse::<Digest>().is_ok());
}

/// All but the agent's keys is gone.
fn lose_the_volume(stand: &Stand) {
    for entry in std::fs::read_dir(stand.agent.data()).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("keys") => {}
            _ if path.is_dir() => std::fs::remove_dir_all(path).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_cluster_lost_its_floor_too_the_agents_own_receipt_holds_it() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    let log = the_seen_log(&stand).await;
    let newest = StolenLog::take(
        FLEET,
        &stand.world.hub.data().join("store"),
        &stand.world.trust.hub_keys(),
    )
    .unwrap()
    .newest_receipt()
    .expect("the agent's word is in the log");
    stand.agent.process.kill().unwrap();
    stand.world.hub.process.kill().unwrap();
    lose_the_volume(&stand);
    // A restored etcd: the cluster holds no floor.
    let leases: Api<Lease> = Api::namespaced(stand.client.clone(), "countersign");
    let _ = leases
        .delete("countersign-agent", &DeleteParams::default())
        .await;

    let data = stand.world.hub.data();
    let first = envelopes(&data).swap_remove(0);
    let rogue = Rogue::start(
        stand.world.hub.agents(),
        &stand.world.trust.hub_keys(),
        head(&[first]),
        blobs(&data),
        Some(log),
    )
    .await
    .unwrap();
    rogue.show_receipt(newest);
    stand.agent.restart().unwrap();
    attacks::refused(&stand, &rogue, "an older day", &["REPLAYED"]).await;
    rogue.leave().await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));
}
