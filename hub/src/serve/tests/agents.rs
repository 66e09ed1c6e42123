//! What an agent meets, from its join token on.

use bytes::Bytes;
use countersign_proto::agent::v1 as wire;
use tonic::Code;

use super::support::{Agent, Hub, code, envelope};
use crate::serve::Stopped;
use countersign_ledger::digest::Digest;

fn from(generation: u64, cluster: &str) -> wire::HeadsRequest {
    let at =
        |generation| Bytes::copy_from_slice(Digest::of(&envelope(cluster, generation)).as_bytes());
    wire::HeadsRequest {
        generation,
        envelope: if generation == 0 {
            Bytes::new()
        } else {
            at(generation)
        },
        tree_size: 0,
        authored_commit: String::new(),
    }
}

#[tokio::test]
async fn a_joined_agent_gets_its_chain_then_each_new_head_at_once() {
    let hub = Hub::start().await;
    hub.seal("metal", "one");
    hub.seal("metal", "two");
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let mut heads = client.heads(from(0, "metal")).await.unwrap().into_inner();
    let first = heads.message().await.unwrap().unwrap();
    assert_eq!(
        first.envelopes,
        [envelope("metal", 1), envelope("metal", 2)]
    );
    assert!(!first.more);
    hub.seal("eks", "not for this cluster");
    hub.seal("metal", "three");
    let next = heads.message().await.unwrap().unwrap();
    assert_eq!(next.envelopes, [envelope("metal", 3)]);
}

#[tokio::test]
async fn blobs_come_in_the_order_asked_for_and_only_to_the_cluster_that_they_are_for() {
    let hub = Hub::start().await;
    let names: Vec<_> = (0..3)
        .map(|n| hub.seal("metal", &format!("blob {n}")))
        .collect();
    let foreign = hub.seal("eks", "a secret of eks");
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let ask = |names: &[Digest]| wire::BlobsRequest {
        digests: names
            .iter()
            .map(|name| Bytes::copy_from_slice(name.as_bytes()))
            .collect(),
    };
    let wanted = [names[2], names[0], names[1]];
    let mut blobs = client.blobs(ask(&wanted)).await.unwrap().into_inner();
    let mut got = Vec::new();
    while let Some(blob) = blobs.message().await.unwrap() {
        assert_eq!(blob.digest.as_ref(), Digest::of(&blob.content).as_bytes());
        got.push(blob.content);
    }
    assert_eq!(got, ["blob 2", "blob 0", "blob 1"]);
    let refused = client.blobs(ask(&[names[0], foreign])).await.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::FailedPrecondition, "BLOB_NOT_NAMED")
    );
    let too_many = client.blobs(ask(&[names[0]; 1025])).await.unwrap_err();
    assert_eq!(too_many.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_blob_that_the_store_holds_damaged_is_never_served() {
    let hub = Hub::start().await;
    let name = hub.seal("metal", "good");
    hub.damage(name);
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let request = wire::BlobsRequest {
        digests: vec![Bytes::copy_from_slice(name.as_bytes())],
    };
    let mut blobs = client.blobs(request).await.unwrap().into_inner();
    let refused = blobs.message().await.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::DataLoss, "BLOB_DAMAGED")
    );
    assert_eq!(hub.state.alarms()[0].code, "BLOB_DAMAGED");
}

#[tokio::test]
async fn registering_hands_out_the_trust_roots_and_the_recipient_is_known_to_the_pipeline() {
    let hub = Hub::start().await;
    let mut agent = Agent::new("metal");
    assert_eq!(hub.state.recipient("metal"), None);
    let token = hub.join_token("metal", false).await;
    let answer = agent.register(&hub, &token).await.unwrap();
    assert_eq!(answer.trust_roots, ["root 1", "root 2"]);
    assert!(hub.state.recipient("metal").unwrap().starts_with("age1"));
    let mut client = hub.connect(agent.identity()).await;
    let above = client
        .trust_roots(wire::TrustRootsRequest { above_version: 1 })
        .await
        .unwrap();
    assert_eq!(above.into_inner().trust_roots, ["root 2"]);
    agent
        .register(&hub, &token)
        .await
        .expect("the same key may ask again when its answer was lost");
}

#[tokio::test]
async fn trust_roots_are_public_and_nothing_else_is() {
    let hub = Hub::start().await;
    let channel = hub.channel(None).await.unwrap();
    let mut client = wire::agents_client::AgentsClient::new(channel);
    let all = client
        .trust_roots(wire::TrustRootsRequest { above_version: 0 })
        .await
        .unwrap();
    assert_eq!(all.into_inner().trust_roots, ["root 1", "root 2"]);
    let refused = client.heads(from(0, "metal")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_second_key_is_refused_and_both_sides_are_told() {
    let hub = Hub::start().await;
    let first = hub.join_token("metal", false).await;
    let other = hub.join_token("metal", false).await;
    Agent::new("metal").register(&hub, &first).await.unwrap();
    let mut second = Agent::new("metal");
    let used = second.register(&hub, &first).await.unwrap_err();
    assert_eq!(
        (used.code(), code(&used)),
        (Code::Unauthenticated, "TOKEN_REFUSED")
    );
    let refused = second.register(&hub, &other).await.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::PermissionDenied, "SECOND_KEY")
    );
    let shown = crate::serve::views::cluster(&hub.state, "metal").unwrap();
    assert_eq!(shown.alarm_list[0].code, "SECOND_KEY");
}

#[tokio::test]
async fn one_kubernetes_cluster_can_not_register_under_two_names() {
    let hub = Hub::start().await;
    let (first, _) = Agent::joined(&hub, "metal").await;
    let mut twin = Agent::new("eks");
    twin.uid = first.uid;
    let token = hub.join_token("eks", false).await;
    let refused = twin.register(&hub, &token).await.unwrap_err();
    assert_eq!(code(&refused), "SECOND_NAME");
}

#[tokio::test]
async fn a_replaced_agent_loses_its_stream_and_its_calls_and_the_new_one_gets_them() {
    let hub = Hub::start().await;
    hub.seal("metal", "one");
    let (_, mut old) = Agent::joined(&hub, "metal").await;
    let mut heads = old.heads(from(0, "metal")).await.unwrap().into_inner();
    heads.message().await.unwrap().unwrap();
    let mut new = Agent::new("metal");
    let token = hub.join_token("metal", true).await;
    new.register(&hub, &token).await.unwrap();
    let ended = heads.message().await.unwrap_err();
    assert_eq!(
        (ended.code(), code(&ended)),
        (Code::Unauthenticated, "CERTIFICATE_ENDED")
    );
    let refused = old
        .report(wire::ReportRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut client = hub.connect(new.identity()).await;
    assert!(
        client
            .heads(from(1, "metal"))
            .await
            .unwrap()
            .into_inner()
            .message()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_certificate_that_ran_out_counts_no_longer_and_the_receipt_key_gets_a_new_one() {
    let hub = Hub::start().await;
    let (mut agent, mut client) = Agent::joined(&hub, "metal").await;
    client.report(wire::ReportRequest::default()).await.unwrap();
    hub.pass(24 * 3600 + 1);
    let refused = client
        .report(wire::ReportRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        refused.code(),
        Code::Unauthenticated,
        "the connection stayed open, the certificate did not count"
    );
    agent.renew(&hub).await.unwrap();
    let mut client = hub.connect(agent.identity()).await;
    client.report(wire::ReportRequest::default()).await.unwrap();
    let mut thief = Agent::new("metal");
    let refused = thief.renew(&hub).await.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::Unauthenticated, "KEY_UNKNOWN")
    );
}

#[tokio::test]
async fn a_report_is_shown_and_after_a_restart_of_the_hub_asked_for_in_full() {
    let hub = Hub::start().await;
    hub.seal("metal", "one");
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let gone = wire::Identity {
        kind: "ConfigMap".into(),
        namespace: "shop".into(),
        name: "old".into(),
        ..wire::Identity::default()
    };
    let report = |sequence, full| wire::ReportRequest {
        sequence,
        full,
        time: i64::try_from(sequence).unwrap(),
        generation_verified: 1,
        generation_applied: 1,
        apps: vec![wire::AppStatus {
            name: "cart".into(),
            sync: "Synced".into(),
            health: "Degraded".into(),
            message: "image not found".into(),
            objects: 4,
            ..wire::AppStatus::default()
        }],
        gone: vec![gone.clone()],
        agent_version: "0.1.0".into(),
        ..wire::ReportRequest::default()
    };
    let mut watch = hub.state.watch_gone();
    assert!(
        client
            .report(report(7, false))
            .await
            .unwrap()
            .into_inner()
            .send_full
    );
    assert!(
        !client
            .report(report(8, true))
            .await
            .unwrap()
            .into_inner()
            .send_full
    );
    let shown = crate::serve::views::fleet(&hub.state);
    let metal = shown
        .clusters
        .iter()
        .find(|cluster| cluster.name == "metal")
        .unwrap();
    assert_eq!(
        (metal.health.word(), metal.message.as_str()),
        ("Degraded", "cart: image not found")
    );
    assert_eq!((metal.generation_sealed, metal.generation_applied), (1, 1));
    assert!(watch.has_changed().unwrap());
    watch.mark_unchanged();
    let taken = hub.state.gone("metal");
    assert_eq!(taken.first().unwrap().name, "old");
    hub.state.forget_gone("metal", &taken);
    assert!(hub.state.gone("metal").is_empty());
}

#[tokio::test]
async fn an_agent_that_is_ahead_of_this_hub_raises_an_alarm() {
    let hub = Hub::start().await;
    hub.seal("metal", "one");
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let mut heads = client.heads(from(9, "metal")).await.unwrap().into_inner();
    let refused = heads.message().await.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::FailedPrecondition, "AGENT_IS_AHEAD")
    );
    let shown = crate::serve::views::cluster(&hub.state, "metal").unwrap();
    assert_eq!(shown.alarm_list[0].code, "AGENT_IS_AHEAD");
}

#[tokio::test]
async fn shutting_down_ends_streams_at_once_and_drains() {
    let hub = Hub::start().await;
    hub.seal("metal", "one");
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let mut heads = client.heads(from(0, "metal")).await.unwrap().into_inner();
    heads.message().await.unwrap().unwrap();
    let watching = tokio::spawn(async move { heads.message().await });
    drop(client);
    let socket = hub.data.path().join("operator.sock");
    assert!(socket.exists());
    let kept = hub.data.path().to_owned();
    assert_eq!(hub.stop().await, Stopped::Drained);
    assert!(watching.await.unwrap().is_err());
    assert!(!kept.join("operator.sock").exists());
}

#[tokio::test]
async fn heads_wait_until_what_was_sealed_is_read() {
    let hub = Hub::start().await;
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    hub.state.set_ready(false);
    let refused = client.heads(from(0, "metal")).await.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::Unavailable, "NOT_READY")
    );
}
