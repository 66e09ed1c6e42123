//! What others change, delete or add behind the agent's back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_agent::world::Sync;
use countersign_ledger::identity::ObjectId;
use http::Method;
use serde_json::{Value, json};

use crate::rig::{APPLY, MERGE, deployment, rig, unique, until};

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
