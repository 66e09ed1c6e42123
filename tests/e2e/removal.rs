//! What leaves Git: deleted by a tombstone, moved without being recreated, or kept as an orphan.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};

use crate::fixture::{Stand, config_map, plain_app};

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_deletes_its_object_and_nothing_else() {
    let stand = Stand::new(&[
        ("clusters/one/a.yaml", &config_map("a", "v", "1")),
        ("clusters/one/b.yaml", &config_map("b", "v", "1")),
        ("clusters/one/c.yaml", &config_map("c", "v", "1")),
    ])
    .await;
    // A stranger's object that wears our label is not ours.
    let stranger = ConfigMap {
        metadata: ObjectMeta {
            name: Some("stranger".to_owned()),
            labels: Some([("countersign.dev/app".to_owned(), "one".to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let api = stand.config_maps("default");
    api.create(&PostParams::default(), &stranger).await.unwrap();
    let kept = stand.uid("default", "b").await;

    stand.remove("clusters/one/a.yaml").await;
    assert!(
        api.get_opt("a").await.unwrap().is_none(),
        "the tombstone's object is gone"
    );
    assert_eq!(stand.uid("default", "b").await, kept);
    assert!(api.get_opt("stranger").await.unwrap().is_some());

    // Wanted again, it comes back.
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_and_renaming_recreate_nothing_and_leaving_a_selection_deletes_nothing() {
    let stand = Stand::new(&[
        ("clusters/left.yaml", &plain_app("left", "apps/left")),
        ("clusters/right.yaml", &plain_app("right", "apps/right")),
        ("apps/left/a.yaml", &config_map("a", "v", "1")),
        ("apps/left/stays.yaml", &config_map("stays-left", "v", "1")),
        (
            "apps/right/stays.yaml",
            &config_map("stays-right", "v", "1"),
        ),
    ])
    .await;
    let (moved, left) = (
        stand.uid("default", "a").await,
        stand.uid("default", "stays-left").await,
    );

    // Between apps.
    stand.world.repo.remove("apps/left/a.yaml").unwrap();
    stand
        .push(&[("apps/right/a.yaml", &config_map("a", "v", "1"))])
        .await;
    assert_eq!(
        stand.uid("default", "a").await,
        moved,
        "moved, not recreated"
    );
    assert_eq!(app_label(&stand, "a").await.as_deref(), Some("right"));

    // The app gets another name.
    stand.world.repo.remove("clusters/left.yaml").unwrap();
    stand
        .push(&[("clusters/west.yaml", &plain_app("west", "apps/left"))])
        .await;
    assert_eq!(
        stand.uid("default", "stays-left").await,
        left,
        "renamed, not recreated"
    );
    assert_eq!(
        app_label(&stand, "stays-left").await.as_deref(),
        Some("west")
    );

    // The app no longer chooses the cluster: an orphan, kept.
    let elsewhere = format!(
        "{}  clusters:\n    matchLabels:\n      env: production\n",
        plain_app("right", "apps/right")
    );
    stand.push(&[("clusters/right.yaml", &elsewhere)]).await;
    assert_eq!(stand.uid("default", "a").await, moved, "kept");

    // And an App document that is gone keeps its objects too.
    stand.remove("clusters/west.yaml").await;
    assert_eq!(stand.uid("default", "stays-left").await, left, "kept");
}

async fn app_label(stand: &Stand, name: &str) -> Option<String> {
    let found = stand.config_maps("default").get(name).await.unwrap();
    found.metadata.labels?.get("countersign.dev/app").cloned()
}
