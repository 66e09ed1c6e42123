//! What no hub sends: envelopes, proofs and notes that are too large, cut off or nonsense, in a hub's place and with its keys. Each is
//! refused by name, the cluster is untouched, and what runs is still healed.

use std::time::Duration;

use countersign_proto::agent::v1::{Head, LogEntry, LogProof};
use countersign_tests::{
    rogue::{Rogue, StolenLog},
    until,
    world::FLEET,
};

use crate::{
    attacks::{self, blobs, envelopes, head, heals},
    fixture::{ONE, Stand, config_map},
};

const LIMIT: Duration = Duration::from_secs(60);

/// What is done to an honest head, and by which codes it may be refused.
struct Odd {
    name: &'static str,
    bend: fn(&mut Head),
    codes: &'static [&'static str],
}

const ODD: &[Odd] = &[
    Odd {
        name: "an entry of more than 64 KiB",
        bend: |head| head.envelopes[0] = vec![b'x'; 70_000].into(),
        codes: &["ENVELOPE_MALFORMED"],
    },
    Odd {
        name: "an envelope that is cut off",
        bend: |head| {
            let envelope = &head.envelopes[0];
            head.envelopes[0] = envelope.slice(..envelope.len() / 2);
        },
        codes: &["ENVELOPE_MALFORMED"],
    },
    Odd {
        name: "a note that is none",
        bend: |head| head.checkpoint = vec![0xff; 300].into(),
        codes: &["CHECKPOINT_MALFORMED"],
    },
    Odd {
        name: "a note of a hundred thousand lines",
        bend: |head| head.checkpoint = "x\n".repeat(100_000).into(),
        codes: &["CHECKPOINT_MALFORMED"],
    },
    Odd {
        name: "a note with a size that no log has",
        bend: |head| {
            let note = String::from_utf8(head.checkpoint.to_vec()).unwrap();
            let mut lines: Vec<&str> = note.split('\n').collect();
            lines[1] = "9223372036854775808";
            head.checkpoint = lines.join("\n").into();
        },
        codes: &["CHECKPOINT_MALFORMED", "LOG_SIGNATURE_INVALID"],
    },
    Odd {
        name: "a note with an injected line",
        bend: |head| {
            let note = String::from_utf8(head.checkpoint.to_vec()).unwrap();
            head.checkpoint = note.replacen("\n\n", "\ninjected\n\n", 1).into();
        },
        codes: &["CHECKPOINT_MALFORMED", "LOG_SIGNATURE_INVALID"],
    },
    Odd {
        name: "a proof of hashes that are none",
        bend: |head| head.proofs[0].hashes = vec![vec![7; 31].into()],
        codes: &["LOG_PROOF_MISSING"],
    },
    Odd {
        name: "a proof of too many hashes",
        bend: |head| head.proofs[0].hashes = vec![vec![7; 32].into(); 1_000],
        codes: &["NOT_IN_LOG"],
    },
    Odd {
        name: "a proof for a place that the log does not have",
        bend: |head| head.proofs[0].index = u64::MAX,
        codes: &["NOT_IN_LOG"],
    },
    Odd {
        name: "a consistency proof of nonsense",
        bend: |head| head.consistency = vec![vec![7; 32].into(); 5],
        codes: &["CONSISTENCY_UNPROVEN", "LOG_FORKED"],
    },
    Odd {
        name: "no source entry",
        bend: |head| head.sources.clear(),
        codes: &["SOURCE_MISSING", "SOURCE_MISMATCH", "LOG_PROOF_MISSING"],
    },
    Odd {
        name: "a source entry that is none",
        bend: |head| {
            let proof = head.sources[0].proof.clone();
            head.sources = vec![LogEntry {
                envelope: b"{}".to_vec().into(),
                proof,
            }];
        },
        codes: &[
            "SOURCE_MISSING",
            "SOURCE_MISMATCH",
            "ENVELOPE_MALFORMED",
            "NOT_IN_LOG",
        ],
    },
    Odd {
        name: "proofs without envelopes",
        bend: |head| {
            head.envelopes = vec![Vec::new().into()];
            head.proofs = vec![LogProof::default()];
        },
        codes: &["ENVELOPE_MALFORMED"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_no_hub_sends_is_refused_by_name() {
    let names: Vec<String> = (0..ODD.len()).map(|n| format!("h{n}")).collect();
    let mut files: Vec<(String, String)> = names
        .iter()
        .map(|name| {
            (
                format!("clusters/one/{name}.yaml"),
                config_map(name, "v", "1"),
            )
        })
        .collect();
    files.push(("clusters/one/a.yaml".to_owned(), config_map("a", "v", "1")));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let mut stand = Stand::new(&files).await;
    // A state that the agent never gets as it is.
    stand.agent.process.kill().unwrap();
    let change = [("clusters/one/a.yaml", &*config_map("a", "v", "2"))];
    stand.world.push_files(&change, "unseen").unwrap();
    until("it is sealed", LIMIT, async || {
        let cluster = stand.world.operator.cluster(ONE).await?;
        anyhow::ensure!(
            cluster.summary.generation_sealed == 2,
            "{:?}",
            cluster.summary
        );
        Ok(())
    })
    .await;
    stand.world.hub.process.kill().unwrap();
    stand.agent.restart().unwrap();

    let data = stand.world.hub.data();
    let keys = stand.world.trust.hub_keys();
    let newest = envelopes(&data).pop().unwrap();
    let log = StolenLog::take(FLEET, &data.join("store"), &keys).unwrap();
    let seen: serde_json::Value =
        serde_json::from_slice(&std::fs::read(stand.agent.data().join("state.json")).unwrap())
            .unwrap();
    let seen = seen["log"]["seen"]["size"].as_u64().unwrap();
    let before = stand.config_maps("default").get("a").await.unwrap();
    let saved = std::fs::read(stand.agent.data().join("state.json")).unwrap();

    for (odd, name) in ODD.iter().zip(&names) {
        let mut bent = log
            .dress(head(std::slice::from_ref(&newest)), seen)
            .unwrap();
        (odd.bend)(&mut bent);
        let rogue = Rogue::start(stand.world.hub.agents(), &keys, bent, blobs(&data), None)
            .await
            .unwrap();
        attacks::refused(&stand, &rogue, odd.name, odd.codes).await;
        rogue.leave().await;
        let after = stand.config_maps("default").get("a").await.unwrap();
        assert_eq!(
            (&after.metadata.uid, &after.metadata.resource_version),
            (&before.metadata.uid, &before.metadata.resource_version),
            "{}",
            odd.name
        );
        let kept = std::fs::read(stand.agent.data().join("state.json")).unwrap();
        assert_eq!(
            kept, saved,
            "{}: state is kept after all checks, not before",
            odd.name
        );
        heals(&stand, name).await;
    }

    stand.world.hub.restart().await.unwrap();
    let change = [("clusters/one/a.yaml", &*config_map("a", "v", "3"))];
    stand.push(&change).await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("3"));
}
