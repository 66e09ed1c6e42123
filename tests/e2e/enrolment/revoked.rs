//! An agent that speaks no more.

use countersign_fleet::api::Connection;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::Statement;
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_proto::agent::v1 as proto;
use countersign_tests::agent::{self, Agent};
use countersign_tests::until;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tonic::Code;

use super::peer::{Proof, Stranger, code, connect, stolen};
use super::{LIMIT, audited, cli, published, statements, token};
use crate::fixture::{ONE, Stand, config_map};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_keeps_its_cluster_and_reads_says_and_renews_nothing() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let uid = stand.uid("default", "a").await;
    until("the first receipt", LIMIT, async || {
        let said = statements(&stand.world);
        said.iter()
            .any(|(_, it)| matches!(it, Statement::Receipt(_)))
    })
    .await;
    let early = token(&stand.world, ONE, &["--replace"]).await;

    let args = ["cluster", "revoke", ONE, "--reason", "its node was stolen"];
    let done = cli(&stand.world, &args).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("its node was stolen"), "{done:?}");
    stand
        .agent
        .process
        .line("AGENT_REVOKED", LIMIT)
        .await
        .unwrap();
    until("its stream has ended", LIMIT, async || {
        let one = stand.world.operator.cluster(ONE).await?;
        anyhow::ensure!(one.summary.connection == Connection::Revoked, "{one:?}");
        anyhow::Ok(())
    })
    .await;

    // With all that lies on its volume, from anywhere.
    let mut thief = connect(&stand.world, Some(stolen(&stand.agent))).await;
    let refused = [
        thief.heads(proto::HeadsRequest::default()).await.map(drop),
        thief.blobs(proto::BlobsRequest::default()).await.map(drop),
        thief
            .receipts(proto::ReceiptsRequest::default())
            .await
            .map(drop),
        thief
            .report(proto::ReportRequest::default())
            .await
            .map(drop),
        thief.enrol(proto::EnrolRequest::default()).await.map(drop),
    ];
    for refused in refused {
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.code(), code(&refused)),
            (Code::PermissionDenied, "AGENT_REVOKED")
        );
    }
    let stranger = Stranger::on("uid");
    let before = stranger
        .refused(&stand.world, ONE, Proof::Token(&early))
        .await;
    assert_eq!(before, "TOKEN_REFUSED", "made before the revocation");

    // A new commit does not reach the cluster; what it had is healed.
    let missed = [("clusters/one/a.yaml", config_map("a", "v", "2"))];
    let missed: Vec<(&str, &str)> = missed.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let commit = stand.world.push_files(&missed, "missed").unwrap();
    until("the commit is sealed", LIMIT, async || {
        let fleet = stand.world.operator.fleet().await?;
        let at = fleet.source.commit.as_ref().map(|seen| seen.id.clone());
        anyhow::ensure!(at.as_ref() == Some(&commit) && fleet.source.processed.is_some());
        anyhow::Ok(())
    })
    .await;
    let rival = PatchParams {
        field_manager: Some("rival".into()),
        ..PatchParams::default()
    };
    let hacked = Patch::Merge(json!({"data": {"v": "hacked"}}));
    let maps = stand.config_maps("default");
    maps.patch("a", &rival, &hacked).await.unwrap();
    until("what was changed is back", LIMIT, async || {
        stand.value("default", "a", "v").await.as_deref() == Some("1")
    })
    .await;
    assert_eq!(stand.uid("default", "a").await, uid);

    // It does not come back by itself, whether it is started again or asks anew.
    let old_keys = stolen(&stand.agent);
    stand.agent.restart().unwrap();
    stand
        .agent
        .process
        .line("AGENT_REVOKED", LIMIT)
        .await
        .unwrap();
    stand.agent.stop().await.unwrap();

    // A person lets a new one in.
    let again = token(&stand.world, ONE, &["--replace"]).await;
    let new = agent::Options::new(
        stand.world.hub.agents_url(),
        ONE,
        stand.world.trust.document(),
        &again,
        stand.cluster(),
    );
    stand.agent = Agent::start(new).await.unwrap();
    stand.settled(&commit).await;
    assert_eq!(
        stand.uid("default", "a").await,
        uid,
        "adopted, not recreated"
    );
    let mut thief = connect(&stand.world, Some(old_keys)).await;
    let refused = thief.report(proto::ReportRequest::default()).await;
    assert_eq!(code(&refused.unwrap_err()), "AGENT_REVOKED");

    until("the new agent's receipt", LIMIT, async || {
        let said = statements(&stand.world);
        let last = said
            .iter()
            .rposition(|(_, it)| matches!(it, Statement::Enrolment(_)));
        last.is_some_and(|at| {
            let mut after = said[at..].iter();
            after
                .any(|(_, it)| matches!(it, Statement::Receipt(it) if it.kind == ReceiptKind::Sync))
        })
    })
    .await;
    let said: Vec<String> = statements(&stand.world)
        .iter()
        .filter_map(|(envelope, it)| match it {
            Statement::Enrolment(it) => {
                let signers = envelope.signed_by([&it.receipt_key], &RingVerifier);
                assert_eq!((signers.len(), envelope.signatures().len()), (1, 2));
                Some(format!("enrolled {}", it.number))
            }
            Statement::Revocation(it) => Some(format!("revoked: {}", it.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(
        said,
        ["enrolled 1", "revoked: its node was stolen", "enrolled 2"]
    );
    published(&stand.world).await;
    let found = audited(&stand.world).await;
    for code in [
        "RECEIPT_UNENROLLED",
        "ENROLMENT_NUMBER",
        "KEY_REVOKED",
        "RECEIPT_GAP",
    ] {
        assert!(!found.iter().any(|had| had == code), "{found:?}");
    }
}
