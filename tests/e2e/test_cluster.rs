//! The test cluster itself: it is real enough to be believed, and it always ends.

use std::{path::Path, process::Command, time::Duration};

use countersign_tests::{
    cluster::{Cluster, Options},
    until,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);
const PARTS: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
];

fn running(pid: u32) -> bool {
    // A process that has ended but was not waited for yet is a zombie: state Z in the third field.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

fn pids(cluster: &Cluster) -> Vec<u32> {
    PARTS
        .iter()
        .map(|part| cluster.pid(part).expect(part))
        .collect()
}

#[tokio::test]
async fn a_deployment_rolls_out() {
    let cluster = Cluster::shared().await.unwrap();
    let api: Api<Deployment> = Api::namespaced(
        cluster.client().await.unwrap(),
        &cluster.namespace().await.unwrap(),
    );
    for image in ["registry.example.org/cart:1", "registry.example.org/cart:2"] {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart"},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "cart"}},
                "template": {
                    "metadata": {"labels": {"app": "cart"}},
                    "spec": {"containers": [{"name": "web", "image": image}]},
                },
            },
        });
        let applied = api
            .patch(
                "cart",
                &PatchParams::apply("test").force(),
                &Patch::Apply(&deployment),
            )
            .await
            .unwrap();
        let generation = applied.metadata.generation;
        until("all replicas run the new image", LIMIT, || async {
            let status = api.get("cart").await?.status.unwrap_or_default();
            let done = status.observed_generation >= generation
                && status.updated_replicas == Some(3)
                && status.available_replicas == Some(3)
                && status.replicas == Some(3);
            if done {
                Ok(())
            } else {
                Err(anyhow::anyhow!("{status:?}"))
            }
        })
        .await;
    }
}

/// Restarted in its folder and on its port it is the same cluster: same keys, same data. Then it ends with its handle.
#[tokio::test]
async fn a_cluster_comes_back_as_itself_and_ends_with_its_handle() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        folder: Some(folder.path().join("cluster")),
        audit: true,
        ..Options::default()
    };
    let uid = async |cluster: &Cluster| {
        let api: Api<Namespace> = Api::all(cluster.client().await.unwrap());
        api.get("kube-system").await.unwrap().metadata.uid
    };
    let first = Cluster::start(options.clone()).await.unwrap();
    let (before, pids_before) = (uid(&first).await, pids(&first));
    let port = first
        .server()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let audit = std::fs::read_to_string(first.audit().unwrap()).unwrap();
    assert!(
        audit
            .lines()
            .any(|line| line.contains("/api/v1/namespaces/kube-system")),
        "the audit log lacks our request"
    );
    let kubeconfig = std::fs::read(first.kubeconfig()).unwrap();
    drop(first);
    assert_eq!(
        pids_before.iter().filter(|&&pid| running(pid)).count(),
        0,
        "a part outlives its handle"
    );

    let second = Cluster::start(Options { port, ..options }).await.unwrap();
    assert_eq!(uid(&second).await, before);
    assert_eq!(
        std::fs::read(second.kubeconfig()).unwrap(),
        kubeconfig,
        "a kubeconfig of before is of no use"
    );
}

/// Whatever happens to this process or the supervisor, nothing stays behind.
#[tokio::test]
async fn no_part_outlives_a_killed_supervisor() {
    let cluster = Cluster::start(Options {
        nodes: Vec::new(),
        ..Options::default()
    })
    .await
    .unwrap();
    let parts: Vec<u32> = PARTS.iter().filter_map(|part| cluster.pid(part)).collect();
    assert_eq!(
        parts.len(),
        PARTS.len() - 1,
        "there is no simulator without nodes"
    );
    let supervisor = cluster.supervisor().unwrap().to_string();
    assert!(
        Command::new("sh")
            .args(["-c", r#"kill -KILL "$1""#, "kill", &supervisor])
            .status()
            .unwrap()
            .success()
    );
    until("every part has ended", LIMIT, || {
        let left = parts.iter().filter(|&&pid| running(pid)).count();
        std::future::ready(if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} parts are left"))
        })
    })
    .await;
    // A killed supervisor can't remove its folder; the test does.
    let folder = cluster.kubeconfig().parent().map(Path::to_owned).unwrap();
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}
