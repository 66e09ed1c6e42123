//! Every cluster answers: what an agent did stands in the log, signed by its own key, each thing once, whoever is killed in
//! between.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use countersign_ledger::bundle;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _};
use countersign_ledger::receipt::{Chain, Offer, Speaker};
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::statement::{Drift, Receipt, Statement};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::note::Note;
use countersign_ledger::tlog::tile::bundles_for;
use countersign_tests::until;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{ONE, Stand, config_map};

const LIMIT: Duration = Duration::from_secs(60);
const RIVAL: &str = "rival";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_did_stands_in_the_log_once_whoever_is_killed_in_between() {
    let mut stand = Stand::new(&[
        ("clusters/one/a.yaml", &config_map("a", "v", "1")),
        ("clusters/one/b.yaml", &config_map("b", "v", "1")),
        ("clusters/one/c.yaml", &config_map("c", "v", "1")),
    ])
    .await;

    let first = until("the first sync's receipt", LIMIT, async || {
        said(&stand).sync_of(1)
    })
    .await;
    assert_eq!((first.seq, first.cluster.as_str()), (1, ONE));
    assert_eq!(first.apps.failed, 0);
    assert!(first.apps.applied > 0, "{first:?}");
    let results = blob(&stand, first.results);
    assert_eq!(results["outcome"], "applied", "{results}");
    assert_eq!(results["objects"], 3, "{results}");

    drift(&stand, "a").await;
    let found = until("the drift's record", LIMIT, async || {
        said(&stand).drift_of("a")
    })
    .await;
    assert_eq!(found.managers, [RIVAL]);
    assert!(found.healed);
    assert!(found.paths.iter().any(|path| path.contains("data")));

    // The hub is away: what happens waits on the agent's disk, and survives its end.
    stand.world.hub.process.kill().unwrap();
    drift(&stand, "b").await;
    let queue = stand.agent.data().join("receipts/queue.log");
    until("the record on disk", LIMIT, async || {
        std::fs::metadata(&queue).is_ok_and(|queue| queue.len() > 0)
    })
    .await;
    stand.agent.process.kill().unwrap();
    stand.agent.restart().unwrap();
    stand.world.hub.restart().await.unwrap();
    until("the record from before", LIMIT, async || {
        said(&stand).drift_of("b")
    })
    .await;

    // Both are killed while things happen.
    let commit = stand
        .world
        .push_files(
            &[("clusters/one/d.yaml", &config_map("d", "v", "1"))],
            "one more",
        )
        .unwrap();
    stand.agent.process.kill().unwrap();
    stand.world.hub.process.kill().unwrap();
    stand.agent.restart().unwrap();
    stand.world.hub.restart().await.unwrap();
    stand.settled(&commit).await;
    drift(&stand, "c").await;
    until("the last record", LIMIT, async || {
        said(&stand).drift_of("c")
    })
    .await;
    until("the second sync's receipt", LIMIT, async || {
        said(&stand).sync_of(2)
    })
    .await;

    let said = said(&stand);
    for name in ["a", "b", "c"] {
        let of = said.drifts.iter().filter(|drift| drift.object.name == name);
        let counts: Vec<u64> = of.map(|drift| drift.count).collect();
        assert_eq!(counts, [1], "drifts of {name}: {:#?}", said.drifts);
    }
    let mut syncs: BTreeMap<u64, usize> = BTreeMap::new();
    for receipt in said
        .receipts
        .iter()
        .filter(|it| it.kind == ReceiptKind::Sync)
    {
        *syncs.entry(receipt.generation).or_default() += 1;
    }
    assert_eq!(syncs, BTreeMap::from([(1, 1), (2, 1)]));
    until("an empty queue", LIMIT, async || {
        std::fs::metadata(&queue).is_ok_and(|queue| queue.len() == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_which_nothing_happens_says_so_with_a_fresh_nonce() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    stand.agent.process.kill().unwrap();
    stand
        .agent
        .restart_with(&["--heartbeat-seconds", "1"])
        .unwrap();
    let beats = until("three heartbeats", LIMIT, async || {
        let beats: Vec<Receipt> = said(&stand)
            .receipts
            .into_iter()
            .filter(|receipt| receipt.kind == ReceiptKind::Heartbeat)
            .collect();
        (beats.len() >= 3).then_some(beats)
    })
    .await;
    assert!(beats.iter().all(|beat| beat.generation == 1));
    assert!(beats.iter().all(|beat| beat.apps.unchanged > 0));
    assert!(beats.iter().all(|beat| beat.checkpoint.size > 0));
    assert!(!beats[2].nonce.is_empty());
    assert_ne!(beats[1].nonce, beats[2].nonce);
}

/// Somebody changes an object, and it is changed back.
async fn drift(stand: &Stand, name: &str) {
    let maps = stand.config_maps("default");
    let params = PatchParams {
        field_manager: Some(RIVAL.into()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"data": {"v": "hacked"}}));
    maps.patch(name, &params, &patch).await.unwrap();
    until("what was changed is back", LIMIT, async || {
        stand.value("default", name, "v").await.as_deref() == Some("1")
    })
    .await;
}

/// What the cluster said, as the log's static files have it.
#[derive(Debug, Default)]
struct Said {
    receipts: Vec<Receipt>,
    drifts: Vec<Drift>,
}

impl Said {
    fn sync_of(&self, generation: u64) -> Option<Receipt> {
        let syncs = |receipt: &&Receipt| {
            receipt.kind == ReceiptKind::Sync && receipt.generation == generation
        };
        self.receipts.iter().find(syncs).cloned()
    }

    fn drift_of(&self, name: &str) -> Option<Drift> {
        let of = |drift: &&Drift| drift.object.name == name;
        self.drifts.iter().find(of).cloned()
    }
}

/// Reads the published log, and checks that what the cluster said is one chain of its key, without gap or repetition.
fn said(stand: &Stand) -> Said {
    let store = stand.world.hub.data().join("store");
    let pem = std::fs::read_to_string(stand.agent.data().join("keys/receipt.key")).unwrap();
    let mut chain = Chain::new(Speaker {
        fleet: "test".into(),
        cluster: ONE.into(),
        key: FileKey::from_pem(&pem).unwrap().public(),
    });
    let mut said = Said::default();
    for entry in entries(&store) {
        let envelope = Envelope::parse(&entry, &Limits::entry()).unwrap();
        let statement = Statement::parse(envelope.payload()).unwrap();
        if !matches!(statement, Statement::Receipt(_) | Statement::Drift(_)) {
            continue;
        }
        let offer = chain.offer(&entry, |_| None::<Vec<u8>>, &RingVerifier);
        assert!(matches!(offer, Ok(Offer::Next(_))), "{offer:?}");
        match statement {
            Statement::Receipt(receipt) => said.receipts.push(receipt),
            Statement::Drift(drift) => said.drifts.push(drift),
            _ => {}
        }
    }
    said
}

fn entries(store: &Path) -> Vec<Vec<u8>> {
    let Ok(note) = std::fs::read(store.join("checkpoint")) else {
        return Vec::new();
    };
    let note = Note::parse(&note).unwrap();
    let size = Checkpoint::parse(note.text()).unwrap().size;
    let mut entries = Vec::new();
    for id in bundles_for(0, size) {
        let bytes = std::fs::read(store.join(id.to_string())).unwrap();
        entries.extend(
            bundle::decode(&bytes)
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec),
        );
    }
    entries
}

/// The first line of a blob that a receipt names.
fn blob(stand: &Stand, digest: Option<Digest>) -> Value {
    let name = digest.unwrap().to_string();
    let folder = stand.world.hub.data().join("store/blobs").join(&name[..2]);
    let bytes = std::fs::read(folder.join(&name)).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), name);
    serde_json::from_slice(bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}
