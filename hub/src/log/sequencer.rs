//! The one writer of claims: what waits becomes one group, a group becomes one staging object and one claim.
//!
//! A lone append goes at once. While it is written others come in, and they are the next group: so the log does two
//! writes a group, however many wait. Order: staging object and signature side by side, claim, index, answer.

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::claim::Claim;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::{Digest, bundle};
use tokio::sync::{mpsc, oneshot, watch};

use super::chain::{Chain, Grown, grow};
use super::error::LogError;
use super::limits::{GROUP_BYTES_MAX, GROUP_ENTRIES_MAX, UNTILED_MAX};
use super::metrics::LogMetrics;
use super::signed::{self, Signed};
use super::{Appended, Entry};
use crate::seal::Signer;
use crate::store::index::{Filed, FiledClaim, Index};
use crate::store::{BlobError, Created, Store, staging_path};

/// One append, and who waits for it.
pub(super) struct Request {
    pub(super) entries: Vec<Entry>,
    pub(super) blobs: Vec<Digest>,
    pub(super) reply: oneshot::Sender<Result<Appended, LogError>>,
}

impl Request {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes.len()).sum()
    }
}

/// The sequencer's task.
pub(super) struct Sequencer {
    pub(super) store: Store,
    pub(super) index: Arc<Index>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) key: Vkey,
    pub(super) chain: Chain,
    pub(super) queue: mpsc::Receiver<Request>,
    pub(super) claimed: watch::Sender<Option<Arc<Signed>>>,
    pub(super) tiled: watch::Receiver<u64>,
    pub(super) metrics: LogMetrics,
}

/// A group, ready to be written.
pub(crate) struct Planned {
    pub(crate) grown: Grown,
    pub(crate) staging: Bytes,
    pub(crate) digest: Digest,
    filed: Vec<Filed>,
    blobs: Vec<Digest>,
    edge: Vec<u8>,
}

impl Planned {
    /// As it is filed once it is claimed.
    pub(crate) fn filing<'p>(
        &'p self,
        number: u64,
        claim: &'p Digest,
        note: Option<&'p [u8]>,
    ) -> FiledClaim<'p> {
        FiledClaim {
            number,
            digest: claim,
            staging: &self.digest,
            note,
            leaves: &self.grown.leaves,
            nodes: &self.grown.nodes,
            frontier: &self.edge,
            entries: &self.filed,
            blobs: &self.blobs,
        }
    }
}

impl Sequencer {
    /// Runs until nobody can append any more, or the fate of a claim is not known.
    pub(super) async fn run(mut self) {
        let mut carried = None;
        loop {
            let first = match carried.take() {
                Some(request) => request,
                // Cancel safe, and nothing races it.
                None => match self.queue.recv().await {
                    Some(request) => request,
                    None => return,
                },
            };
            let limit = self.chain.frontier.size().saturating_sub(UNTILED_MAX);
            if self.tiled.wait_for(|tiled| *tiled >= limit).await.is_err() {
                let _ = first.reply.send(Err(LogError::Stopped));
                break;
            }
            let (group, next) = gather(first, &mut self.queue);
            carried = next;
            if let Err(last) = self.commit(group).await {
                tracing::error!(error = %last, "the log has stopped");
                break;
            }
        }
        self.queue.close();
        let left = carried
            .into_iter()
            .chain(std::iter::from_fn(|| self.queue.try_recv().ok()));
        for request in left {
            let _ = request.reply.send(Err(LogError::Stopped));
        }
    }

    /// Writes a group and answers each of its appends. An error is the last one: nothing more may be claimed.
    async fn commit(&mut self, group: Vec<Request>) -> Result<(), LogError> {
        let (mut batches, mut replies) = (Vec::with_capacity(group.len()), Vec::new());
        for request in group {
            batches.push((request.entries, request.blobs));
            replies.push(request.reply);
        }
        let counts: Vec<usize> = batches.iter().map(|(entries, _)| entries.len()).collect();
        let done = self.write(batches).await;
        self.metrics.group(counts.iter().sum(), done.is_err());
        match done {
            Ok((indexes, claim, checkpoint)) => {
                let mut indexes = indexes.into_iter();
                for (reply, count) in replies.into_iter().zip(counts) {
                    let _ = reply.send(Ok(Appended {
                        indexes: indexes.by_ref().take(count).collect(),
                        claim,
                        checkpoint: Arc::clone(&checkpoint),
                    }));
                }
                Ok(())
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
                if error.is_final() { Err(error) } else { Ok(()) }
            }
        }
    }

    #[allow(clippy::type_complexity)] // indexes, claim, checkpoint: named where they are used
    async fn write(
        &mut self,
        batches: Vec<(Vec<Entry>, Vec<Digest>)>,
    ) -> Result<(Vec<u64>, Option<u64>, Arc<Signed>), LogError> {
        let (index, frontier) = (Arc::clone(&self.index), self.chain.frontier.clone());
        let planned = tokio::task::spawn_blocking(move || plan(&index, &frontier, batches))
            .await
            .map_err(|_| LogError::Stopped)??;
        if let Some(signed) = &self.chain.signed
            && planned.grown.leaves.is_empty()
        {
            return Ok((planned.grown.indexes, None, Arc::clone(signed)));
        }
        let (size, root) = (planned.grown.frontier.size(), planned.grown.frontier.root());
        let text = signed::text(self.key.name(), size, root);
        let (stored, note) = tokio::join!(
            stage(&self.store, &planned.digest, planned.staging.clone()),
            signed::sign(self.signer.as_ref(), &self.key, &text)
        );
        stored?;
        let note = note?;
        let number = self.chain.next;
        let bytes = Bytes::from(self.chain.claim(planned.digest, Some(&note)).bytes());
        let digest = Digest::of(&bytes);
        claim(&self.store, number, bytes).await?;
        let signed = Arc::new(Signed {
            size,
            root,
            note,
            claim: number,
        });
        let (index, filed) = (Arc::clone(&self.index), Arc::clone(&signed));
        let file = move || {
            index.file(&planned.filing(number, &digest, Some(&filed.note)))?;
            Ok(planned.grown)
        };
        let not_filed = |fault| LogError::NotFiled {
            number,
            fault: Arc::new(fault),
        };
        let grown = tokio::task::spawn_blocking(file)
            .await
            .map_err(|_| LogError::Stopped)?
            .map_err(not_filed)?;
        self.chain
            .advance(&digest, grown.frontier, Some(Arc::clone(&signed)));
        self.metrics.claimed(size);
        self.claimed.send_replace(Some(Arc::clone(&signed)));
        Ok((grown.indexes, Some(number), signed))
    }
}

/// The first append, and those that wait behind it as far as one claim takes them; the one that did not fit.
fn gather(first: Request, queue: &mut mpsc::Receiver<Request>) -> (Vec<Request>, Option<Request>) {
    let (mut entries, mut bytes) = (first.entries.len(), first.bytes());
    let mut group = vec![first];
    while let Ok(next) = queue.try_recv() {
        entries = entries.saturating_add(next.entries.len());
        bytes = bytes.saturating_add(next.bytes());
        if entries > GROUP_ENTRIES_MAX || bytes > GROUP_BYTES_MAX {
            return (group, Some(next));
        }
        group.push(next);
    }
    (group, None)
}

/// What a group makes of the tree: hashes and index look-ups, on a thread where they block nobody.
pub(crate) fn plan(
    index: &Index,
    frontier: &countersign_ledger::tlog::Frontier,
    batches: Vec<(Vec<Entry>, Vec<Digest>)>,
) -> Result<Planned, LogError> {
    let (mut entries, mut blobs) = (Vec::new(), Vec::new());
    for (batch, named) in batches {
        entries.extend(batch);
        blobs.extend(named);
    }
    let hashes: Vec<Digest> = entries
        .iter()
        .map(|entry| leaf_hash(&entry.bytes))
        .collect();
    let grown = grow(frontier, &hashes, |hash| index.leaf(hash))?;
    let (mut new, mut filed) = (Vec::with_capacity(grown.leaves.len()), Vec::new());
    let mut next = frontier.size();
    for (entry, index) in entries.into_iter().zip(&grown.indexes) {
        if *index == next {
            next += 1;
            new.push(entry.bytes);
            filed.push(entry.filed);
        }
    }
    let staging = bundle::encode(new.iter().map(Bytes::as_ref)).map_err(LogError::TooLarge)?;
    let staging = Bytes::from(staging);
    Ok(Planned {
        digest: Digest::of(&staging),
        edge: grown.frontier.to_bytes(),
        grown,
        staging,
        filed,
        blobs,
    })
}

/// Writes a staging object.
pub(crate) async fn stage(store: &Store, digest: &Digest, staging: Bytes) -> Result<(), LogError> {
    let path = staging_path(digest);
    match store.create(&path, staging).await? {
        Created::Ours => Ok(()),
        Created::Theirs(there) => Err(BlobError::Tampered {
            path,
            got: Digest::of(&there),
        }
        .into()),
    }
}

/// Writes claim `number`: from here on the group is part of the record.
pub(crate) async fn claim(store: &Store, number: u64, claim: Bytes) -> Result<(), LogError> {
    match store.create(&Claim::path(number), claim).await {
        Ok(Created::Ours) => Ok(()),
        Ok(Created::Theirs(_)) => Err(LogError::ClaimLost { number }),
        Err(fault) => Err(LogError::ClaimUnknown { number, fault }),
    }
}
