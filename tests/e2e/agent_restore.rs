//! A store that was restored to an older day, and another cluster in the place of ours: an agent notices both.

use std::path::Path;
use std::time::Duration;

use countersign_ledger::identity::ObjectId;
use countersign_tests::{
    cluster::{Cluster, Options},
    port,
};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, ObjectMeta, Patch, PatchParams},
};

use crate::served::{Agent, Hub, NAME, config_map, id, until, value};

fn options(folder: &Path, port: u16) -> Options {
    Options {
        nodes: vec![],
        folder: Some(folder.to_owned()),
        port: Some(port),
        ..Options::default()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Writes so often that the revision is far beyond what a restored store reaches by starting.
async fn many_writes(api: &Api<ConfigMap>) {
    const WRITES: u32 = 2_000;
    let params = PatchParams::apply("counter").force();
    let writes = (0..WRITES).map(|n| {
        let (api, params) = (api.clone(), params.clone());
        async move {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(format!("counter-{}", n % 16)),
                    ..ObjectMeta::default()
                },
                data: Some([("n".to_owned(), n.to_string())].into()),
                ..ConfigMap::default()
            };
            let name = format!("counter-{}", n % 16);
            api.patch(&name, &params, &Patch::Apply(map)).await.unwrap();
        }
    });
    futures::stream::iter(writes)
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
}

async fn shows(hub: &Hub, what: &str) -> bool {
    let text = hub.ask(&format!("/api/v1/clusters/{NAME}")).await;
    text.to_string().contains(what)
}

async fn applied(hub: &Hub) -> u64 {
    let cluster = hub.ask(&format!("/api/v1/clusters/{NAME}")).await;
    cluster["generationApplied"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_and_another_cluster_are_noticed_and_nothing_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (running, saved) = (folder.path().join("cluster"), folder.path().join("saved"));
    let port = port::free().unwrap().port();
    let cluster = Cluster::start(options(&running, port)).await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    let own = cluster.namespace().await.unwrap();
    let hub = Hub::start().await;
    let token = hub.token().await;
    let data = tempfile::tempdir().unwrap();
    let map = |name: &str, value: &str| config_map(&namespace, name, value);
    hub.seal(&[map("a", "1"), map("b", "1")], &[]);
    let agent = Agent::start(&hub, &cluster, data.path(), &token, &own);
    until("the first state", || async { applied(&hub).await == 1 }).await;

    // The older day: copied while nothing runs.
    drop(cluster);
    copy(&running.join("etcd"), &saved);
    let cluster = Cluster::start(options(&running, port)).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await.unwrap(), &namespace);
    many_writes(&api).await;
    let b: ObjectId = id(&map("b", "1"));
    hub.seal(&[map("a", "2"), map("c", "2")], std::slice::from_ref(&b));
    until("the second state", || async {
        applied(&hub).await == 2 && value(&api, "b").await.is_none()
    })
    .await;
    assert!(!shows(&hub, "REVISION_WENT_BACK").await);

    // The restore, under the running agent.
    drop((cluster, api));
    std::fs::remove_dir_all(running.join("etcd")).unwrap();
    copy(&saved, &running.join("etcd"));
    let cluster = Cluster::start(options(&running, port)).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await.unwrap(), &namespace);
    let took = until("the discovery", || async {
        shows(&hub, "REVISION_WENT_BACK").await
    })
    .await;
    println!("noticed after {took:?}");
    until("the last good state", || async {
        value(&api, "a").await.as_deref() == Some("2") && value(&api, "c").await.is_some()
    })
    .await;
    assert_eq!(applied(&hub).await, 2);
    // What was deleted in the meantime stands there again, and a tombstone deletes nothing now.
    assert!(value(&api, "b").await.is_some());
    hub.seal(&[map("a", "3")], &[id(&map("c", "2"))]);
    until("the pause", || async {
        shows(&hub, "DELETES_PAUSED").await
    })
    .await;
    until("the third state", || async {
        value(&api, "a").await.as_deref() == Some("3")
    })
    .await;
    assert!(value(&api, "c").await.is_some());

    // Another cluster in its place, under the running agent: same address, same CA, another kube-system.
    drop((cluster, api));
    std::fs::remove_dir_all(running.join("etcd")).unwrap();
    let cluster = Cluster::start(options(&running, port)).await.unwrap();
    until("the other cluster", || async {
        shows(&hub, "IDENTITY_CHANGED").await
    })
    .await;
    let everywhere: Api<ConfigMap> = Api::all(cluster.client().await.unwrap());
    let ours = ListParams::default().labels("countersign.dev/app");
    assert_eq!(everywhere.list(&ours).await.unwrap().items.len(), 0);
    agent.stop().await;

    // And at a start.
    let listen = port::free().unwrap().to_string();
    let more = [("--listen", listen.as_str())];
    let agent = Agent::start_with(&hub, &cluster, data.path(), "", &own, &more);
    until("the refusal at a start", || async {
        let answer = reqwest::get(format!("http://{listen}/metrics")).await;
        match answer {
            Ok(answer) => answer
                .text()
                .await
                .is_ok_and(|text| text.contains("code=\"IDENTITY_CHANGED\"")),
            Err(_) => false,
        }
    })
    .await;
    assert_eq!(everywhere.list(&ours).await.unwrap().items.len(), 0);
    agent.stop().await;
    // Back in its own cluster it goes on where it was.
    drop((cluster, everywhere));
    std::fs::remove_dir_all(running.join("etcd")).unwrap();
    copy(&saved, &running.join("etcd"));
    let cluster = Cluster::start(options(&running, port)).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await.unwrap(), &namespace);
    let agent = Agent::start(&hub, &cluster, data.path(), "", &own);
    until("the third state again", || async {
        value(&api, "a").await.as_deref() == Some("3")
    })
    .await;
    tokio::time::timeout(Duration::from_secs(20), agent.stop())
        .await
        .unwrap();
}
