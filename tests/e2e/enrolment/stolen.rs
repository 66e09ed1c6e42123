//! A certificate that somebody copied.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::FileKey;
use countersign_ledger::statement::Statement;
use countersign_proto::agent::v1 as proto;
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::until;
use tonic::Code;

use super::peer::{connect, stolen};
use super::{LIMIT, TWO, blob, fleet_of_two, receipt, statements};
use crate::fixture::ONE;

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_certificate_reads_and_says_nothing_of_another_cluster() {
    countersign_tests::install_tls();
    let (world, commit) = fleet_of_two(|options| options).await;
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let mut agent = world.join(ONE, &cluster).await.unwrap();
    world.settled(&commit, &[ONE]).await.unwrap();
    until("the first receipt", LIMIT, async || {
        let said = statements(&world);
        said.iter()
            .any(|(_, it)| matches!(it, Statement::Receipt(_)))
    })
    .await;
    agent.stop().await.unwrap();
    let mut thief = connect(&world, Some(stolen(&agent))).await;

    // It is cluster one's, whatever it asks for.
    let request = proto::HeadsRequest::default();
    let mut heads = thief.heads(request).await.unwrap().into_inner();
    let head = heads.message().await.unwrap().unwrap();
    for envelope in &head.envelopes {
        let envelope = Envelope::parse(envelope, &Limits::entry()).unwrap();
        let Ok(Statement::Desired(desired)) = Statement::parse(envelope.payload()) else {
            panic!("no desired state");
        };
        assert_eq!(desired.cluster, ONE);
    }
    let of_two = statements(&world)
        .into_iter()
        .find_map(|(_, it)| match it {
            Statement::Desired(it) if it.cluster == TWO => Some(it.manifest),
            _ => None,
        })
        .expect("a state of two");
    let list = blob(&world, &of_two);
    let section: Digest = list["sections"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let apps: Digest = list["apps"].as_str().unwrap().parse().unwrap();
    for name in [of_two, section, apps] {
        let request = proto::BlobsRequest {
            digests: vec![Bytes::copy_from_slice(name.as_bytes())],
        };
        let refused = thief.blobs(request).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }

    // What it signs for another cluster, or with another key, the log does not take.
    let before = statements(&world).len();
    let pem = std::fs::read_to_string(agent.data().join("keys/receipt.key")).unwrap();
    let own = FileKey::from_pem(&pem).unwrap();
    let other = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    for (cluster, key, want) in [
        (TWO, &own, "WRONG_CLUSTER"),
        (ONE, &other, "RECEIPT_SIGNATURE_INVALID"),
        (TWO, &other, "RECEIPT_SIGNATURE_INVALID"),
    ] {
        let asked = proto::ReceiptsRequest::default();
        let at = thief.receipts(asked).await.unwrap().into_inner();
        let forged = proto::ReceiptsRequest {
            envelopes: vec![receipt(cluster, at.next_seq, Digest::of(&at.newest), key)],
            tree_size: 0,
        };
        let answer = thief.receipts(forged).await.unwrap().into_inner();
        assert_eq!(answer.refused_code, want, "{}", answer.refused);
        assert!(answer.proofs.is_empty());
    }
    assert_eq!(statements(&world).len(), before);
    let one = world.operator.cluster(ONE).await.unwrap();
    let alarms: Vec<&str> = one.alarm_list.iter().map(|a| a.code.as_str()).collect();
    assert!(alarms.contains(&"WRONG_CLUSTER"), "{alarms:?}");
}
