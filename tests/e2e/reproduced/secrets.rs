//! Secrets at level `reproduced`: the second renderer needs an identity of its own for what SOPS encrypted, and salts from the
//! hub for all of them.

use std::{collections::BTreeMap, time::Duration};

use countersign_tests::{process::Process, until, workspace};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;

use super::level::Place;
use crate::fixture::plain_app;

const LIMIT: Duration = Duration::from_secs(90);

const CHART: &str = "apiVersion: v2\nname: wallet\nversion: 0.1.0\n";
/// A Secret that a chart renders: it stands in Git nowhere as such.
const TEMPLATE: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: wallet}\nstringData: {pin: {{ .Values.pin | quote }}}\n";

async fn data(place: &Place, name: &str) -> Option<BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(place.stand.client.clone(), "default");
    let found = secrets.get_opt(name).await.unwrap();
    found.and_then(|secret| secret.data)
}

/// Waits for a word of the second renderer.
async fn says(second: &Process, words: &[&str]) {
    until(&format!("it says {words:?}"), LIMIT, async || {
        let said = second.log();
        if words.iter().all(|word| said.contains(word)) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_sops_and_of_a_chart_go_live_once_a_second_renderer_with_an_identity_agreed() {
    let cases = workspace::root().join("fleet/src/sops/cases");
    let identity = cases.join("identity.txt");
    let encrypted = std::fs::read_to_string(cases.join("both.yaml")).unwrap();
    let hub_identity = identity.clone().into_os_string();
    let (mut place, first) = Place::with(
        0,
        &[
            ("clusters/sops.yaml", &plain_app("sops", "apps/sops")),
            ("apps/sops/both.yaml", &encrypted),
            ("clusters/wallet.yaml", &plain_app("wallet", "apps/wallet")),
            ("apps/wallet/Chart.yaml", CHART),
            ("apps/wallet/values.yaml", "pin: \"4711\"\n"),
            ("apps/wallet/templates/secret.yaml", TEMPLATE),
        ],
        |options| options.args(["--age-identity".into(), hub_identity]),
    )
    .await;

    // Without an identity it says so by name, and agrees to no state with such a Secret.
    let mut second = place.start();
    says(
        &second,
        &[
            "open  one generation ",
            "SECRET_ENCRYPTED",
            "--age-identity",
        ],
    )
    .await;
    assert_eq!(data(&place, "zebra").await, None);
    second.kill().unwrap();

    place.second = place.second.clone().arg("--age-identity").arg(&identity);
    let mut second = place.start();
    place.live(&first, "1").await;
    let zebra = data(&place, "zebra").await.unwrap();
    assert_eq!(zebra["password"].0, "hunter2, ü\n".as_bytes());
    let wallet = data(&place, "wallet").await.unwrap();
    assert_eq!(wallet["pin"].0, b"4711");

    // They change with nothing; the next state is agreed to with them.
    let next = place.push("2");
    place.live(&next, "2").await;
    let said = second.log();
    assert!(!said.contains("DISAGREES"), "{said}");
    for plain in ["hunter2", "4711"] {
        assert!(!said.contains(plain), "{said}");
        assert!(!place.stand.world.hub.process.log().contains(plain));
    }
    second.kill().unwrap();
}
