//! Beside Argo CD: what it tracks is never touched, and said so.

use std::time::Duration;

use countersign_tests::until;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::fixture::{ONE, Stand, config_map};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_argo_cd_tracks_is_neither_applied_healed_nor_deleted() {
    let stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let maps = stand.config_maps("default");
    let tracked = ConfigMap {
        metadata: ObjectMeta {
            name: Some("theirs".to_owned()),
            annotations: Some(
                [(
                    "argocd.argoproj.io/tracking-id".to_owned(),
                    "shop:/ConfigMap:default/theirs".to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some([("v".to_owned(), "argo's".to_owned())].into()),
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &tracked).await.unwrap();

    // Git wants it too: reported, not fought over.
    stand
        .world
        .push_files(
            &[(
                "clusters/one/theirs.yaml",
                &config_map("theirs", "v", "ours"),
            )],
            "a second writer",
        )
        .unwrap();
    until("the agent reports it", LIMIT, async || {
        let objects = stand.world.operator.objects(ONE).await?.objects;
        let told = objects
            .iter()
            .any(|object| object.id.name == "theirs" && object.message.contains("Argo"));
        anyhow::ensure!(told, "{objects:?}");
        Ok(())
    })
    .await;
    assert_eq!(
        stand.value("default", "theirs", "v").await.as_deref(),
        Some("argo's")
    );

    // The rest is kept in line meanwhile.
    let patch = Patch::Merge(json!({"data": {"v": "hacked"}}));
    maps.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    until("a is healed", LIMIT, async || {
        stand.value("default", "a", "v").await.as_deref() == Some("1")
    })
    .await;

    stand.world.repo.remove("clusters/one/theirs.yaml").unwrap();
    let commit = stand.world.push("gone from Git").unwrap();
    until("the commit is processed", LIMIT, async || {
        let fleet = stand.world.operator.fleet().await?;
        anyhow::ensure!(
            fleet
                .source
                .commit
                .as_ref()
                .is_some_and(|seen| seen.id == commit),
            "{:?}",
            fleet.source
        );
        let cluster = stand.world.operator.cluster(ONE).await?;
        anyhow::ensure!(
            cluster.summary.generation_applied == cluster.summary.generation_sealed,
            "{:?}",
            cluster.summary
        );
        Ok(())
    })
    .await;
    assert_eq!(
        stand.value("default", "theirs", "v").await.as_deref(),
        Some("argo's"),
        "not deleted"
    );
}
