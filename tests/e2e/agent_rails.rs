//! What an agent does not let itself be told, and when it deletes nothing whatever it is told.

use std::sync::Arc;
use std::time::Duration;

use countersign_agent::engine::Settings;
use countersign_agent::plan::rails::Rails;
use countersign_agent::world::Sync;
use countersign_ledger::identity::ObjectId;
use countersign_tests::cluster::{Cluster, Options};
use serde_json::json;

use crate::rig::{Rig, rig, rig_on, unique, until};

async fn refusal(rig: &Rig, code: &str) -> String {
    until(code, || async {
        rig.engine
            .news()
            .refusals()
            .find(|(name, _)| *name == code)
            .map(|(_, refusal)| refusal.message.clone())
    })
    .await
}

fn failure(rig: &Rig, id: &ObjectId) -> String {
    match &rig.engine.world().get(id).unwrap().sync {
        Sync::Failed(problem) => problem.to_string(),
        other => panic!("{id} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outside_the_guard_rails_is_refused_by_name_and_the_rest_proceeds() {
    let dir = tempfile::tempdir().unwrap();
    let namespace = unique("rails");
    let mut rails = Rails {
        namespaces: vec![namespace.clone()],
        ..Rails::default()
    };
    rails.deny.push("Secret".parse().unwrap());
    let settings = Settings {
        rails,
        ..Settings::default()
    };
    let cluster = Cluster::shared().await.unwrap();
    let mut rig = rig_on(cluster, dir.path(), &namespace, settings).await;
    rig.namespace();
    let map = rig.config_map("inside", json!({"x": "1"}));
    let inside = rig.want("cart", 1, map);
    let secret = rig.want("cart", 0, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "data": {"k": "eA=="}}));
    let mut map = rig.config_map(&namespace, json!({"x": "1"}));
    map["metadata"]["namespace"] = "default".into();
    let outside = rig.want("cart", 0, map);
    let binding = rig.want("cart", 0, json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "more", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "agent", "namespace": "countersign"}]}));
    rig.push();
    let text = refusal(&rig, "GUARD_RAIL").await;
    assert!(text.contains("and 1 more are not written"), "{text}");
    for (id, why) in [(&secret, "--deny-kinds"), (&outside, "--allow-namespaces")] {
        assert!(failure(&rig, id).starts_with("GUARD_RAIL") && failure(&rig, id).contains(why));
        assert!(rig.get(id).await.is_none());
    }
    until("the binding's refusal", || async {
        let world = rig.engine.world();
        matches!(&world.get(&binding)?.sync, Sync::Failed(problem) if problem.text.contains("binds rights"))
            .then_some(())
    })
    .await;
    assert!(rig.get(&binding).await.is_none());
    // Without the binding, whose wave can't be written, the app goes on past what is kept out.
    rig.desired.objects.remove(&binding);
    rig.push();
    until("what is inside", || async { rig.get(&inside).await }).await;
    assert!(rig.get(&secret).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_deletes_more_than_it_may_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        rails: Rails {
            deletes_max: 1,
            ..Rails::default()
        },
        ..Settings::default()
    };
    let cluster = Cluster::shared().await.unwrap();
    let mut rig = rig_on(cluster, dir.path(), &unique("wipe"), settings).await;
    rig.namespace();
    let ids: Vec<_> = ["a", "b"]
        .map(|name| rig.config_map(name, json!({"x": "1"})))
        .into_iter()
        .map(|map| rig.want("cart", 0, map))
        .collect();
    rig.push();
    rig.applied().await;
    ids.iter().for_each(|id| rig.remove(id));
    rig.push();
    let text = refusal(&rig, "GUARD_RAIL").await;
    assert!(text.contains("deletes 2 objects"), "{text}");
    for id in &ids {
        assert!(rig.get(id).await.is_some());
    }
    // One is within the limit.
    rig.desired.tombstones.remove(&ids[1]);
    rig.push();
    until("the one deletion", || async {
        rig.get(&ids[0]).await.is_none().then_some(())
    })
    .await;
    assert!(rig.get(&ids[1]).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_store_was_full_nothing_is_deleted() {
    let cluster = Cluster::start(Options {
        nodes: vec![],
        ..Options::default()
    })
    .await
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig_on(&cluster, dir.path(), &unique("full"), Settings::default()).await;
    rig.namespace();
    let map = |rig: &mut Rig, name: &str, value: &str| {
        let map = rig.config_map(name, json!({"x": value}));
        rig.want("cart", 0, map)
    };
    let (kept, doomed) = (map(&mut rig, "kept", "1"), map(&mut rig, "doomed", "1"));
    rig.push();
    rig.applied().await;

    alarm(&cluster, "ACTIVATE").await;
    map(&mut rig, "kept", "2");
    rig.push();
    until("the write's failure", || async {
        matches!(rig.engine.world().get(&kept)?.sync, Sync::Failed(_)).then_some(())
    })
    .await;
    rig.remove(&doomed);
    rig.push();
    alarm(&cluster, "DEACTIVATE").await;
    until("the write", || async {
        (rig.get(&kept).await?["data"]["x"] == "2").then_some(())
    })
    .await;
    let text = refusal(&rig, "DELETES_PAUSED").await;
    assert!(text.contains("doomed"), "{text}");
    assert!(rig.get(&doomed).await.is_some());
    assert_eq!(rig.engine.metrics.deleted.get(), 0);
}

/// Raises or lowers etcd's alarm that its space is exceeded.
async fn alarm(cluster: &Cluster, action: &str) {
    let pid = cluster.pid("etcd").unwrap();
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let port = arguments
        .split('\0')
        .find_map(|argument| argument.strip_prefix("--client-port="))
        .unwrap();
    let answer = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}/v3/maintenance/alarm"))
        .json(&json!({"action": action, "alarm": "NOSPACE"}))
        .timeout(Duration::from_secs(10))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_own_namespace_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("own")).await;
    let mut map = rig.config_map("a", json!({"x": "1"}));
    map["metadata"]["namespace"] = "countersign".into();
    let id: Arc<ObjectId> = rig.want("cart", 0, map);
    rig.push();
    let text = refusal(&rig, "GUARD_RAIL").await;
    assert!(
        text.contains("own namespace") && text.contains(&id.to_string()),
        "{text}"
    );
}
