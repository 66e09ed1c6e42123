//! What clusters countersign: one chain a key, each link once, proven; what contradicts it is kept and told.

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{self, Envelope, PAYLOAD_TYPE};
use countersign_ledger::key::{PublicKey, RingVerifier, Sign, SignFault};
use countersign_ledger::statement::Receipt;
use countersign_ledger::statement::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use countersign_ledger::time::Time;
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::{merkle, note};
use countersign_proto::agent::v1 as wire;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tonic::Code;

use super::support::{Agent, FLEET, Hub, code};
use crate::serve::metrics::OutcomeLabels;
use crate::serve::registry::hex;

struct Key(Ed25519KeyPair);

impl Key {
    fn of(agent: &Agent) -> Self {
        let der = agent.key.serialize_der();
        Self(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap())
    }
}

impl Sign for Key {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().unwrap())
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFault> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}

fn receipt(seq: u64, previous: Option<Digest>) -> Receipt {
    Receipt {
        desired: None,
        fleet: FLEET.into(),
        cluster: "metal".into(),
        seq,
        previous,
        kind: ReceiptKind::Heartbeat,
        generation: 0,
        manifest: None,
        checkpoint: SeenCheckpoint {
            size: 0,
            root: merkle::EMPTY_ROOT,
            time: None,
        },
        apps: AppCounts::default(),
        results: None,
        health: Health::Healthy,
        started: Time::default(),
        ended: Time::default(),
        agent: "0.1.0".into(),
        nonce: String::new(),
        attack: None,
        trust_root: 1,
        dropped: 0,
        break_glass: None,
    }
}

fn signed(key: &Key, receipt: &Receipt) -> Bytes {
    let payload = receipt.payload().unwrap();
    let envelope = dsse::sign(PAYLOAD_TYPE, &payload, &[key]).unwrap();
    Bytes::copy_from_slice(envelope.bytes())
}

fn links(key: &Key, count: u64) -> Vec<Bytes> {
    let mut links: Vec<Bytes> = Vec::new();
    for seq in 1..=count {
        let previous = links.last().map(|link| Digest::of(link));
        links.push(signed(key, &receipt(seq, previous)));
    }
    links
}

fn request(envelopes: &[Bytes], tree_size: u64) -> wire::ReceiptsRequest {
    wire::ReceiptsRequest {
        envelopes: envelopes.to_vec(),
        tree_size,
    }
}

/// The size of an answer's checkpoint, under which all `envelopes` are proven.
fn proven(envelopes: &[Bytes], answer: &wire::ReceiptsResponse) -> u64 {
    let keys = crate::log::tests::parts().keys;
    let opened = note::open(&answer.checkpoint, &keys, &RingVerifier).unwrap();
    let checkpoint = Checkpoint::parse(opened.text()).unwrap();
    assert_eq!(answer.proofs.len(), envelopes.len());
    for (envelope, proof) in envelopes.iter().zip(&answer.proofs) {
        let hashes: Vec<Digest> = proof
            .hashes
            .iter()
            .map(|hash| Digest::from_bytes(hash.as_ref().try_into().unwrap()))
            .collect();
        let leaf = leaf_hash(envelope);
        let (index, size, root) = (proof.index, checkpoint.size, &checkpoint.root);
        merkle::verify_inclusion(index, size, &leaf, &hashes, root).unwrap();
    }
    checkpoint.size
}

#[tokio::test]
async fn receipts_enter_the_log_once_and_are_proven_each_time() {
    let hub = Hub::start_logged().await;
    let (agent, mut client) = Agent::joined(&hub, "metal").await;
    let key = Key::of(&agent);
    let first = client.receipts(request(&[], 0)).await.unwrap().into_inner();
    assert_eq!((first.next_seq, first.newest.len()), (1, 0));
    let links = links(&key, 3);
    let answer = client
        .receipts(request(&links, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(proven(&links, &answer), 3);
    assert_eq!((answer.next_seq, &answer.newest), (4, &links[2]));
    assert_ne!(answer.nonce, first.nonce);
    let again = client
        .receipts(request(&links[1..], 3))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(proven(&links[1..], &again), 3);
    assert_eq!(again.refused_code, "");
    assert_eq!(hub.state.metrics.receipts.get(), 3);
}

#[tokio::test]
async fn a_gap_a_strangers_signature_and_a_missing_blob_end_the_accepted_prefix() {
    let hub = Hub::start_logged().await;
    let (agent, mut client) = Agent::joined(&hub, "metal").await;
    let key = Key::of(&agent);
    let links = links(&key, 3);
    let gap = [links[0].clone(), links[2].clone()];
    let answer = client
        .receipts(request(&gap, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.refused_code, "RECEIPT_GAP");
    assert_eq!((proven(&gap[..1], &answer), answer.next_seq), (1, 2));

    let (stranger, _) = Agent::joined(&hub, "eks").await;
    let forged = signed(
        &Key::of(&stranger),
        &receipt(2, Some(Digest::of(&links[0]))),
    );
    let answer = client
        .receipts(request(&[forged], 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.refused_code, "RECEIPT_SIGNATURE_INVALID");

    let two = Envelope::parse(&links[1], &dsse::Limits::entry()).unwrap();
    let more = two.with_signatures(&[(Key::of(&stranger).public(), [7; 64])]);
    let more = Bytes::copy_from_slice(more.bytes());
    let answer = client
        .receipts(request(&[more], 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.refused_code, "RECEIPT_SIGNATURES");

    let content = Bytes::from_static(b"results");
    let named = Receipt {
        results: Some(Digest::of(&content)),
        ..receipt(2, Some(Digest::of(&links[0])))
    };
    let named = [signed(&key, &named)];
    let answer = client
        .receipts(request(&named, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.refused_code.as_str(), answer.next_seq),
        ("BLOB_MISSING", 2)
    );
    let put = |digest: Digest| wire::PutBlobsRequest {
        blobs: vec![wire::Blob {
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            content: content.clone(),
        }],
    };
    let refused = client
        .put_blobs(put(Digest::of(b"other")))
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "BLOB_TAMPERED");
    client.put_blobs(put(Digest::of(&content))).await.unwrap();
    let answer = client
        .receipts(request(&named, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(proven(&named, &answer), 2);
}

#[tokio::test]
async fn a_nonce_is_known_again_and_one_that_was_given_to_another_is_taken_with_an_alarm() {
    let hub = Hub::start_logged().await;
    let (agent, mut client) = Agent::joined(&hub, "metal").await;
    let key = Key::of(&agent);
    let (_, mut other) = Agent::joined(&hub, "eks").await;
    let asked = |answer: wire::ReceiptsResponse| hex(&answer.nonce);
    let own = asked(client.receipts(request(&[], 0)).await.unwrap().into_inner());
    let strange = asked(other.receipts(request(&[], 0)).await.unwrap().into_inner());
    let mut links: Vec<Bytes> = Vec::new();
    for (seq, nonce) in (1..).zip(["", &own, &own, &strange, "00ff"]) {
        let previous = links.last().map(|link| Digest::of(link));
        let said = Receipt {
            nonce: nonce.to_owned(),
            ..receipt(seq, previous)
        };
        links.push(signed(&key, &said));
    }
    let answer = client.receipts(request(&links[..3], 0)).await.unwrap();
    assert_eq!(proven(&links[..3], &answer.into_inner()), 3);
    let cluster = hub.state.cluster("metal").unwrap();
    let alarms = || cluster.alarms.lock().unwrap().list();
    assert_eq!(alarms().len(), 0);
    let answer = client.receipts(request(&links, 3)).await.unwrap();
    assert_eq!(proven(&links, &answer.into_inner()), 5);
    let raised: Vec<_> = alarms().into_iter().map(|a| (a.code, a.count)).collect();
    assert_eq!(raised, [("RECEIPT_NONCE_UNKNOWN".to_owned(), 2)]);
    for (outcome, count) in [("none", 1), ("fresh", 2), ("late", 0), ("unknown", 2)] {
        let counted = hub
            .state
            .metrics
            .nonces
            .get_or_create(&OutcomeLabels { outcome });
        assert_eq!(counted.get(), count, "{outcome}");
    }
}

#[tokio::test]
async fn two_receipts_under_one_seq_are_both_kept_and_raise_an_alarm() {
    let hub = Hub::start_logged().await;
    let (agent, mut client) = Agent::joined(&hub, "metal").await;
    let key = Key::of(&agent);
    let links = links(&key, 2);
    client.receipts(request(&links, 0)).await.unwrap();
    let lie = Receipt {
        agent: "another".into(),
        ..receipt(2, Some(Digest::of(&links[0])))
    };
    let lie = signed(&key, &lie);
    let answer = client
        .receipts(request(&[lie], 2))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.refused_code, "RECEIPT_EQUIVOCATION");
    let kept = hub.state.records.list("equivocations/metal").await.unwrap();
    assert_eq!(kept.len(), 1);
    let cluster = hub.state.cluster("metal").unwrap();
    let alarms = cluster.alarms.lock().unwrap().list();
    assert!(
        alarms
            .iter()
            .any(|alarm| alarm.code == "RECEIPT_EQUIVOCATION")
    );
}

#[tokio::test]
async fn an_agent_that_saw_more_of_the_log_is_not_answered() {
    let hub = Hub::start_logged().await;
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let refused = client.receipts(request(&[], 9)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(code(&refused), "LOG_BEHIND_AGENT");
}

#[tokio::test]
async fn without_a_log_nothing_is_taken() {
    let hub = Hub::start().await;
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let refused = client.receipts(request(&[], 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}
