//! Heads with their proofs: the log's checkpoint, that it goes on from the agent's last, and where each entry stands.
//!
//! A cluster at level `signed` gets the newest claimed checkpoint; from `witnessed` on the published one, which bears
//! the witnesses' cosignatures, and a head waits until it is covered by one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::statement::Statement;
use countersign_proto::agent::v1 as wire;
use tokio::sync::watch;
use tokio::time::Instant;

use super::SealedFault;
use crate::log::{Log, ReadError, Signed};

/// An agent at the head hears of a new checkpoint this often at most: more often than it must (every 15 minutes), and
/// not with each commit of the whole fleet.
const REFRESH_EVERY: Duration = Duration::from_secs(240);

/// Which of the log's checkpoints a cluster takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The newest claimed one: level `signed`.
    Claimed,
    /// The published one, cosigned: level `witnessed` and above.
    Published,
}

impl Taken {
    /// By the name of the cluster's level.
    #[must_use]
    pub fn at(level: &str) -> Self {
        if level == "signed" {
            Self::Claimed
        } else {
            Self::Published
        }
    }
}

/// Proves what one stream of heads says.
pub(super) struct Proving {
    log: Log,
    taken: Taken,
    checkpoints: watch::Receiver<Option<Arc<Signed>>>,
    /// Size of the agent's last checkpoint; 0 for none.
    tree_size: u64,
    /// The trust roots' entries that were not sent yet, by their places.
    trust: VecDeque<(u64, Bytes)>,
    /// The note that was sent last, and when.
    sent: Option<(Bytes, Instant)>,
}

impl Proving {
    pub(super) fn new(
        log: Log,
        taken: Taken,
        tree_size: u64,
        trust: impl IntoIterator<Item = (u64, Bytes)>,
    ) -> Self {
        let checkpoints = match taken {
            Taken::Claimed => log.claimed(),
            Taken::Published => log.published(),
        };
        Self {
            log,
            taken,
            checkpoints,
            tree_size,
            trust: trust.into_iter().collect(),
            sent: None,
        }
    }

    /// The size of the agent's last checkpoint, if it is larger than all that was ever claimed here, and ours.
    pub(super) fn ahead(&self) -> Option<(u64, u64)> {
        let ours = self
            .log
            .claimed()
            .borrow()
            .as_ref()
            .map_or(0, |signed| signed.size);
        (self.tree_size > ours).then_some((self.tree_size, ours))
    }

    /// Adds checkpoint and proofs to a message; none if no checkpoint covers it yet.
    pub(super) fn prove(&mut self, head: wire::Head) -> Result<Option<wire::Head>, SealedFault> {
        let signed = self.checkpoints.borrow_and_update().clone();
        match signed.filter(|signed| signed.size >= self.tree_size) {
            Some(signed) => self.prove_under(head, &signed),
            None => Ok(head.envelopes.is_empty().then_some(head)),
        }
    }

    /// The same under the newest claimed checkpoint, which witnesses may not have seen.
    pub(super) fn prove_claimed(
        &mut self,
        head: wire::Head,
    ) -> Result<Option<wire::Head>, SealedFault> {
        let signed = self.log.claimed().borrow().clone();
        match signed.filter(|signed| signed.size >= self.tree_size) {
            Some(signed) => self.prove_under(head, &signed),
            None => Ok(None),
        }
    }

    fn prove_under(
        &mut self,
        mut head: wire::Head,
        signed: &Signed,
    ) -> Result<Option<wire::Head>, SealedFault> {
        let mut sources: Vec<Digest> = Vec::new();
        for envelope in &head.envelopes {
            let index = self.index(&leaf_hash(envelope))?;
            if index >= signed.size {
                return Ok(None);
            }
            head.proofs.push(self.inclusion(index, signed.size)?);
            let source = source(envelope)?;
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        for leaf in sources {
            let index = self.index(&leaf)?;
            let entry = self.log.source_entry(&leaf).map_err(fault)?;
            let envelope = entry.ok_or_else(|| lost(&leaf))?;
            let proof = Some(self.inclusion(index, signed.size)?);
            head.sources.push(wire::LogEntry { envelope, proof });
        }
        let covered = self
            .trust
            .partition_point(|(index, _)| *index < signed.size);
        for (index, envelope) in self.trust.range(..covered) {
            head.trust_entries.push(wire::LogEntry {
                envelope: envelope.clone(),
                proof: Some(self.inclusion(*index, signed.size)?),
            });
        }
        if self.tree_size > 0 {
            let proof = self.log.consistency(self.tree_size, signed.size);
            head.consistency = hashes(&proof.map_err(fault)?);
        }
        head.checkpoint = signed.note.clone();
        self.tree_size = signed.size;
        self.trust.drain(..covered);
        self.sent = Some((signed.note.clone(), Instant::now()));
        Ok(Some(head))
    }

    /// Whether an agent waits for witnesses.
    pub(super) fn asks_witnesses(&self) -> bool {
        self.taken == Taken::Published
    }

    /// Entries under the newest claimed checkpoint.
    pub(super) fn claimed_size(&self) -> u64 {
        let claimed = self.log.claimed();
        claimed.borrow().as_ref().map_or(0, |signed| signed.size)
    }

    /// The published note under which an entry goes out as any other, if there is one.
    pub(super) fn covering(&self, leaf: &Digest) -> Result<Option<Bytes>, SealedFault> {
        let index = self.index(leaf)?;
        let signed = self.checkpoints.borrow().clone();
        let covers = |signed: &Arc<Signed>| signed.size > index && signed.size >= self.tree_size;
        Ok(signed.filter(covers).map(|signed| signed.note.clone()))
    }

    /// Entries under the newest checkpoint that may be sent.
    pub(super) fn size(&mut self) -> u64 {
        let newest = self.checkpoints.borrow_and_update();
        newest.as_ref().map_or(0, |signed| signed.size)
    }

    /// Entries under the checkpoint that was sent last.
    pub(super) fn sent_size(&self) -> u64 {
        self.tree_size
    }

    /// Entries with their proofs under the checkpoint that was sent last.
    pub(super) fn shown(
        &self,
        entries: Vec<(u64, Bytes)>,
    ) -> Result<Vec<wire::LogEntry>, SealedFault> {
        let entry = |(index, envelope)| {
            let proof = Some(self.inclusion(index, self.tree_size)?);
            Ok(wire::LogEntry { envelope, proof })
        };
        entries.into_iter().map(entry).collect()
    }

    fn index(&self, leaf: &Digest) -> Result<u64, SealedFault> {
        self.log
            .find(leaf)
            .map_err(fault)?
            .ok_or_else(|| lost(leaf))
    }

    fn inclusion(&self, index: u64, size: u64) -> Result<wire::LogProof, SealedFault> {
        let proof = self.log.inclusion(index, size).map_err(fault)?;
        Ok(wire::LogProof {
            index,
            hashes: hashes(&proof),
        })
    }

    /// Waits for another checkpoint than the one that was looked at last, if a head is not covered by that; otherwise
    /// until the agent should hear of a newer one.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub(super) async fn due(&mut self, uncovered: bool) {
        if uncovered {
            self.changed().await;
        } else {
            self.refresh_due().await;
        }
    }

    /// Waits for another checkpoint, under which an entry may stand that a head waits for, or until the agent should hear of
    /// a newer one all the same; says whether it is the latter.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub(super) async fn stirred(&mut self) -> bool {
        let mut checkpoints = self.checkpoints.clone();
        tokio::select! {
            changed = checkpoints.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                false
            }
            () = self.refresh_due() => true,
        }
    }

    async fn changed(&mut self) {
        if self.checkpoints.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until an agent that is at the head should hear of a newer checkpoint; for ever at level `signed`, where no
    /// checkpoint grows stale.
    async fn refresh_due(&mut self) {
        if self.taken == Taken::Claimed {
            std::future::pending::<()>().await;
        }
        let (sent, tree_size) = (self.sent.clone(), self.tree_size);
        let newer = |signed: &Option<Arc<Signed>>| match (signed, &sent) {
            // One below what a person let through can't be sent.
            (Some(signed), _) if signed.size < tree_size => false,
            (Some(signed), Some((note, _))) => signed.note != *note,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if self.checkpoints.wait_for(newer).await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some((_, at)) = sent {
            tokio::time::sleep_until(at + REFRESH_EVERY).await;
        }
    }
}

fn source(envelope: &[u8]) -> Result<Digest, SealedFault> {
    let unreadable = |problem: String| SealedFault::Unreadable(problem);
    let envelope =
        Envelope::parse(envelope, &Limits::entry()).map_err(|e| unreadable(e.to_string()))?;
    match Statement::parse(envelope.payload()).map_err(|e| unreadable(e.to_string()))? {
        Statement::Desired(desired) => Ok(desired.source),
        _ => Err(unreadable(
            "an envelope of a chain is no desired state".into(),
        )),
    }
}

fn hashes(proof: &[Digest]) -> Vec<Bytes> {
    proof
        .iter()
        .map(|hash| Bytes::copy_from_slice(hash.as_bytes()))
        .collect()
}

fn lost(leaf: &Digest) -> SealedFault {
    SealedFault::Unreadable(format!("no entry of the log has the leaf hash {leaf}"))
}

pub(super) fn fault(error: ReadError) -> SealedFault {
    SealedFault::Unreadable(error.to_string())
}
