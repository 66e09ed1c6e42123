//! From a join token to a key in the log, and out of it again.

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{self, Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::statement::enrolment::Method;
use countersign_ledger::statement::{Enrolment, Statement};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::{merkle, note};
use countersign_proto::agent::v1 as wire;
use countersign_proto::agent::v1::agents_client::AgentsClient;
use ring::signature::Ed25519KeyPair;
use tonic::Code;
use tonic::transport::Channel;

use super::support::{Agent, Hub, agent_ca, code};

fn signature(agent: &Agent, payload: &[u8]) -> Bytes {
    let der = agent.key.serialize_der();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    let message = dsse::pae(PAYLOAD_TYPE, payload);
    Bytes::copy_from_slice(pair.sign(&message).as_ref())
}

fn key(agent: &Agent) -> PublicKey {
    PublicKey(agent.key.public_key_raw().try_into().unwrap())
}

async fn ask(
    client: &mut AgentsClient<Channel>,
    payload: Bytes,
    signature: Bytes,
) -> Result<wire::EnrolResponse, tonic::Status> {
    let request = wire::EnrolRequest {
        payload,
        signature,
        tree_size: 0,
    };
    client.enrol(request).await.map(tonic::Response::into_inner)
}

/// Enrols, as an agent does it; the entry and what it says.
async fn enrol(agent: &Agent, client: &mut AgentsClient<Channel>) -> (Bytes, Enrolment) {
    let offered = ask(client, Bytes::new(), Bytes::new()).await.unwrap();
    let answer = if offered.entry.is_none() {
        let signature = signature(agent, &offered.payload);
        ask(client, offered.payload, signature).await.unwrap()
    } else {
        offered
    };
    let entry = answer.entry.clone().unwrap();
    proven(&answer);
    let envelope = Envelope::parse(&entry.envelope, &Limits::entry()).unwrap();
    let keys = [agent_ca().public(), key(agent)];
    assert_eq!(envelope.signed_by(&keys, &RingVerifier).len(), 2);
    match Statement::parse(envelope.payload()).unwrap() {
        Statement::Enrolment(said) => (entry.envelope, said),
        other => panic!("{other:?}"),
    }
}

fn proven(answer: &wire::EnrolResponse) {
    let keys = crate::log::tests::parts().keys;
    let opened = note::open(&answer.checkpoint, &keys, &RingVerifier).unwrap();
    let checkpoint = Checkpoint::parse(opened.text()).unwrap();
    let entry = answer.entry.as_ref().unwrap();
    let proof = entry.proof.as_ref().unwrap();
    let hashes: Vec<Digest> = proof
        .hashes
        .iter()
        .map(|hash| Digest::from_bytes(hash.as_ref().try_into().unwrap()))
        .collect();
    let (leaf, root) = (leaf_hash(&entry.envelope), &checkpoint.root);
    merkle::verify_inclusion(proof.index, checkpoint.size, &leaf, &hashes, root).unwrap();
}

async fn heartbeat(client: &mut AgentsClient<Channel>) -> Result<u64, tonic::Status> {
    let answer = client.receipts(wire::ReceiptsRequest::default()).await?;
    Ok(answer.into_inner().next_seq)
}

async fn revoke(hub: &Hub, cluster: &str, reason: &str) -> reqwest::Response {
    hub.http()
        .post(hub.url(&format!("/api/v1/clusters/{cluster}/revoke")))
        .bearer_auth(hub.token())
        .json(&serde_json::json!({ "reason": reason }))
        .send()
        .await
        .unwrap()
}

/// What the log says of keys, in its order.
async fn said(hub: &Hub) -> Vec<(&'static str, PublicKey)> {
    let log = hub.state.log.as_ref().unwrap();
    let (mut all, mut index) = (Vec::new(), 0);
    while let Some(entry) = log.entry(index).await.unwrap() {
        let envelope = Envelope::parse(&entry, &Limits::entry()).unwrap();
        match Statement::parse(envelope.payload()).unwrap() {
            Statement::Enrolment(said) => all.push(("enrolled", said.receipt_key)),
            Statement::Revocation(said) => all.push(("revoked", said.key)),
            _ => {}
        }
        index += 1;
    }
    all
}

#[tokio::test]
async fn a_key_speaks_once_it_stands_in_the_log_under_both_signatures() {
    let hub = Hub::start_enrolling().await;
    let (agent, mut client) = Agent::joined(&hub, "metal").await;
    let early = heartbeat(&mut client).await.unwrap_err();
    assert_eq!(
        (early.code(), code(&early)),
        (Code::FailedPrecondition, "RECEIPT_UNENROLLED")
    );
    let (entry, enrolled) = enrol(&agent, &mut client).await;
    assert_eq!((enrolled.number, enrolled.method), (1, Method::Token));
    assert_eq!(
        (enrolled.cluster.as_str(), enrolled.uid.as_str()),
        ("metal", agent.uid.as_str())
    );
    assert_eq!(enrolled.ca_fingerprint, Digest::from_bytes([3; 32]));
    assert_eq!(heartbeat(&mut client).await.unwrap(), 1);
    let (again, _) = enrol(&agent, &mut client).await;
    assert_eq!(again, entry, "asked again");
    assert_eq!(said(&hub).await, [("enrolled", key(&agent))]);
}

#[tokio::test]
async fn nobody_is_enrolled_without_the_receipt_keys_own_word() {
    let hub = Hub::start_enrolling().await;
    let (agent, mut client) = Agent::joined(&hub, "metal").await;
    let offered = ask(&mut client, Bytes::new(), Bytes::new()).await.unwrap();
    let stranger = Agent::new("metal");
    for signature in [
        Bytes::new(),
        Bytes::from_static(&[0; 64]),
        signature(&stranger, &offered.payload),
        signature(&agent, b"another payload"),
    ] {
        let payload = offered.payload.clone();
        let refused = ask(&mut client, payload, signature).await.unwrap_err();
        assert_eq!(code(&refused), "ENROLMENT_UNPROVEN");
    }
    // What the hub did not offer is not signed by it, whoever else did.
    let other = Bytes::from_static(b"{\"predicate\":1}");
    let signature = signature(&agent, &other);
    let answer = ask(&mut client, other, signature).await.unwrap();
    assert_eq!((answer.entry, answer.payload), (None, offered.payload));
    assert_eq!(said(&hub).await, []);
}

#[tokio::test]
async fn a_revoked_agent_is_shut_out_at_once_and_only_a_new_one_that_a_person_lets_in_returns() {
    let hub = Hub::start_enrolling().await;
    let token = hub.join_token("metal", false).await;
    let mut agent = Agent::new("metal");
    agent.register(&hub, &token).await.unwrap();
    let mut client = hub.connect(agent.identity()).await;
    enrol(&agent, &mut client).await;
    let early = hub.join_token("metal", true).await;
    let mut heads = client
        .heads(wire::HeadsRequest::default())
        .await
        .unwrap()
        .into_inner();
    heads.message().await.unwrap().unwrap();
    hub.pass(1);

    assert_eq!(revoke(&hub, "metal", " ").await.status(), 400);
    assert_eq!(revoke(&hub, "eks", "never joined").await.status(), 409);
    let done = revoke(&hub, "metal", "its node was stolen").await;
    assert_eq!(done.status(), 200);
    let done: countersign_fleet::api::Revocation = done.json().await.unwrap();
    assert_eq!((done.index, done.pending.as_deref()), (Some(1), None));
    let again = revoke(&hub, "metal", "twice").await;
    let again: countersign_fleet::api::Revocation = again.json().await.unwrap();
    assert_eq!(again, done);

    let ended = heads.message().await.unwrap_err();
    assert_eq!(
        (ended.code(), code(&ended)),
        (Code::PermissionDenied, "AGENT_REVOKED")
    );
    // On the connection that is open, on a new one, and for a new certificate.
    for client in [&mut client, &mut hub.connect(agent.identity()).await] {
        for refused in [
            heartbeat(client).await.unwrap_err(),
            client
                .heads(wire::HeadsRequest::default())
                .await
                .map(drop)
                .unwrap_err(),
            client
                .blobs(wire::BlobsRequest::default())
                .await
                .map(drop)
                .unwrap_err(),
            client
                .report(wire::ReportRequest::default())
                .await
                .map(drop)
                .unwrap_err(),
            ask(client, Bytes::new(), Bytes::new()).await.unwrap_err(),
        ] {
            assert_eq!(
                (refused.code(), code(&refused)),
                (Code::PermissionDenied, "AGENT_REVOKED")
            );
        }
    }
    assert_eq!(code(&agent.renew(&hub).await.unwrap_err()), "AGENT_REVOKED");
    let rejoined = agent.register(&hub, &token).await.unwrap_err();
    assert_eq!(code(&rejoined), "TOKEN_REFUSED");
    // Its Secrets are encrypted to it no more.
    assert_eq!(hub.state.recipient("metal"), None);

    let mut next = Agent::new("metal");
    next.uid.clone_from(&agent.uid);
    let refused = next.register(&hub, &early).await.unwrap_err();
    assert_eq!(
        code(&refused),
        "TOKEN_REFUSED",
        "made before the revocation"
    );
    let token = hub.join_token("metal", true).await;
    let same = agent.register(&hub, &token).await.unwrap_err();
    assert_eq!(code(&same), "KEY_REVOKED");
    let token = hub.join_token("metal", true).await;
    next.register(&hub, &token).await.unwrap();
    let mut client = hub.connect(next.identity()).await;
    let (_, enrolled) = enrol(&next, &mut client).await;
    assert_eq!(enrolled.number, 2);
    assert_eq!(heartbeat(&mut client).await.unwrap(), 1);
    assert_eq!(
        said(&hub).await,
        [
            ("enrolled", key(&agent)),
            ("revoked", key(&agent)),
            ("enrolled", key(&next)),
        ]
    );
}

#[tokio::test]
async fn a_key_that_is_replaced_ends_in_the_log_before_the_next_begins() {
    let hub = Hub::start_enrolling().await;
    let (old, mut client) = Agent::joined(&hub, "metal").await;
    enrol(&old, &mut client).await;
    let token = hub.join_token("metal", true).await;
    let mut new = Agent::new("metal");
    new.register(&hub, &token).await.unwrap();
    assert_eq!(
        said(&hub).await,
        [("enrolled", key(&old)), ("revoked", key(&old))],
        "at once, whether the new one enrols or not"
    );
    assert_eq!(
        heartbeat(&mut client).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut client = hub.connect(new.identity()).await;
    enrol(&new, &mut client).await;
    assert_eq!(said(&hub).await.len(), 3);
}

#[tokio::test]
async fn whoever_asks_to_be_a_cluster_that_is_there_is_refused_and_both_are_told() {
    let hub = Hub::start_enrolling().await;
    let (first, mut client) = Agent::joined(&hub, "metal").await;
    let quiet = client.report(wire::ReportRequest::default()).await.unwrap();
    assert_eq!(quiet.into_inner().warnings, []);
    let mut clone = Agent::new("eks");
    clone.uid.clone_from(&first.uid);
    let token = hub.join_token("eks", false).await;
    for _ in 0..2 {
        let refused = clone.register(&hub, &token).await.unwrap_err();
        assert_eq!(
            (refused.code(), code(&refused)),
            (Code::PermissionDenied, "SECOND_NAME")
        );
    }
    let told = client.report(wire::ReportRequest::default()).await.unwrap();
    let told = told.into_inner().warnings;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].code.as_str(), told[0].count), ("SECOND_NAME", 2));
    assert!(told[0].message.contains("eks"), "{}", told[0].message);
}

#[tokio::test]
async fn a_fleet_without_an_agent_ca_enrols_nobody_and_takes_receipts_as_before() {
    let hub = Hub::start_logged().await;
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let refused = ask(&mut client, Bytes::new(), Bytes::new()).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code(), code(&refused)),
        (Code::Unimplemented, "NO_AGENT_CA")
    );
    assert_eq!(heartbeat(&mut client).await.unwrap(), 1);
}
