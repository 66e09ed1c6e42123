//! A root whose keys the hub does not have yet.

use countersign_tests::until;
use serde_json::{Value, json};

use super::{Ci, LIMIT};
use crate::fixture::config_map;

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_whose_key_is_not_there_waits_and_the_others_go_on() {
    let ci = Ci::start(|options| options).await;
    let elsewhere = ci.path("sealer-late.key");
    let document = ci.world.trust.document();
    let made = ci
        .publish(&[
            &[
                "add",
                "sealer",
                "--environment",
                "late",
                "--generate",
                elsewhere.to_str().unwrap(),
            ],
            &["add", "cluster", "two=late"],
        ])
        .await;
    assert_eq!(made.code, Some(0), "{made:?}\n{}", document.display());
    ci.under(2).await;
    let alarms = || async {
        let fleet = ci.world.operator.fleet().await.unwrap();
        let mut codes = fleet.alarms.iter().map(|alarm| alarm.code.clone());
        codes.any(|code| code == "SEALER_KEY_MISSING")
    };
    assert!(alarms().await);
    // The other environment is sealed for under the new root.
    ci.world
        .repo
        .commit_files(
            &[("clusters/one/a.yaml", &config_map("a", "v", "2"))],
            "more",
        )
        .unwrap();
    ci.world.repo.push(&ci.world.bare).unwrap();
    let _: Value = ci.world.operator.post("sync", &json!({})).await.unwrap();
    until(
        "cluster one is sealed for under the new root",
        LIMIT,
        async || {
            let cluster = ci.world.operator.cluster("one").await;
            let cluster = cluster.map_err(|error| format!("{error:#}"))?;
            let text = serde_json::to_string(&cluster).unwrap();
            match serde_json::to_value(&cluster).unwrap()["generationSealed"].as_u64() {
                Some(generation) if generation >= 2 => Ok(()),
                _ => Err(text),
            }
        },
    )
    .await;

    let place = ci.world.trust.hub_keys().join("sealer-late.key");
    std::fs::rename(&elsewhere, &place).unwrap();
    until(
        "the key is found without a restart",
        LIMIT,
        async || match ci.world.operator.fleet().await {
            Ok(fleet) if fleet.alarms.is_empty() => Ok(()),
            Ok(fleet) => Err(format!("{:?}", fleet.alarms)),
            Err(error) => Err(format!("{error:#}")),
        },
    )
    .await;

    // A root that the threshold did not sign is not taken.
    let forged = ci.path("forged.json");
    let text = std::fs::read_to_string(ci.world.trust.path().join("trust.next.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["signatures"] = json!([]);
    std::fs::write(&forged, value.to_string()).unwrap();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let answer = client
        .post(format!("{}/log/trust", ci.world.hub.agents_url()))
        .body(std::fs::read(&forged).unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
}
