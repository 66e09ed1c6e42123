//! Somebody with keys of the hub, against the log: what is not in it is not applied, and a log that contradicts what an
//! agent saw of it is refused, with the evidence kept.

use std::{path::PathBuf, time::Duration};

use countersign_ledger::key::FileKey;
use countersign_proto::agent::v1::{Head, LogProof};
use countersign_tests::{
    cli::Cli,
    rogue::{Forgery, Rogue, StolenLog, forge},
    until,
    world::FLEET,
};
use serde_json::json;

use crate::{
    attacks::{self, blobs, envelopes, head, heals},
    fixture::{Stand, config_map},
};

const LIMIT: Duration = Duration::from_secs(60);

/// A head, the log that dresses it up if any does, and how it must be refused.
struct Attack {
    name: &'static str,
    head: Head,
    log: Option<StolenLog>,
    refused: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_log_is_refused_though_the_sealers_own_key_signed_it() {
    let mut files: Vec<(String, String)> = (0..8)
        .map(|n| {
            let name = format!("h{n}");
            (
                format!("clusters/one/{name}.yaml"),
                config_map(&name, "v", "1"),
            )
        })
        .collect();
    files.push(("clusters/one/a.yaml".to_owned(), config_map("a", "v", "1")));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let mut stand = Stand::new(&files).await;
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    let log = the_seen_log(&stand).await;
    stand.world.hub.process.kill().unwrap();
    let data = stand.world.hub.data();
    let keys = stand.world.trust.hub_keys();
    let newest = envelopes(&data).pop().unwrap();
    let genuine = blobs(&data);

    let sealer =
        FileKey::from_pem(&std::fs::read_to_string(keys.join("sealer-test.key")).unwrap()).unwrap();
    let loot = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}});
    let Forgery {
        head: forged,
        blobs: smuggled,
    } = forge(&newest, &loot, &sealer).unwrap();
    let with_forgery = {
        let mut log = log.clone();
        log.append(&forged.envelopes[0]);
        log
    };
    let stranger = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let proof_of_another = {
        let mut head = log.dress(forged.clone(), log.size() as u64).unwrap();
        let honest = log
            .dress(
                attacks::head(std::slice::from_ref(&newest)),
                log.size() as u64,
            )
            .unwrap();
        head.proofs = honest.proofs;
        head
    };
    let rewritten = {
        let mut log = with_forgery.clone();
        let last = log.size() - 2;
        log.rewrite(last, b"it never was so");
        log
    };
    let attacks = [
        Attack {
            name: "no proof at all",
            head: forged.clone(),
            log: None,
            refused: "LOG_PROOF_MISSING",
        },
        Attack {
            name: "a genuine checkpoint and no proof",
            head: Head {
                proofs: Vec::new(),
                ..log.dress(forged.clone(), log.size() as u64).unwrap()
            },
            log: None,
            refused: "LOG_PROOF_MISSING",
        },
        Attack {
            name: "a genuine checkpoint and an empty proof",
            head: Head {
                proofs: vec![LogProof::default()],
                ..log.dress(forged.clone(), log.size() as u64).unwrap()
            },
            log: None,
            refused: "NOT_IN_LOG",
        },
        Attack {
            name: "a genuine checkpoint and the proof of another entry",
            head: proof_of_another,
            log: None,
            refused: "NOT_IN_LOG",
        },
        Attack {
            name: "a log of somebody else's key",
            head: forged.clone(),
            log: Some(with_forgery.clone().signed_with(stranger)),
            refused: "LOG_SIGNATURE_INVALID",
        },
        Attack {
            name: "a log that went back",
            head: head(std::slice::from_ref(&newest)),
            log: Some(log.clone().cut(log.size() - 1)),
            refused: "LOG_ROLLED_BACK",
        },
        Attack {
            name: "a log whose past was written anew",
            head: forged.clone(),
            log: Some(rewritten),
            refused: "LOG_FORKED",
        },
    ];
    for (n, attack) in attacks.into_iter().enumerate() {
        let Attack {
            name,
            head,
            log,
            refused,
        } = attack;
        let both = genuine.iter().chain(&smuggled).cloned().collect();
        let rogue = Rogue::start(stand.world.hub.agents(), &keys, head, both, log)
            .await
            .unwrap();
        attacks::refused(&stand, &rogue, name, &[refused]).await;
        rogue.leave().await;
        assert_eq!(stand.value("default", "loot", "v").await, None, "{name}");
        heals(&stand, &format!("h{n}")).await;
    }

    // What the honest log goes on with is taken: nothing of the lies was kept.
    stand.world.hub.restart().await.unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "3"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trees_of_one_size_are_kept_as_evidence_that_anybody_can_check() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let mut log = the_seen_log(&stand).await;
    stand.world.hub.process.kill().unwrap();
    let data = stand.world.hub.data();
    let keys = stand.world.trust.hub_keys();
    let newest = envelopes(&data).pop().unwrap();
    let last = log.size() - 1;
    log.rewrite(last, b"shown to nobody else");
    let rogue = Rogue::start(
        stand.world.hub.agents(),
        &keys,
        head(&[newest]),
        blobs(&data),
        Some(log),
    )
    .await
    .unwrap();
    attacks::refused(&stand, &rogue, "the fork is refused", &["LOG_FORKED"]).await;
    rogue.leave().await;
    heals(&stand, "a").await;

    let evidence: Vec<PathBuf> = std::fs::read_dir(stand.agent.data().join("evidence"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(evidence.len(), 1, "{evidence:?}");
    let trust = stand.world.trust.document();
    let shown = Cli::new()
        .run([
            "log".as_ref(),
            "verify-fork".as_ref(),
            evidence[0].as_os_str(),
            "--trust".as_ref(),
            trust.as_os_str(),
        ])
        .unwrap();
    assert_eq!(shown.code, Some(0), "{shown:?}");
}

/// The log as the agent saw it last, once its word on what it did is in it: then both stand still.
pub(crate) async fn the_seen_log(stand: &Stand) -> StolenLog {
    let store = stand.world.hub.data().join("store");
    let keys = stand.world.trust.hub_keys();
    let state = stand.agent.data().join("state.json");
    until("the agent's word is in the log", LIMIT, async || {
        let log = StolenLog::take(FLEET, &store, &keys).map_err(|error| error.to_string())?;
        let state = std::fs::read(&state).map_err(|error| error.to_string())?;
        let state: serde_json::Value =
            serde_json::from_slice(&state).map_err(|error| error.to_string())?;
        let generation = state["generation"].as_u64();
        let receipts = log.receipts() as u64;
        let seen = state["log"]["seen"]["size"].as_u64().unwrap_or_default();
        if generation == Some(receipts) {
            Ok(log.cut(usize::try_from(seen).unwrap_or_default()))
        } else {
            Err(format!(
                "{generation:?}, {receipts} receipts\n{}",
                stand.logs()
            ))
        }
    })
    .await
}
