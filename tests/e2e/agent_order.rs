//! Which app comes first, by what is signed: one waits for another until rules of that very state call it healthy.

use std::time::{Duration, Instant};

use countersign_ledger::manifest::AppEntry;
use countersign_tests::cluster::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::served::{Agent, COMMIT, Hub, NAME, config_map, until, value};

fn app(name: &str, depends_on: &[&str], health_rules: Vec<Value>) -> AppEntry {
    AppEntry {
        name: name.into(),
        commit: COMMIT.into(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        exclusive: false,
        health_rules,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_waits_for_another_until_the_fleets_own_rule_calls_it_healthy() {
    let cluster = Cluster::shared().await.unwrap();
    let (namespace, own) = (
        cluster.namespace().await.unwrap(),
        cluster.namespace().await.unwrap(),
    );
    let client = cluster.client().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let hub = Hub::start().await;
    let token = hub.token().await;
    let group = format!("{namespace}.example.org");
    let labels = json!({"countersign.dev/app": "db"});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("bases.{group}"), "labels": labels},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "bases", "singular": "base", "kind": "Base", "listKind": "BaseList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let base = json!({"apiVersion": format!("{group}/v1"), "kind": "Base",
        "metadata": {"name": "main", "namespace": namespace, "labels": labels}, "spec": {"size": 1}});
    let rule = json!({"group": group, "kind": "Base", "otherwise": "Progressing", "checks": [
        {"status": "Healthy", "when": "self.phase == \"Ready\""}]});
    let apps = || {
        vec![
            app("cart", &["db"], vec![]),
            app("db", &[], vec![rule.clone()]),
        ]
    };
    let state = |value: &str| {
        vec![
            crd.clone(),
            base.clone(),
            config_map(&namespace, "cart", value),
        ]
    };
    hub.seal_apps(apps(), &state("1"), &[], &hub.sealer);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(&hub, cluster, data.path(), &token, &own);

    let path = format!("/api/v1/clusters/{NAME}");
    until("the wait, as the hub shows it", || async {
        let text = hub.ask(&path).await.to_string();
        text.contains("waits for app db") && text.contains("Progressing")
    })
    .await;
    assert_eq!(value(&api, "cart").await, None);
    // A newer state is taken up while that one waits, and waits in turn.
    let started = Instant::now();
    let mut changed = state("2");
    changed.push({
        let mut map = config_map(&namespace, "db-note", "2");
        map["metadata"]["labels"] = labels.clone();
        map
    });
    hub.seal_apps(apps(), &changed, &[], &hub.sealer);
    until("the newer state", || async {
        value(&api, "db-note").await.is_some()
    })
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(value(&api, "cart").await, None);

    let kind = GroupVersionKind::gvk(&group, "v1", "Base");
    let bases: Api<DynamicObject> = Api::namespaced_with(
        client,
        &namespace,
        &ApiResource::from_gvk_with_plural(&kind, "bases"),
    );
    let params = PatchParams::apply("operator");
    bases
        .patch("main", &params, &Patch::Merge(json!({"phase": "Ready"})))
        .await
        .unwrap();
    until("the app that waited", || async {
        value(&api, "cart").await.as_deref() == Some("2")
    })
    .await;
    until("both healthy", || async {
        let text = hub.ask(&path).await.to_string();
        !text.contains("waits for") && !text.contains("Progressing")
    })
    .await;
    agent.stop().await;
}
