//! What dies, comes back and carries on: nothing sealed is lost, no generation is used twice, nothing is deleted.

use std::{collections::BTreeMap, path::Path, time::Duration};

use countersign_ledger::{claim::Claim, digest::Digest, dsse, statement::Statement};
use countersign_tests::{rogue, until};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{ONE, Stand, config_map, plain_app};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_while_it_seals_loses_nothing_and_uses_no_generation_twice() {
    const ROUNDS: u32 = 12;
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "0"))]).await;
    let mut last = String::new();
    for round in 1..=ROUNDS {
        let value = round.to_string();
        last = stand
            .world
            .push_files(
                &[("clusters/one/a.yaml", &config_map("a", "v", &value))],
                "again",
            )
            .unwrap();
        // At another point of its work each time: as far as so many claims show.
        let seen = claims(&stand.world.hub.data()).len();
        if round % 3 != 0 {
            let _ = tokio::time::timeout(Duration::from_millis(u64::from(round) * 7), async {
                while claims(&stand.world.hub.data()).len() == seen {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        stand.world.hub.process.kill().unwrap();
        stand.world.hub.restart().await.unwrap();
    }
    stand.settled(&last).await;
    assert_eq!(
        stand.value("default", "a", "v").await,
        Some(ROUNDS.to_string())
    );
    assert_dense(&stand.world.hub.data());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_in_the_middle_of_a_sync_finishes_it_when_it_is_back() {
    const OBJECTS: usize = 400;
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let mut files = vec![("clusters/big.yaml".to_owned(), plain_app("big", "apps/big"))];
    for n in 0..OBJECTS {
        let name = format!("big-{n:04}");
        files.push((format!("apps/big/{name}.yaml"), config_map(&name, "v", "1")));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let commit = stand.world.push_files(&files, "many at once").unwrap();
    until("the sync has begun", LIMIT, async || {
        stand.value("default", "big-0000", "v").await.is_some() || count(&stand).await > 0
    })
    .await;
    stand.agent.process.kill().unwrap();
    let applied = count(&stand).await;
    stand.agent.restart().unwrap();
    stand.settled(&commit).await;
    assert_eq!(count(&stand).await, OBJECTS, "after {applied} at the kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_hub_an_agent_heals_restarts_and_catches_up_later() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    stand.world.hub.process.kill().unwrap();
    tamper(&stand).await;
    stand.agent.restart().unwrap();
    tamper(&stand).await;
    stand.world.hub.restart().await.unwrap();
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_tampered_with_reaches_no_cluster() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    // A state that the agent has not seen, its object swapped in the store before anybody fetches it.
    stand.agent.process.kill().unwrap();
    let commit = stand
        .world
        .push_files(
            &[("clusters/one/a.yaml", &config_map("a", "v", "honest"))],
            "two",
        )
        .unwrap();
    until("it is sealed", LIMIT, async || {
        let fleet = stand.world.operator.fleet().await?;
        anyhow::ensure!(
            fleet
                .source
                .commit
                .as_ref()
                .is_some_and(|seen| seen.id == commit)
                && fleet
                    .clusters
                    .iter()
                    .all(|cluster| cluster.generation_sealed == 2),
            "{:?}",
            fleet.source
        );
        Ok(())
    })
    .await;
    stand.world.hub.process.kill().unwrap();
    let mut swapped = 0;
    swap(
        &stand.world.hub.data().join("store/blobs"),
        "honest",
        "stolen",
        &mut swapped,
    );
    assert!(swapped > 0, "the object lies in the store");
    stand.world.hub.restart().await.unwrap();
    stand.agent.restart().unwrap();

    until(
        "operators are told that the store was tampered with",
        LIMIT,
        async || {
            let fleet = stand.world.operator.fleet().await?;
            let told = fleet
                .alarms
                .iter()
                .any(|alarm| alarm.code == "BLOB_DAMAGED");
            anyhow::ensure!(told, "{:?}", fleet.alarms);
            Ok(())
        },
    )
    .await;
    // The next good commit arrives; the tampered object never did.
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("1"));
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "3"))])
        .await;
    assert_eq!(stand.value("default", "a", "v").await.as_deref(), Some("3"));
}

/// Changes an object behind Git's back and sees it put back.
async fn tamper(stand: &Stand) {
    let maps = stand.config_maps("default");
    let patch = Patch::Merge(json!({"data": {"v": "hacked"}}));
    maps.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    until("the change is undone", LIMIT, async || {
        stand.value("default", "a", "v").await.as_deref() == Some("1")
    })
    .await;
}

async fn count(stand: &Stand) -> usize {
    let list = kube::api::ListParams::default().labels("countersign.dev/app=big");
    stand
        .config_maps("default")
        .list_metadata(&list)
        .await
        .unwrap()
        .items
        .len()
}

/// Replaces a word by another of its length in every file that holds it.
fn swap(folder: &Path, from: &str, to: &str, swapped: &mut u32) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            swap(&path, from, to, swapped);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes())
        {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            std::fs::write(&path, bytes).unwrap();
            *swapped += 1;
        }
    }
}

/// The claims of a hub's store, in order.
fn claims(data: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(data.join("store/claims")) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.len() == 20))
        .collect();
    names.sort();
    names
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .collect()
}

/// Every claim follows the one before, every batch is there, and each cluster's generations are 1, 2, 3 …, each naming
/// the envelope before it.
fn assert_dense(data: &Path) {
    let mut previous: Option<Digest> = None;
    let mut heads: BTreeMap<String, (u64, Digest)> = BTreeMap::new();
    for (number, bytes) in claims(data).iter().enumerate() {
        let claim = Claim::parse(bytes).unwrap();
        assert_eq!(claim.number, number as u64);
        assert_eq!(claim.previous, previous);
        previous = Some(Digest::of(bytes));
        let batch =
            std::fs::read(data.join("store/staging").join(claim.staging.to_string())).unwrap();
        assert_eq!(Digest::of(&batch), claim.staging);
        for entry in rogue::entries(&batch) {
            let envelope = dsse::Envelope::parse(entry, &dsse::Limits::entry()).unwrap();
            if let Statement::Desired(desired) = Statement::parse(envelope.payload()).unwrap() {
                let before = heads.insert(
                    desired.cluster.clone(),
                    (desired.generation, envelope.digest()),
                );
                let (generation, digest) =
                    before.map_or((0, None), |(generation, digest)| (generation, Some(digest)));
                assert_eq!(desired.generation, generation + 1, "{}", desired.cluster);
                assert_eq!(desired.previous, digest, "{}", desired.cluster);
            }
        }
    }
    assert!(heads[ONE].0 > 1, "{heads:?}");
}
