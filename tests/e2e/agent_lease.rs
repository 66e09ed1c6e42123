//! One agent a cluster: a second one waits, and takes over when the first is gone.

use std::time::Duration;

use countersign_agent::agent::StartError;
use countersign_tests::cluster::Cluster;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::served::{Agent, Hub, config_map, until, value};

async fn holder(leases: &Api<Lease>) -> String {
    let lease = leases.get_opt("countersign-agent").await.unwrap();
    lease
        .and_then(|lease| lease.spec)
        .and_then(|spec| spec.holder_identity)
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_waits_and_takes_over_when_the_first_is_gone() {
    let cluster = Cluster::shared().await.unwrap();
    let (namespace, own) = (
        cluster.namespace().await.unwrap(),
        cluster.namespace().await.unwrap(),
    );
    let client = cluster.client().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let leases: Api<Lease> = Api::namespaced(client, &own);
    let hub = Hub::start().await;
    let token = hub.token().await;
    hub.seal(&[config_map(&namespace, "a", "1")], &[]);
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Agent::start(&hub, cluster, first.path(), &token, &own);
    until("the first state", || async {
        value(&api, "a").await.as_deref() == Some("1")
    })
    .await;
    let holds = holder(&leases).await;
    assert!(!holds.is_empty());
    let two = Agent::start(&hub, cluster, second.path(), "", &own);

    // The first is killed: it gives nothing back, and the second waits for the whole of its time.
    let killed = std::time::Instant::now();
    one.kill().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(holder(&leases).await, holds, "taken over too early");
    until("the takeover", || async {
        let now = holder(&leases).await;
        !now.is_empty() && now != holds
    })
    .await;
    assert!(
        killed.elapsed() > Duration::from_secs(15),
        "{:?}",
        killed.elapsed()
    );

    // The second ends in order: the first, started again, waits for nothing.
    two.stop().await;
    assert_eq!(holder(&leases).await, "");
    let one = Agent::start(&hub, cluster, first.path(), "", &own);
    until("the first again", || async {
        holder(&leases).await == holds
    })
    .await;

    // Somebody takes it while the first runs: it steps back and says so.
    let patch = json!({"spec": {"holderIdentity": "another"}});
    leases
        .patch(
            "countersign-agent",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), one.task)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(ended, Err(StartError::SteppedBack)), "{ended:?}");
    assert_eq!(
        holder(&leases).await,
        "another",
        "it gave back what was not its own"
    );
}
