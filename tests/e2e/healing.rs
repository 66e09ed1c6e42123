//! Drift: found by watch, healed at once, recorded with who and what, and no Secret in any record.

use std::time::Duration;

use countersign_fleet::api::{Drift, DriftKind};
use countersign_tests::until;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::fixture::{Stand, config_map};

const LIMIT: Duration = Duration::from_secs(60);
const RIVAL: &str = "rival";

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  selector:\n    matchLabels:\n      app: web\n  template:\n    metadata:\n      labels:\n        app: web\n    spec:\n      containers:\n        - name: web\n          image: registry.example/web:1\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_or_deleted_behind_gits_back_is_put_back_and_recorded() {
    let stand = Stand::new(&[
        ("clusters/one/a.yaml", &config_map("a", "v", "1")),
        ("clusters/one/gone.yaml", &config_map("gone", "v", "1")),
        ("clusters/one/web.yaml", DEPLOYMENT),
    ])
    .await;
    let maps = stand.config_maps("default");
    let web = Api::<Deployment>::namespaced(stand.client.clone(), "default");

    maps.patch(
        "a",
        &rival(),
        &Patch::Merge(json!({"data": {"v": "hacked"}})),
    )
    .await
    .unwrap();
    back(&stand, "a").await;
    let drift = recorded(&stand, "a").await;
    assert_eq!(drift.what, DriftKind::Changed);
    assert_eq!(drift.managers, [RIVAL]);
    assert!(
        drift.paths.iter().any(|path| path.contains("data")),
        "{:?}",
        drift.paths
    );

    web.patch(
        "web",
        &rival(),
        &Patch::Merge(json!({"spec": {"replicas": 5}})),
    )
    .await
    .unwrap();
    until("the replicas are back", LIMIT, async || {
        web.get("web").await.unwrap().spec.unwrap().replicas == Some(1)
    })
    .await;

    maps.delete("gone", &DeleteParams::default()).await.unwrap();
    back(&stand, "gone").await;
    assert_eq!(recorded(&stand, "gone").await.what, DriftKind::Deleted);

    // The label that the agent watches by is a field like any other.
    let unlabel = json!({"metadata": {"labels": {"countersign.dev/app": null}}});
    maps.patch("a", &rival(), &Patch::Merge(unlabel))
        .await
        .unwrap();
    until("the label is back", LIMIT, async || {
        let found = maps.get("a").await.unwrap();
        found
            .metadata
            .labels
            .unwrap_or_default()
            .contains_key("countersign.dev/app")
    })
    .await;

    // What somebody adds beside ours stays.
    maps.patch(
        "a",
        &rival(),
        &Patch::Merge(json!({"data": {"theirs": "stays"}})),
    )
    .await
    .unwrap();
    maps.patch(
        "a",
        &rival(),
        &Patch::Merge(json!({"data": {"v": "again"}})),
    )
    .await
    .unwrap();
    back(&stand, "a").await;
    assert_eq!(
        stand.value("default", "a", "theirs").await.as_deref(),
        Some("stays")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_made_while_the_agent_was_down_is_healed_when_it_starts() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    stand.agent.process.kill().unwrap();
    let maps = stand.config_maps("default");
    maps.patch(
        "a",
        &rival(),
        &Patch::Merge(json!({"data": {"v": "hacked"}})),
    )
    .await
    .unwrap();
    stand.agent.restart().unwrap();
    back(&stand, "a").await;
}

/// A chart renders a Secret: it travels encrypted, is healed like the rest, and its value is nowhere but in the cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_charts_secret_is_applied_healed_and_written_nowhere() {
    const CANARY: &str = "canary-4b1d-of-the-vault";
    let template = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: vault\nstringData:\n  password: {CANARY}\n"
    );
    let stand = Stand::new(&[
        (
            "clusters/bank.yaml",
            &crate::fixture::plain_app("bank", "bank"),
        ),
        (
            "bank/Chart.yaml",
            "apiVersion: v2\nname: bank\nversion: 0.1.0\n",
        ),
        ("bank/templates/secret.yaml", &template),
    ])
    .await;
    let secrets = Api::<Secret>::namespaced(stand.client.clone(), "default");
    let password = async || {
        secrets.get("vault").await.unwrap().data.unwrap()["password"]
            .0
            .clone()
    };
    assert_eq!(password().await, CANARY.as_bytes());

    secrets
        .patch(
            "vault",
            &rival(),
            &Patch::Merge(json!({"stringData": {"password": "hacked"}})),
        )
        .await
        .unwrap();
    until("the secret is back", LIMIT, async || {
        password().await == CANARY.as_bytes()
    })
    .await;
    let drift = recorded(&stand, "vault").await;
    assert_eq!(drift.patch, None, "no patch of a Secret");

    let shown = [
        stand.world.hub.process.log(),
        stand.agent.process.log(),
        stand
            .world
            .operator
            .get::<Value>("drifts")
            .await
            .unwrap()
            .to_string(),
        stand
            .world
            .operator
            .get::<Value>("clusters/one/objects")
            .await
            .unwrap()
            .to_string(),
    ];
    for text in shown {
        assert_nowhere(text.as_bytes(), CANARY);
    }
    for folder in [stand.world.hub.data().join("store"), stand.agent.data()] {
        each_file(&folder, &mut |bytes| assert_nowhere(bytes, CANARY));
    }
}

fn assert_nowhere(bytes: &[u8], canary: &str) {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(canary);
    for needle in [canary, encoded.trim_end_matches('=')] {
        let found = bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes());
        assert!(
            !found,
            "the secret's value is in {}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(400)])
        );
    }
}

fn each_file(folder: &std::path::Path, look: &mut impl FnMut(&[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, look);
        } else if path.is_file() {
            look(&std::fs::read(&path).unwrap());
        }
    }
}

fn rival() -> PatchParams {
    PatchParams {
        field_manager: Some(RIVAL.to_owned()),
        ..PatchParams::default()
    }
}

async fn back(stand: &Stand, name: &str) {
    until(&format!("{name} is back"), LIMIT, async || {
        let seen = stand.value("default", name, "v").await;
        if seen.as_deref() == Some("1") {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
}

async fn recorded(stand: &Stand, name: &str) -> Drift {
    until(
        &format!("the drift of {name} is recorded as healed"),
        LIMIT,
        async || {
            let drifts = stand.world.operator.drifts().await?.drifts;
            drifts
                .iter()
                .find(|drift| drift.id.name == name && drift.healed)
                .cloned()
                .ok_or_else(|| anyhow::anyhow!("{drifts:?}"))
        },
    )
    .await
}
