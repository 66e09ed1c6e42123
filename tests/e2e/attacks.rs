//! Somebody in the hub's place, with its TLS keys and its log's but no sealer key: each attack refused by name, the cluster untouched,
//! the last good state still healed.

use std::{path::Path, time::Duration};

use countersign_ledger::{digest::Digest, dsse, key::FileKey, statement::Statement};
use countersign_proto::agent::v1::{Blob, Head};
use countersign_tests::{
    rogue::{Forgery, Rogue, StolenLog, entries, forge},
    until,
    world::FLEET,
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{ONE, Stand, config_map};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_of_a_hub_without_the_sealers_key_is_refused_by_name() {
    // Beside the object of the attacks one for each, to be healed after it: one alone would be a fight.
    let healed: Vec<(String, String)> = (0..6)
        .map(|n| {
            let name = format!("h{n}");
            let text = config_map(&name, "v", "1");
            (format!("clusters/one/{name}.yaml"), text)
        })
        .collect();
    let mut files = vec![("clusters/one/a.yaml".to_owned(), config_map("a", "v", "1"))];
    files.extend(healed);
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let mut stand = Stand::new(&files).await;
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    let seen = envelopes(&stand.world.hub.data());
    assert_eq!(seen.len(), 2);
    // Two more that the agent never gets from the hub.
    stand.agent.process.kill().unwrap();
    for value in ["3", "4"] {
        stand
            .world
            .push_files(
                &[("clusters/one/a.yaml", &config_map("a", "v", value))],
                "unseen",
            )
            .unwrap();
        let wanted = value.parse::<u64>().unwrap();
        until("it is sealed", LIMIT, async || {
            let cluster = stand.world.operator.cluster(ONE).await?;
            anyhow::ensure!(
                cluster.summary.generation_sealed == wanted,
                "{:?}",
                cluster.summary
            );
            Ok(())
        })
        .await;
    }
    let all = envelopes(&stand.world.hub.data());
    let blobs = blobs(&stand.world.hub.data());
    stand.world.hub.process.kill().unwrap();
    stand.agent.restart().unwrap();

    let key = FileKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let loot = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}});
    let forged = forge(&seen[1], &loot, &key).unwrap();
    let tampered_envelope = {
        let mut bytes = all[2].clone();
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let tampered_blobs: Vec<Blob> = blobs
        .iter()
        .cloned()
        .map(|mut blob| {
            let mut content = blob.content.to_vec();
            if let Some(last) = content.last_mut() {
                *last ^= 1;
            }
            blob.content = content.into();
            blob
        })
        .collect();

    let attacks = [
        (
            "a forged state",
            forged.head,
            forged.blobs,
            &["SIGNATURE_INVALID"][..],
        ),
        (
            "an old state again",
            head(&all[..1]),
            blobs.clone(),
            &["REPLAYED"],
        ),
        (
            "a state with a gap before it",
            head(&all[3..]),
            blobs.clone(),
            &["SKIPPED"],
        ),
        (
            "an envelope with one letter changed",
            head(&[tampered_envelope]),
            blobs.clone(),
            &[
                "SIGNATURE_INVALID",
                "ENVELOPE_MALFORMED",
                "STATEMENT_MALFORMED",
            ],
        ),
        (
            "a genuine state with other blobs",
            head(&all[2..3]),
            tampered_blobs,
            &["BLOB_TAMPERED", "MANIFEST_MISMATCH", "BLOB_LENGTH"],
        ),
        (
            "no statement at all",
            head(&[b"{}".to_vec()]),
            Vec::new(),
            &["ENVELOPE_MALFORMED"],
        ),
    ];
    for (n, (attack, head, blobs, refusals)) in attacks.into_iter().enumerate() {
        let log = logged(&stand, &head);
        let rogue = Rogue::start(
            stand.world.hub.agents(),
            &stand.world.trust.hub_keys(),
            head,
            blobs,
            Some(log),
        )
        .await
        .unwrap();
        refused(&stand, &rogue, attack, refusals).await;
        rogue.leave().await;
        assert_eq!(
            stand.value("default", "a", "v").await.as_deref(),
            Some("2"),
            "{attack}"
        );
        assert_eq!(stand.value("default", "loot", "v").await, None, "{attack}");
        heals(&stand, &format!("h{n}")).await;
    }

    // The real hub is back: what it sealed is taken.
    stand.world.hub.restart().await.unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "5"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_statement_is_refused() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let genuine = envelopes(&stand.world.hub.data()).pop().unwrap();
    let Forgery { head, blobs } = forge_for_other(&stand, &genuine);
    stand.world.hub.process.kill().unwrap();
    let log = logged(&stand, &head);
    let rogue = Rogue::start(
        stand.world.hub.agents(),
        &stand.world.trust.hub_keys(),
        head,
        blobs,
        Some(log),
    )
    .await
    .unwrap();
    refused(&stand, &rogue, "it is refused", &["WRONG_CLUSTER"]).await;
    rogue.leave().await;
    heals(&stand, "a").await;
}

/// Waits until an agent has reported to the attacker that it refuses, by one of `codes`.
pub(crate) async fn refused(stand: &Stand, rogue: &Rogue, attack: &str, codes: &[&str]) {
    until(attack, LIMIT, async || {
        let reported = rogue.refusals();
        if reported.iter().any(|code| codes.contains(&code.as_str())) {
            Ok(())
        } else {
            Err(format!("{reported:?}\n{}", stand.logs()))
        }
    })
    .await;
}

/// The stolen log with what the attacker says in it.
pub(crate) fn logged(stand: &Stand, head: &Head) -> StolenLog {
    let store = stand.world.hub.data().join("store");
    let mut log = StolenLog::take(FLEET, &store, &stand.world.trust.hub_keys()).unwrap();
    for envelope in &head.envelopes {
        log.append(envelope);
    }
    log
}

/// A state for another cluster of the same environment, signed with the real sealer's key.
fn forge_for_other(stand: &Stand, genuine: &[u8]) -> Forgery {
    let envelope = dsse::Envelope::parse(genuine, &dsse::Limits::entry()).unwrap();
    let Statement::Desired(mut desired) = Statement::parse(envelope.payload()).unwrap() else {
        panic!("not a desired state");
    };
    desired.cluster = "two".to_owned();
    desired.generation += 1;
    desired.previous = Some(envelope.digest());
    let pem =
        std::fs::read_to_string(stand.world.trust.hub_keys().join("sealer-test.key")).unwrap();
    let key = FileKey::from_pem(&pem).unwrap();
    let signed = dsse::sign(dsse::PAYLOAD_TYPE, &desired.payload().unwrap(), &[&key]).unwrap();
    Forgery {
        head: head(&[signed.bytes().to_vec()]),
        blobs: blobs(&stand.world.hub.data()),
    }
}

pub(crate) async fn heals(stand: &Stand, name: &str) {
    let before = stand.value("default", name, "v").await;
    let patch = Patch::Merge(json!({"data": {"v": "hacked"}}));
    stand
        .config_maps("default")
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
    until("the last good state is still healed", LIMIT, async || {
        stand.value("default", name, "v").await == before
    })
    .await;
}

pub(crate) fn head(envelopes: &[Vec<u8>]) -> Head {
    Head {
        envelopes: envelopes.iter().map(|bytes| bytes.clone().into()).collect(),
        ..Head::default()
    }
}

/// The envelopes of the cluster's states in a hub's store, by generation.
pub(crate) fn envelopes(data: &Path) -> Vec<Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(data.join("store/staging")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        for entry in entries(&std::fs::read(path).unwrap()) {
            let envelope = dsse::Envelope::parse(entry, &dsse::Limits::entry()).unwrap();
            if let Statement::Desired(desired) = Statement::parse(envelope.payload()).unwrap() {
                found.insert(desired.generation, entry.to_vec());
            }
        }
    }
    found.into_values().collect()
}

/// Every blob of a hub's store.
pub(crate) fn blobs(data: &Path) -> Vec<Blob> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(data.join("store/blobs")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let content = std::fs::read(file.unwrap().path()).unwrap();
            found.push(Blob {
                digest: Digest::of(&content).as_bytes().to_vec().into(),
                content: content.into(),
            });
        }
    }
    found
}
