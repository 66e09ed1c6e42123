//! How an agent sees what was changed where the usual way is closed: no streaming lists, a lie in an answer.

use std::time::Duration;

use countersign_agent::engine::Settings;
use countersign_agent::watch::ownership;
use countersign_agent::world::Sync;
use countersign_tests::cluster::{Cluster, Options};
use http::Method;
use serde_json::json;

use crate::rig::{MERGE, rig_on, unique, until};

#[tokio::test(flavor = "multi_thread")]
async fn without_streaming_lists_the_agent_lists_in_pages_and_heals_all_the_same() {
    let cluster = Cluster::start(Options {
        nodes: vec![],
        apiserver_args: vec!["--feature-gates=WatchList=false".to_owned()],
        ..Options::default()
    })
    .await
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let namespace = unique("pages");
    let (changed, deleted, desired) = {
        let mut rig = rig_on(&cluster, dir.path(), &namespace, Settings::default()).await;
        rig.namespace();
        let maps: Vec<_> = ["changed", "deleted"]
            .map(|name| rig.config_map(name, json!({"x": "1"})))
            .into_iter()
            .map(|map| rig.want("cart", 0, map))
            .collect();
        rig.push();
        rig.applied().await;
        let body = json!({"data": {"x": "2"}});
        rig.rival(Method::PATCH, &maps[0], "?fieldManager=m", MERGE, body)
            .await;
        assert!(rig.drift_of(&maps[0]).await.healed);
        (maps[0].clone(), maps[1].clone(), rig.desired.clone())
    };
    // What happens while it is away is seen by the list alone.
    let mut rig = rig_on(&cluster, dir.path(), &namespace, Settings::default()).await;
    let body = json!({"data": {"x": "3"}});
    rig.rival(Method::PATCH, &changed, "?fieldManager=m", MERGE, body)
        .await;
    rig.rival(Method::DELETE, &deleted, "", "application/json", json!({}))
        .await;
    rig.desired = desired;
    rig.push();
    for id in [&changed, &deleted] {
        until("the healing", || async {
            (rig.get(id).await?["data"]["x"] == "1").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_regular_full_compare_finds_what_no_event_told() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        compare_every: Duration::from_secs(2),
        ..Settings::default()
    };
    let cluster = Cluster::shared().await.unwrap();
    let mut rig = rig_on(cluster, dir.path(), &unique("compare"), settings).await;
    rig.namespace();
    let map = rig.config_map("map", json!({"x": "1"}));
    let id = rig.want("cart", 0, map);
    rig.push();
    rig.applied().await;
    // A change that the agent is made to believe its own: events of it are older than what it then expects.
    let blob = rig.desired.objects.get(&id).unwrap().blob;
    until("its turn", || async {
        rig.engine.world().begin_write(&id).then_some(())
    })
    .await;
    let body = json!({"data": {"x": "2"}});
    rig.rival(Method::PATCH, &id, "?fieldManager=m", MERGE, body)
        .await;
    let bytes = serde_json::to_vec(&rig.get(&id).await.unwrap()).unwrap();
    let seen = ownership::meta(&bytes).unwrap().seen();
    rig.engine.world().end_write(
        &id,
        blob,
        Ok(seen),
        countersign_agent::clock::unix(),
        std::time::Instant::now(),
    );
    assert_eq!(rig.engine.world().get(&id).unwrap().sync, Sync::Synced);
    until("the compare", || async {
        (rig.get(&id).await?["data"]["x"] == "1").then_some(())
    })
    .await;
    assert_eq!(rig.drift_of(&id).await.what, "changed");
}
