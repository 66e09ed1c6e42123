//! Whom an agent believes: a trust root by its digest, those that follow it, a hub that moved, certificates that ran out.

use std::time::{Duration, Instant};

use countersign_agent::agent::StartError;
use countersign_ledger::{
    key::{FileKey, Sign as _},
    trust::SealerKey,
};
use countersign_tests::cluster::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use ring::rand::SystemRandom;

use crate::served::{Agent, Hub, NAME, authority, config_map, until, value};

const DAY: i64 = 24 * 3600;

struct Place {
    cluster: &'static Cluster,
    namespace: String,
    own: String,
    api: Api<ConfigMap>,
    data: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace().await.unwrap();
        let api = Api::namespaced(cluster.client().await.unwrap(), &namespace);
        Self {
            cluster,
            own: cluster.namespace().await.unwrap(),
            namespace,
            api,
            data: tempfile::tempdir().unwrap(),
        }
    }

    fn agent(&self, hub: &Hub, token: &str, trust: &str) -> Agent {
        let more = [("--trust", trust)];
        Agent::start_with(hub, self.cluster, self.data.path(), token, &self.own, &more)
    }

    async fn stands_at(&self, wanted: &str) {
        until(&format!("value {wanted}"), || async {
            value(&self.api, "a").await.as_deref() == Some(wanted)
        })
        .await;
    }

    fn seal(&self, hub: &Hub, value: &str) {
        hub.seal(&[config_map(&self.namespace, "a", value)], &[]);
    }

    fn certificate(&self) -> String {
        std::fs::read_to_string(self.data.path().join("keys/client.pem")).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_needs_the_trust_roots_digest_alone_and_gives_no_token_to_another_hub() {
    let place = Place::new().await;
    let hub = Hub::start().await;
    let token = hub.token().await;
    place.seal(&hub, "1");

    // A hub that serves the right document and stands under another CA.
    let mut thief = Hub::start().await;
    thief.serve_roots_of(&hub).await;
    let ended = place.agent(&thief, &token, &hub.pin()).task.await.unwrap();
    let Err(StartError::Trust { problem, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert!(problem.contains("does not stand under the CA"), "{problem}");
    // One that has no such document.
    let other = Hub::start().await;
    let ended = place.agent(&other, &token, &hub.pin()).task.await.unwrap();
    let Err(StartError::Trust { problem, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert!(
        problem.contains("no trust root of this digest"),
        "{problem}"
    );

    // The token was shown to neither: it still counts.
    let agent = place.agent(&hub, &token, &hub.pin());
    place.stands_at("1").await;
    agent.stop().await;
    // From then on the document is kept, and the hub may be away.
    let mut hub = hub;
    hub.end().await;
    let params = kube::api::DeleteParams::default();
    place.api.delete("a", &params).await.unwrap();
    let agent = place.agent(&hub, "", &hub.pin());
    place.stands_at("1").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends() {
    let place = Place::new().await;
    let hub = Hub::start().await;
    let trust = hub.folder.path().join("trust.json").display().to_string();
    // Two thirds of its life, which begins five minutes early, are over in some seconds.
    let two_thirds = (DAY + 300) / 3 * 2 - 300;
    hub.set_ahead(20 - two_thirds);
    let token = hub.token().await;
    place.seal(&hub, "1");
    let agent = place.agent(&hub, &token, &trust);
    place.stands_at("1").await;
    let first = place.certificate();
    hub.set_ahead(0);
    until("the renewal", || async {
        let now = place.certificate();
        !now.is_empty() && now != first
    })
    .await;
    place.seal(&hub, "2");
    place.stands_at("2").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ran_out_is_not_needed_to_get_another() {
    let place = Place::new().await;
    let hub = Hub::start().await;
    let trust = hub.folder.path().join("trust.json").display().to_string();
    // It has some seconds to live.
    const LEFT: i64 = 15;
    hub.set_ahead(LEFT - DAY);
    let token = hub.token().await;
    place.seal(&hub, "1");
    let agent = place.agent(&hub, &token, &trust);
    place.stands_at("1").await;
    let over = Instant::now() + Duration::from_secs(LEFT.unsigned_abs());
    agent.stop().await;
    let first = place.certificate();
    hub.set_ahead(0);
    until("its end", || async { Instant::now() > over }).await;
    place.seal(&hub, "2");
    let agent = place.agent(&hub, "", &trust);
    place.stands_at("2").await;
    assert_ne!(place.certificate(), first);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_roots_and_the_hubs_own_ca_succeed_each_other_over_the_wire() {
    let place = Place::new().await;
    let mut hub = Hub::start().await;
    let trust = hub.pin();
    let token = hub.token().await;
    place.seal(&hub, "1");
    let agent = place.agent(&hub, &token, &trust);
    place.stands_at("1").await;

    // Another sealer key: the old one counts no longer.
    let newer = FileKey::generate(&SystemRandom::new()).unwrap();
    let public = newer.public();
    hub.succeed(|root| {
        root.sealers
            .insert("prod".into(), vec![SealerKey { key: public }]);
    })
    .await;
    let older = std::mem::replace(&mut hub.sealer, newer);
    hub.seal_with(&[config_map(&place.namespace, "a", "stolen")], &[], &older);
    until("the refusal", || async {
        let text = hub
            .ask(&format!("/api/v1/clusters/{NAME}"))
            .await
            .to_string();
        text.contains("SIGNATURE_INVALID")
    })
    .await;
    // That never was; a hub that starts anew serves what is sealed.
    hub.unseal();
    hub.end().await;
    hub.come_back().await;
    place.seal(&hub, "2");
    place.stands_at("2").await;

    // Another CA: an agent that pinned the old one learns of it from a root that the old one's keys signed.
    let (key, ca, fingerprint) = authority();
    hub.move_to(key, ca);
    hub.succeed(|root| root.hub_ca = fingerprint).await;
    place.seal(&hub, "3");
    place.stands_at("3").await;
    agent.stop().await;

    // Both steps at once, from the digest of the first root, with nothing kept but the keys.
    for kept in ["trust", "blobs"] {
        std::fs::remove_dir_all(place.data.path().join(kept)).unwrap();
    }
    std::fs::remove_file(place.data.path().join("state.json")).unwrap();
    place.seal(&hub, "4");
    let agent = place.agent(&hub, "", &trust);
    place.stands_at("4").await;
    agent.stop().await;
}
