//! The agent's engine on a real API server: applied, healed, pruned, left alone.

mod drift;

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_agent::health::Status;
use countersign_agent::world::Sync;
use countersign_ledger::identity::ObjectId;
use http::Method;
use serde_json::json;

use crate::rig::{APPLY, MERGE, deployment, id_of, rig, unique, until};

#[tokio::test(flavor = "multi_thread")]
async fn namespace_crd_and_its_object_come_up_in_one_state_and_waves_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("waves")).await;
    rig.namespace();
    let group = format!("{}.example.org", rig.namespace);
    let namespace = rig.namespace.clone();
    rig.want("base", 0, json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}));
    let thing = rig.want("base", 1, json!({"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "t", "namespace": namespace}, "spec": {"a": [1]}}));
    let web = rig.want("base", 0, deployment(&namespace, "web"));
    rig.push();
    rig.applied().await;
    assert!(rig.get(&thing).await.is_some());
    until("a healthy Deployment", || async {
        (rig.engine.world().get(&web).unwrap().health.status == Status::Healthy).then_some(())
    })
    .await;
    // A nested value of a custom resource is healed like anything else.
    assert_eq!(
        rig.rival(
            Method::PATCH,
            &thing,
            "?fieldManager=mallory",
            MERGE,
            json!({"spec": {"a": [1, 2]}})
        )
        .await,
        200
    );
    let drift = rig.drift_of(&thing).await;
    assert_eq!(
        (drift.what, drift.managers.as_slice()),
        ("changed", ["mallory".to_owned()].as_slice())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_prunes_what_we_applied_and_nothing_else_is_ever_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("prune")).await;
    rig.namespace();
    let (a, b) = (
        rig.config_map("a", json!({"x": "1"})),
        rig.config_map("b", json!({"x": "1"})),
    );
    let (a, b) = (rig.want("cart", 0, a), rig.want("cart", 0, b));
    rig.push();
    rig.applied().await;
    let uid = rig.get(&b).await.unwrap()["metadata"]["uid"].clone();
    // One goes by tombstone; the other moves to another app and keeps its UID.
    rig.remove(&a);
    let moved = rig.config_map("b", json!({"x": "1"}));
    rig.want("shop", 0, moved);
    let stranger = Arc::new(ObjectId {
        name: "kube-root-ca.crt".into(),
        ..(*a).clone()
    });
    rig.desired
        .tombstones
        .insert(Arc::clone(&stranger), "cart".into());
    rig.push();
    until("the prune", || async {
        rig.get(&a).await.is_none().then_some(())
    })
    .await;
    until("the move", || async {
        (rig.get(&b).await?["metadata"]["labels"]["countersign.dev/app"] == "shop").then_some(())
    })
    .await;
    assert_eq!(rig.get(&b).await.unwrap()["metadata"]["uid"], uid);
    until("the stranger's refusal", || async {
        rig.engine
            .news()
            .refusals()
            .any(|(code, _)| code == "NOT_OURS")
            .then_some(())
    })
    .await;
    assert!(rig.get(&stranger).await.is_some());
    assert!(rig.engine.news().all_gone().contains(&*a));
    // The namespace holds what others made: it stays, whatever a tombstone says.
    let guest = rig.config_map("guest", json!({}));
    let guest_id = id_of(&guest);
    assert_eq!(
        rig.rival(
            Method::PATCH,
            &guest_id,
            "?fieldManager=guest",
            APPLY,
            guest
        )
        .await,
        201
    );
    let namespace = Arc::new(ObjectId {
        group: String::new(),
        kind: "Namespace".into(),
        namespace: String::new(),
        name: rig.namespace.clone(),
    });
    rig.remove(&namespace);
    rig.push();
    until("the namespace's refusal", || async {
        rig.engine
            .news()
            .refusals()
            .any(|(code, _)| code == "NAMESPACE_IN_USE")
            .then_some(())
    })
    .await;
    assert!(rig.get(&namespace).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_argo_cd_tracks_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("argo")).await;
    rig.namespace();
    rig.push();
    rig.applied().await;
    let mut theirs = rig.config_map("theirs", json!({"x": "argo"}));
    theirs["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "a:b".into();
    assert_eq!(
        rig.rival(
            Method::PATCH,
            &id_of(&theirs),
            "?fieldManager=argocd-controller",
            APPLY,
            theirs
        )
        .await,
        201
    );
    let ours = rig.config_map("theirs", json!({"x": "ours"}));
    let id = rig.want("cart", 0, ours);
    rig.push();
    until("the report", || async {
        rig.engine
            .news()
            .refusals()
            .any(|(code, _)| code == "ARGO_TRACKED")
            .then_some(())
    })
    .await;
    assert_eq!(rig.get(&id).await.unwrap()["data"]["x"], "argo");
    assert_eq!(rig.engine.world().get(&id).unwrap().sync, Sync::ArgoTracked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_state_preempts_a_wave_that_never_becomes_healthy() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("preempt")).await;
    rig.namespace();
    let mut stuck = deployment(&rig.namespace, "stuck");
    stuck["spec"]["template"]["spec"]["nodeSelector"] = json!({"nowhere": "true"});
    let stuck = rig.want("cart", 0, stuck);
    let later = rig.config_map("later", json!({"x": "1"}));
    let later = rig.want("cart", 1, later);
    rig.push();
    until("the stuck wave", || async {
        rig.get(&stuck).await.map(|_| ())
    })
    .await;
    assert!(rig.get(&later).await.is_none());
    rig.want("cart", 0, deployment(&rig.namespace.clone(), "stuck"));
    let started = Instant::now();
    rig.push();
    let id = &stuck;
    until("the fix", || async {
        rig.get(id)
            .await?
            .pointer("/spec/template/spec/nodeSelector")
            .is_none()
            .then_some(())
    })
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    rig.applied().await;
    assert!(rig.get(&later).await.is_some());
}

/// Not a promise but a figure: how fast a thousand objects come up, and how fast one drift is healed among them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run alone"]
async fn measure_a_thousand_objects() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("bulk")).await;
    rig.namespace();
    rig.push();
    rig.applied().await;
    let mut ids = Vec::new();
    let count: usize =
        std::env::var("COUNTERSIGN_MEASURE_OBJECTS").map_or(1_000, |text| text.parse().unwrap());
    for n in 0..count {
        let map = rig.config_map(&format!("m{n}"), json!({"x": "y".repeat(800)}));
        ids.push(rig.want("bulk", 0, map));
    }
    let started = Instant::now();
    rig.push();
    rig.applied().await;
    println!("{count} objects in {:?}", started.elapsed());
    rig.objects.clear();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut took = Vec::new();
    for id in ids.iter().take(100) {
        let _ = rig.engine.news().take();
        let started = Instant::now();
        rig.rival(
            Method::PATCH,
            id,
            "?fieldManager=m",
            MERGE,
            json!({"data": {"x": "z"}}),
        )
        .await;
        let drift = rig.drift_of(id).await;
        took.push((drift.healed_after, started.elapsed()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    println!("heal: p50 {:?}, p99 {:?}", took[50], took[98]);
    let map = rig.config_map("m5", json!({"x": "changed"}));
    rig.want("bulk", 0, map);
    let started = Instant::now();
    rig.push();
    rig.applied().await;
    println!("one changed of {count}: {:?}", started.elapsed());
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("VmRSS") || line.starts_with("RssAnon"))
            .collect::<Vec<_>>()
            .join(" ")
    );
}
