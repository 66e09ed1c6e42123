//! Sealing into the log, and what an agent is sent of it: it checks each message as a stranger.

use countersign_ledger::trust::{LogTrust, RoleKey, WitnessTrust};
use countersign_ledger::verify::{Inclusion, Seen, VerifiedCheckpoint};
use countersign_proto::agent::v1 as wire;

use super::*;
use crate::log::tests::witness::{Manner, Mock, policy};
use crate::log::{self, CheckpointProblem, Log};
use crate::sealed::{Record, fresh};
use crate::serve::heads::{Apart, Ended, Follower, Newest, Position, Taken};

const AGENT_CA: u8 = 77;

/// The fleet's roots with a log, and with witnesses for `metal-fra` if there are any.
fn logged(witnesses: Option<String>) -> Roots {
    let mut document = document();
    let vkey = log::tests::parts().keys.remove(0);
    document.log = Some(LogTrust {
        vkey: vkey.to_string(),
        url: None,
    });
    document.agent_cas = vec![RoleKey {
        key: key(AGENT_CA).public(),
    }];
    if let Some(policy) = witnesses {
        document.witnesses = Some(WitnessTrust { policy });
        if let Some(cluster) = document.clusters.get_mut("metal-fra") {
            cluster.level = Level::Witnessed;
        }
    }
    let signed = document.sign(&[&key(ROOT)]).unwrap();
    Roots::new(VerifiedRoot::parse(signed.bytes(), &RingVerifier).unwrap())
}

async fn open_logged(store: &Store, index: &Arc<Index>, roots: &Roots) -> Arc<Sealer> {
    let log = log::Parts {
        policy: roots.newest().witnesses().cloned().map(Arc::new),
        ..log::tests::parts()
    };
    let parts = Parts {
        roots: roots.clone(),
        log: Some(log),
        ..parts(store, index)
    };
    Arc::new(Sealer::open(parts).await.unwrap().0)
}

fn log_of(sealer: &Sealer) -> Log {
    sealer.log().unwrap().clone()
}

/// An agent that keeps what it verified.
struct Agent {
    known: Known,
    follower: Follower,
}

impl Agent {
    async fn new(sealer: &Arc<Sealer>, newest: &Newest, roots: &Roots, cluster: &str) -> Self {
        let level = roots.newest().cluster(cluster).unwrap().level;
        let at = Position {
            generation: 0,
            envelope: None,
            tree_size: 0,
        };
        let record = Arc::new(Record(Arc::clone(sealer)));
        Self {
            known: Known::new(cluster, roots.clone(), None),
            follower: Follower::new(cluster, record, newest, at)
                .proven(log_of(sealer), Taken::at(level.name()))
                .await
                .unwrap(),
        }
    }

    /// Takes one message in, with all checks.
    async fn take(&mut self) -> (wire::Head, VerifiedCheckpoint) {
        let head = self.follower.advance().await.unwrap();
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
        let consistency = digests(&head.consistency);
        let checkpoint = verify::checkpoint(
            &self.known,
            &head.checkpoint,
            &consistency,
            Some(now),
            &RingVerifier,
        )
        .unwrap();
        self.known.seen = Some(Seen::clone(checkpoint.seen()));
        if !head.envelopes.is_empty() {
            let links: Vec<Link<Bytes>> = head
                .envelopes
                .iter()
                .zip(&head.proofs)
                .map(|(envelope, proof)| link(envelope, proof))
                .collect();
            let sources: Vec<Link<Bytes>> = head
                .sources
                .iter()
                .map(|entry| link(&entry.envelope, entry.proof.as_ref().unwrap()))
                .collect();
            let verified = verify::verify_chain(
                &self.known,
                &links,
                &sources,
                Some(&checkpoint),
                &RingVerifier,
            )
            .unwrap();
            self.known.last = Some(verified.last());
        }
        (head, checkpoint)
    }
}

fn digests(hashes: &[Bytes]) -> Vec<Digest> {
    hashes
        .iter()
        .map(|hash| Digest::from_bytes(hash.as_ref().try_into().unwrap()))
        .collect()
}

fn link(envelope: &Bytes, proof: &wire::LogProof) -> Link<Bytes> {
    Link {
        envelope: envelope.clone(),
        proof: Some(Inclusion {
            index: proof.index,
            hashes: digests(&proof.hashes),
        }),
    }
}

async fn seal(sealer: &Sealer, newest: &Newest, n: u64) {
    let batch = sealer.seal(moved(n), vec![state("metal-fra", &[n])]).await;
    for sealed in batch.unwrap().sealed {
        newest.publish(fresh(sealed));
    }
}

#[tokio::test]
async fn an_agent_at_level_signed_takes_what_is_claimed_with_its_proofs() {
    let (store, roots) = (Store::in_memory(), logged(None));
    let (sealer, newest) = (
        open_logged(&store, &index(), &roots).await,
        Newest::default(),
    );
    let mut agent = Agent::new(&sealer, &newest, &roots, "metal-fra").await;
    for n in 0..3 {
        seal(&sealer, &newest, n).await;
    }
    let (head, checkpoint) = agent.take().await;
    assert_eq!(
        (head.envelopes.len(), head.proofs.len(), head.sources.len()),
        (3, 3, 3)
    );
    assert!(head.consistency.is_empty());
    assert_eq!(checkpoint.size(), 6);
    seal(&sealer, &newest, 3).await;
    let (head, checkpoint) = agent.take().await;
    assert_eq!(head.envelopes.len(), 1);
    assert_eq!((checkpoint.size(), head.consistency.is_empty()), (8, false));
}

#[tokio::test]
async fn an_agent_from_witnessed_on_waits_for_the_cosigned_checkpoint() {
    let mocks = [Mock::start(101, Manner::Honest).await];
    let roots = logged(Some(policy(&mocks, 1)));
    let (store, newest) = (Store::in_memory(), Newest::default());
    let sealer = open_logged(&store, &index(), &roots).await;
    let mut agent = Agent::new(&sealer, &newest, &roots, "metal-fra").await;
    for n in 0..3 {
        seal(&sealer, &newest, n).await;
        let (head, checkpoint) = agent.take().await;
        assert_eq!(head.envelopes.len(), 1);
        assert!(checkpoint.time().is_some());
        assert_eq!(checkpoint.size(), 2 * n + 2);
    }
}

#[tokio::test]
async fn a_fleet_that_gets_a_log_goes_on_and_old_heads_have_proofs() {
    let (store, index) = (Store::in_memory(), index());
    let sealer = Sealer::open(parts(&store, &index)).await.unwrap().0;
    for n in 0..3 {
        sealer
            .seal(moved(n), vec![state("metal-fra", &[n])])
            .await
            .unwrap();
    }
    drop(sealer);
    let other = Store::in_memory();
    for name in ["claims", "staging"] {
        for file in store.list(name, "").await.unwrap() {
            let path = format!("{name}/{file}");
            let bytes = store.get(&path).await.unwrap().unwrap();
            other.create(&path, bytes).await.unwrap();
        }
    }
    // The same trust root's version with a log: a test's shortcut for the version after it.
    let (roots, newest) = (logged(None), Newest::default());
    let sealer = open_logged(&other, &index, &roots).await;
    let agent_ca = FileSigner::new(key(AGENT_CA));
    let log = log_of(&sealer);
    let appended = log::entries::trust_roots(&log, &roots, &agent_ca)
        .await
        .unwrap();
    assert_eq!(appended.unwrap().indexes, [6]);
    let again = log::entries::trust_roots(&log, &roots, &agent_ca)
        .await
        .unwrap();
    assert!(again.is_none(), "each version once");
    let heads = sealer.heads().await;
    let head = heads.get("metal-fra").unwrap();
    let reread = crate::serve::Head::new(
        head.desired.generation,
        head.envelope.clone(),
        head.desired.manifest,
        [],
        Vec::new(),
    );
    newest.publish(reread);
    let mut agent = Agent::new(&sealer, &newest, &roots, "metal-fra").await;
    let (head, checkpoint) = agent.take().await;
    assert_eq!((head.envelopes.len(), checkpoint.size()), (3, 7));
}

#[tokio::test]
async fn a_fleet_whose_trust_root_lost_its_log_does_not_start() {
    let (store, index, roots) = (Store::in_memory(), index(), logged(None));
    let sealer = open_logged(&store, &index, &roots).await;
    sealer.seal(moved(0), Vec::new()).await.unwrap();
    let claims = Store::in_memory();
    for name in ["claims", "staging"] {
        for file in store.list(name, "").await.unwrap() {
            let path = format!("{name}/{file}");
            let bytes = store.get(&path).await.unwrap().unwrap();
            claims.create(&path, bytes).await.unwrap();
        }
    }
    for index in [index, super::index()] {
        let opened = Sealer::open(parts(&claims, &index)).await;
        assert!(
            matches!(
                opened.err(),
                Some(OpenError::Record(RecordError::Checkpoint {
                    number: 0,
                    problem: CheckpointProblem::LogNotListed
                }))
            ),
            "the log is in the claims"
        );
    }
}

#[tokio::test]
async fn an_agent_that_has_seen_a_larger_log_is_told_so() {
    let (store, roots) = (Store::in_memory(), logged(None));
    let (sealer, newest) = (
        open_logged(&store, &index(), &roots).await,
        Newest::default(),
    );
    seal(&sealer, &newest, 0).await;
    let at = Position {
        generation: 0,
        envelope: None,
        tree_size: 3,
    };
    let record = Arc::new(Record(Arc::clone(&sealer)));
    let mut follower = Follower::new("metal-fra", record, &newest, at)
        .proven(log_of(&sealer), Taken::Claimed)
        .await
        .unwrap();
    let ended = follower.advance().await.unwrap_err();
    let Ended::Apart(apart) = ended else {
        panic!("{ended}");
    };
    assert_eq!(
        (apart, apart.code()),
        (Apart::LogWentBack { agent: 3, ours: 2 }, "LOG_WENT_BACK")
    );
}

#[tokio::test]
async fn generations_go_on_after_a_restart_over_the_log() {
    let (store, kept, roots) = (Store::in_memory(), index(), logged(None));
    let sealer = open_logged(&store, &kept, &roots).await;
    for n in 0..3 {
        sealer
            .seal(moved(n), vec![state("metal-fra", &[n])])
            .await
            .unwrap();
    }
    let stranger = log_of(&sealer)
        .append(vec![Bytes::from_static(b"x")])
        .await
        .unwrap();
    assert_eq!(stranger.claim, Some(3));
    drop(sealer);
    let sealer = open_logged(&store, &kept, &roots).await;
    let batch = sealer
        .seal(moved(3), vec![state("metal-fra", &[3])])
        .await
        .unwrap();
    assert_eq!(
        (batch.claim, batch.sealed[0].head.desired.generation),
        (Some(4), 4)
    );
}
