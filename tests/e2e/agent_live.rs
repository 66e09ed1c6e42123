//! The agent's engine on a real API server: applied, healed, pruned, left alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_agent::health::Status;
use countersign_agent::world::Sync;
use countersign_ledger::identity::ObjectId;
use http::Method;
use serde_json::{Value, json};

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
async fn every_row_of_the_drift_table_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("drift")).await;
    rig.namespace();
    let namespace = rig.namespace.clone();
    // One object a row or two: fights are another test's subject.
    let mut maps = Vec::new();
    for n in 0..9 {
        let map = rig.config_map(&format!("map-{n}"), json!({"a": "1", "b": "2"}));
        maps.push(rig.want("cart", 0, map));
    }
    let mut maps = maps.into_iter();
    let mut map = || maps.next().unwrap();
    let web = rig.want("cart", 0, deployment(&namespace, "web"));
    let api = rig.want("cart", 0, deployment(&namespace, "api"));
    let secret = rig.want("cart", 0, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "data": {"k": "Y2FuYXJ5"}}));
    let service = rig.want("cart", 0, json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": namespace}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}));
    rig.push();
    rig.applied().await;
    let container = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    let strategic = "application/strategic-merge-patch+json";
    // Name, object, method, query, content type, body.
    type Row<'a> = (&'a str, Arc<ObjectId>, Method, &'a str, &'static str, Value);
    let mut rows: Vec<Row<'_>> = vec![
        (
            "image",
            Arc::clone(&web),
            Method::PATCH,
            "?fieldManager=m",
            strategic,
            container("other"),
        ),
        (
            "replicas",
            Arc::clone(&web),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"spec": {"replicas": 7}}),
        ),
        (
            "args",
            Arc::clone(&api),
            Method::PATCH,
            "?fieldManager=m",
            strategic,
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "args": ["a", "b"]}]}}}}),
        ),
        (
            "env removed",
            Arc::clone(&api),
            Method::PATCH,
            "?fieldManager=m",
            strategic,
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "B", "$patch": "delete"}]}]}}}}),
        ),
        (
            "key changed",
            map(),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"data": {"a": "x"}}),
        ),
        (
            "key removed",
            map(),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"data": {"a": null}}),
        ),
        (
            "label removed",
            map(),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"metadata": {"labels": null}}),
        ),
        (
            "secret data",
            Arc::clone(&secret),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"data": {"k": "eA=="}}),
        ),
        (
            "secret stringData",
            Arc::clone(&secret),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"stringData": {"k": "x"}}),
        ),
        (
            "service port",
            Arc::clone(&service),
            Method::PATCH,
            "?fieldManager=m",
            strategic,
            json!({"spec": {"ports": [{"port": 80, "targetPort": 9090}]}}),
        ),
        (
            "atomic map",
            Arc::clone(&service),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"spec": {"selector": {"x": "y"}}}),
        ),
        (
            "managers wiped",
            map(),
            Method::PATCH,
            "?fieldManager=m",
            MERGE,
            json!({"metadata": {"managedFields": [{}]}, "data": {"a": "y"}}),
        ),
        (
            "own name, update",
            map(),
            Method::PATCH,
            "?fieldManager=countersign",
            MERGE,
            json!({"data": {"a": "z"}}),
        ),
        (
            "deleted",
            map(),
            Method::DELETE,
            "",
            "application/json",
            json!({}),
        ),
    ];
    for (row, query) in [
        ("another's apply", "?fieldManager=m&force=true"),
        ("own name, apply", "?fieldManager=countersign&force=true"),
    ] {
        let id = map();
        let mut other = rig.objects[&*id].clone();
        other["data"]["a"] = "applied".into();
        rows.push((row, id, Method::PATCH, query, APPLY, other));
    }
    let mut slowest = Duration::ZERO;
    for (row, id, method, query, content, body) in rows {
        let _ = rig.engine.news().take();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let started = Instant::now();
        let status = rig.rival(method, &id, query, content, body).await;
        assert_eq!(status, 200, "{row}");
        let drift = rig.drift_of(&id).await;
        let took = started.elapsed();
        println!(
            "{row}: {} by {:?} at {:?} patch {} after {} ms ({took:?})",
            drift.what, drift.managers, drift.paths, drift.patch, drift.healed_after
        );
        assert!(
            drift.healed && !drift.patch.contains("canary") && !drift.patch.contains("Y2FuYXJ5"),
            "{row}"
        );
        if row != "own name, apply" {
            slowest = slowest.max(took);
        }
        let live = rig.get(&id).await.expect(row);
        let desired = &rig.objects[&*id];
        assert_eq!(
            countersign_agent::watch::difference::patch(desired, &live),
            None,
            "{row}"
        );
    }
    println!("slowest: {slowest:?}");
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
async fn drift_made_while_the_agent_was_away_is_healed_after_start() {
    let dir = tempfile::tempdir().unwrap();
    let namespace = unique("away");
    let (ids, desired) = {
        let mut rig = rig(dir.path(), &namespace).await;
        rig.namespace();
        let maps: Vec<Value> = (0..3)
            .map(|n| rig.config_map(&format!("m{n}"), json!({"x": "1"})))
            .collect();
        let ids: Vec<_> = maps
            .into_iter()
            .map(|map| rig.want("cart", 0, map))
            .collect();
        rig.push();
        rig.applied().await;
        (ids, rig.desired.clone())
    };
    let mut rig = rig(dir.path(), &namespace).await;
    rig.engine.discover().await.unwrap();
    rig.rival(
        Method::PATCH,
        &ids[0],
        "?fieldManager=m",
        MERGE,
        json!({"data": {"x": "2"}}),
    )
    .await;
    rig.rival(Method::DELETE, &ids[1], "", "application/json", json!({}))
        .await;
    let started = Instant::now();
    rig.desired = desired;
    rig.desired.generation -= 1;
    rig.push();
    rig.applied().await;
    for id in &ids {
        until("healed", || async {
            (rig.get(id).await?["data"]["x"] == "1").then_some(())
        })
        .await;
    }
    println!("healed {:?} after start", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_app_loses_what_others_add_and_another_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("added")).await;
    rig.namespace();
    let (open, closed) = (
        rig.config_map("open", json!({"x": "1"})),
        rig.config_map("closed", json!({"x": "1"})),
    );
    let (open, closed) = (rig.want("open", 0, open), rig.want("closed", 0, closed));
    rig.app("closed").exclusive = true;
    rig.push();
    rig.applied().await;
    for id in [&open, &closed] {
        assert_eq!(
            rig.rival(
                Method::PATCH,
                id,
                "?fieldManager=mallory",
                MERGE,
                json!({"data": {"extra": "1"}})
            )
            .await,
            200
        );
        let drift = rig.drift_of(id).await;
        assert_eq!(
            (
                drift.what,
                drift.managers.as_slice(),
                drift.paths.as_slice()
            ),
            (
                "added",
                ["mallory".to_owned()].as_slice(),
                [".data.extra".to_owned()].as_slice()
            )
        );
        assert_eq!(drift.healed, id == &closed);
    }
    assert_eq!(rig.get(&open).await.unwrap()["data"]["extra"], "1");
    assert_eq!(rig.get(&closed).await.unwrap()["data"], json!({"x": "1"}));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_that_fights_is_named_and_yielded_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("fight")).await;
    rig.namespace();
    let map = rig.config_map("map", json!({"x": "1"}));
    let id = rig.want("cart", 0, map);
    rig.push();
    rig.applied().await;
    for round in 0..40 {
        let data = json!({"data": {"x": format!("rival {round}")}});
        rig.rival(
            Method::PATCH,
            &id,
            "?fieldManager=rival-controller",
            MERGE,
            data,
        )
        .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("the yielding", || async {
        let world = rig.engine.world();
        let object = world.get(&id).unwrap();
        (object.sync == Sync::Contested && object.rival.as_deref() == Some("rival-controller"))
            .then_some(())
    })
    .await;
    let healed = rig.drifts().len();
    assert!((3..=4).contains(&healed), "healed {healed} times");
    let news = rig.engine.news();
    let (_, refusal) = news
        .refusals()
        .find(|(code, _)| *code == "CONTESTED")
        .unwrap();
    assert!(refusal.message.contains("rival-controller"));
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
