//! A log and two witnesses, ours and the omniwitness: both cosign what grows, neither cosigns a fork.

use std::time::Duration;

use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::{KeyKind, Note, Signature, Vkey};
use countersign_ledger::tlog::policy::Policy;
use countersign_tests::witness::{Omniwitness, Witness};
use countersign_witness::AddCheckpoint;

const ORIGIN: &str = "countersign.dev/fleet/test";
const SOON: Duration = Duration::from_secs(20);

fn key() -> FileKey {
    FileKey::from_seed(&[1; 32]).unwrap()
}

fn vkey() -> Vkey {
    Vkey::new(ORIGIN, KeyKind::Ed25519, key().public()).unwrap()
}

/// The first `size` entries of a history that differs from all others from entry 5 on.
#[derive(Clone, Copy)]
struct History {
    size: u64,
    branch: u8,
}

fn main(size: u64) -> History {
    History { size, branch: 0 }
}

fn fork(size: u64) -> History {
    History { size, branch: 1 }
}

impl History {
    fn node(self, id: NodeId) -> Result<Digest, ProofError> {
        if id.level == 0 {
            let branch = if id.index < 5 { 0 } else { self.branch };
            return Ok(leaf_hash(format!("{} {branch}", id.index).as_bytes()));
        }
        let level = id.level - 1;
        let below = |index| self.node(NodeId { level, index });
        Ok(merkle::node_hash(
            &below(id.index * 2)?,
            &below(id.index * 2 + 1)?,
        ))
    }

    fn checkpoint(self) -> Note {
        let nodes = merkle::root_nodes(self.size);
        let hashes: Result<Vec<Digest>, _> = nodes.into_iter().map(|id| self.node(id)).collect();
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size: self.size,
            root: merkle::fold_root(self.size, &hashes.unwrap()).unwrap(),
        };
        let mut note = Note::new(&checkpoint.text()).unwrap();
        note.sign(ORIGIN, &key()).unwrap();
        note
    }

    /// What a log asks that believes the witness to be at `old`.
    fn request(self, old: u64) -> Vec<u8> {
        AddCheckpoint {
            old,
            proof: merkle::consistency_proof(old, self.size, |id| self.node(id)).unwrap(),
            note: self.checkpoint().bytes(),
        }
        .body()
    }
}

async fn ask(url: &str, body: Vec<u8>) -> (u16, String, String) {
    let client = reqwest::Client::builder().timeout(SOON).build().unwrap();
    let url = format!("{url}/add-checkpoint");
    let answer = client.post(url).body(body).send().await.unwrap();
    let kind = answer.headers().get("content-type");
    let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), kind, answer.text().await.unwrap())
}

async fn status(url: &str, body: Vec<u8>) -> u16 {
    ask(url, body).await.0
}

#[tokio::test]
async fn ours_and_the_omniwitness_cosign_growth_and_refuse_a_fork() {
    let mut ours = Witness::start("witness.example/ours", &[vkey()])
        .await
        .unwrap();
    let theirs = Omniwitness::start("witness.example/theirs", &[vkey()])
        .await
        .unwrap();
    let policy = format!(
        "log {}\nwitness ours {}\nwitness theirs {}\ngroup both all ours theirs\nquorum both\n",
        vkey(),
        ours.vkey(),
        theirs.vkey()
    );
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let urls = [ours.url(), theirs.url()];

    for (history, old) in [(main(4), 0), (main(4), 4), (main(9), 4), (main(300), 9)] {
        let mut note = history.checkpoint();
        for url in &urls {
            let (status, _, lines) = ask(url, history.request(old)).await;
            assert_eq!(status, 200, "{url}: {lines}");
            for signature in Signature::parse_lines(lines.as_bytes()).unwrap() {
                note.add(signature);
            }
        }
        let opened = note.open(&policy.vkeys(), &RingVerifier).unwrap();
        let time = policy.newest_time(&policy.cosigned(&opened));
        assert!(time.is_some(), "both cosigned: {opened:?}");
    }

    for url in &urls {
        assert_eq!(status(url, fork(300).request(300)).await, 422, "{url}");
        assert_eq!(status(url, fork(400).request(300)).await, 422, "{url}");
        let (status, kind, body) = ask(url, main(400).request(9)).await;
        assert_eq!(
            (status, kind.as_str(), body.as_str()),
            (409, "text/x.tlog.size", "300\n")
        );
    }

    // A crash takes nothing back.
    ours.process.kill().unwrap();
    ours.restart().await.unwrap();
    assert_eq!(status(&ours.url(), fork(300).request(300)).await, 422);
    assert_eq!(status(&ours.url(), main(9).request(9)).await, 409);
    assert_eq!(status(&ours.url(), main(400).request(300)).await, 200);
}

#[tokio::test]
async fn a_witness_that_forgot_does_not_start() {
    let mut witness = Witness::start("witness.example/w1", &[vkey()])
        .await
        .unwrap();
    assert_eq!(status(&witness.url(), main(9).request(0)).await, 200);
    let done = witness.process.terminate(SOON).await.unwrap();
    assert!(done.success(), "{done}");
    let file = witness
        .data()
        .join("logs")
        .join(Digest::of(ORIGIN.as_bytes()).to_string());
    let whole = std::fs::read(&file).unwrap();
    for damage in ["truncated", "gone"] {
        match damage {
            "truncated" => std::fs::write(&file, &whole[..whole.len() / 2]).unwrap(),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        witness.try_restart().unwrap();
        let ended = witness.process.exit(SOON).await.unwrap();
        assert_eq!(ended.code(), Some(1), "{damage}: {}", witness.process.log());
        assert!(witness.process.log().contains("could cosign a fork"));
    }
    std::fs::write(&file, &whole).unwrap();
    witness.restart().await.unwrap();
    assert_eq!(status(&witness.url(), fork(9).request(9)).await, 422);
}
