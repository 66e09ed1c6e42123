//! The transparency log: what is appended here is claimed, tiled, witnessed and published, in that order.
//!
//! In: entries, exact bytes. Out: their indexes and a signed checkpoint that covers them, once both are durable; proofs;
//! and a tree of static files that any `tlog-tiles` client reads.
//!
//! ```text
//! append ─► sequencer: staging object, signed checkpoint, claim ─► acknowledged ─► `claimed`
//!                                                                      │
//!                                     tiles: written and read back ◄───┘
//!                                                  │
//!                        publish: witnesses ─► `checkpoint` ─► `published`
//! ```
//!
//! In memory are the right edge of the tree and the newest checkpoint. Read [`chain`] for what a claim does to the tree,
//! [`sequencer`] for the order of writes, [`replay`] for what a crash leaves, [`tiles`] and [`publish`] for what follows
//! the claim.

pub(crate) mod chain;
pub(crate) mod enrolments;
pub mod entries;
pub mod error;
pub mod limits;
pub mod metrics;
pub(crate) mod outside;
mod partials;
mod proofs;
mod publish;
pub(crate) mod receipts;
pub(crate) mod replay;
pub(crate) mod sequencer;
mod signed;
mod tiles;
mod witness;

pub use error::{CheckpointProblem, EntryProblem, LogError, LogOpenError, ReadError, RecordError};
pub use metrics::LogMetrics;
pub use signed::{Signed, origin, vkey};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_fleet::api::LogProgress;
use countersign_ledger::Digest;
use countersign_ledger::manifest::SectionList;
use countersign_ledger::tlog::Policy;
use countersign_ledger::tlog::note::Vkey;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::seal::Signer;
use crate::serve::Clock;
use crate::store::index::Filed;
use crate::store::{CHECKPOINT, Index, Store, StoreFault};
use chain::Chain;
use proofs::Prover;
use sequencer::{Request, Sequencer};

/// Asks a person to look: a stable code and a sentence.
pub type Alarm = Arc<dyn Fn(&'static str, String) + Send + Sync>;

/// What a log is made of, beside store and index.
#[derive(Clone)]
pub struct Parts {
    /// The log's key.
    pub signer: Arc<dyn Signer>,
    /// Keys that the log may have signed with, the newest first: what the trust roots list.
    pub keys: Vec<Vkey>,
    /// Whose cosignatures a published checkpoint needs; none at level `signed`.
    pub policy: Option<Arc<Policy>>,
    /// When it does what.
    pub timing: Timing,
    /// Time.
    pub clock: Clock,
    /// Metrics.
    pub metrics: LogMetrics,
    /// Whom to tell what must not be.
    pub alarm: Alarm,
    /// Ends tiles and publishing.
    pub stop: CancellationToken,
}

/// When the log does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The longest rest between two rounds of tiles while entries keep coming.
    pub tiles_every: Duration,
    /// Pause after a failed round of tiles or of publishing.
    pub retry_after: Duration,
    /// How long one checkpoint may wait for its quorum.
    pub round_max: Duration,
    /// How often a published checkpoint is cosigned anew.
    pub cosign_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tiles_every: limits::TILES_EVERY,
            retry_after: limits::RETRY_AFTER,
            round_max: limits::ROUND_MAX,
            cosign_every: limits::COSIGN_EVERY,
        }
    }
}

/// An entry that its appender has read: what it says is filed with it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    pub(crate) filed: Filed,
}

/// Entries that are part of the log.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The index of each, in order.
    pub indexes: Vec<u64>,
    /// The claim that made them part of it; none if all were before.
    pub claim: Option<u64>,
    /// A checkpoint that covers them.
    pub checkpoint: Arc<Signed>,
}

/// The log.
#[derive(Clone)]
pub struct Log {
    key: Vkey,
    store: Store,
    index: Arc<Index>,
    prover: Arc<Prover>,
    queue: mpsc::Sender<Request>,
    claimed: watch::Receiver<Option<Arc<Signed>>>,
    published: watch::Receiver<Option<Arc<Signed>>>,
    waits: watch::Receiver<Option<String>>,
    metrics: LogMetrics,
    tasks: TaskTracker,
}

impl Log {
    /// Reads the claims, of any entries, and begins where they end.
    pub async fn open(store: Store, index: Arc<Index>, parts: Parts) -> Result<Self, LogOpenError> {
        let chain = replay::resume(&store, &index, &parts.keys).await?;
        let chain =
            replay::replay(&store, &index, &parts.keys, chain, &mut replay::Anything).await?;
        Self::start(store, index, chain, parts).await
    }

    /// Begins where `chain` ends.
    pub(crate) async fn start(
        store: Store,
        index: Arc<Index>,
        chain: Chain,
        parts: Parts,
    ) -> Result<Self, LogOpenError> {
        let key = check_key(&parts)?;
        let published = published(&store, &index, &chain, &parts.keys).await?;
        let (published, tiled) = published.unzip();
        let (queue, requests) = mpsc::channel(limits::WAITING_MAX);
        let (claimed, claimed_rx) = watch::channel(chain.signed.clone());
        let (size, size_rx) = watch::channel(tiled.as_ref().map_or(0, |tiled| tiled.size));
        let (tiled, tiled_rx) = watch::channel(tiled);
        let (published, published_rx) = watch::channel(published);
        let (waits, waits_rx) = watch::channel(None);
        let metrics = parts.metrics;
        metrics
            .size
            .set(i64::try_from(chain.frontier.size()).unwrap_or(i64::MAX));
        let prover = Arc::new(Prover::new(Arc::clone(&index)));
        let tasks = TaskTracker::new();
        let sequencer = Sequencer {
            store: store.clone(),
            index: Arc::clone(&index),
            signer: parts.signer,
            key: key.clone(),
            chain,
            queue: requests,
            claimed,
            tiled: size_rx,
            metrics: metrics.clone(),
        };
        tasks.spawn(sequencer.run());
        let tiler = tiles::Tiler {
            store: store.clone(),
            index: Arc::clone(&index),
            claimed: claimed_rx.clone(),
            tiled,
            size,
            metrics: metrics.clone(),
            alarm: Arc::clone(&parts.alarm),
            timing: parts.timing,
        };
        tasks.spawn(tiler.run(parts.stop.clone()));
        let publisher = publish::Publisher {
            store: store.clone(),
            index: Arc::clone(&index),
            prover: Arc::clone(&prover),
            policy: parts.policy,
            tiled: tiled_rx,
            published,
            waits,
            metrics: metrics.clone(),
            alarm: parts.alarm,
            clock: parts.clock,
            timing: parts.timing,
        };
        tasks.spawn(publisher.run(parts.stop));
        tasks.close();
        Ok(Self {
            key,
            store,
            index,
            prover,
            queue,
            claimed: claimed_rx,
            published: published_rx,
            waits: waits_rx,
            metrics,
            tasks,
        })
    }

    /// Appends `entries`, in order and as one: all of them in one claim, or none. When it returns they are durable, with
    /// a signed checkpoint that covers them. An entry that is in the log already keeps its index.
    ///
    /// # Errors
    /// [`LogError`]; [`LogError::Busy`] at once if [`limits::WAITING_MAX`] appends wait.
    ///
    /// # Cancel safety
    /// Dropped, the entries may or may not be appended.
    pub async fn append(&self, entries: Vec<Bytes>) -> Result<Appended, LogError> {
        let filed = Filed::Other;
        let entries = entries.into_iter().map(|bytes| Entry {
            bytes,
            filed: filed.clone(),
        });
        let place = self.queue.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => LogError::Busy,
            mpsc::error::TrySendError::Closed(()) => LogError::Stopped,
        })?;
        let (entries, blobs) = (entries.collect(), Vec::new());
        self.send(place, entries, blobs).await
    }

    /// Appends entries whose meaning is known; waits for its turn however many wait.
    pub(crate) async fn append_read(
        &self,
        entries: Vec<Entry>,
        blobs: Vec<Digest>,
    ) -> Result<Appended, LogError> {
        let place = self.queue.reserve().await.map_err(|_| LogError::Stopped)?;
        self.send(place, entries, blobs).await
    }

    async fn send(
        &self,
        place: mpsc::Permit<'_, Request>,
        entries: Vec<Entry>,
        blobs: Vec<Digest>,
    ) -> Result<Appended, LogError> {
        check_size(&entries)?;
        let began = tokio::time::Instant::now();
        let (reply, answer) = oneshot::channel();
        place.send(Request {
            entries,
            blobs,
            reply,
        });
        let appended = answer.await.map_err(|_| LogError::Stopped)??;
        self.metrics
            .append_seconds
            .observe(began.elapsed().as_secs_f64());
        Ok(appended)
    }

    /// The newest claimed checkpoint: what agents at level `signed` take. None before the first append.
    #[must_use]
    pub fn claimed(&self) -> watch::Receiver<Option<Arc<Signed>>> {
        self.claimed.clone()
    }

    /// The newest published checkpoint, cosigned if there is a witness policy.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Option<Arc<Signed>>> {
        self.published.clone()
    }

    /// Why publishing waits, for people; none if it does not.
    #[must_use]
    pub fn waits(&self) -> Option<String> {
        self.waits.borrow().clone()
    }

    /// How far it got, for people.
    #[must_use]
    pub fn progress(&self) -> LogProgress {
        let size = |signed: &watch::Receiver<Option<Arc<Signed>>>| {
            signed.borrow().as_ref().map_or(0, |signed| signed.size)
        };
        LogProgress {
            size: size(&self.claimed),
            published: size(&self.published),
            waits: self.waits().unwrap_or_default(),
        }
    }

    /// The log's key.
    #[must_use]
    pub fn key(&self) -> &Vkey {
        &self.key
    }

    /// Proof that entry `index` is in the tree of `size`, which must have been claimed.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, ReadError> {
        self.prover.inclusion(index, size)
    }

    /// Proof that the tree of `old` is a prefix of that of `new`, which must have been claimed.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, ReadError> {
        self.prover.consistency(old, new)
    }

    /// The index of the entry with this leaf hash.
    pub fn find(&self, leaf: &Digest) -> Result<Option<u64>, ReadError> {
        Ok(self.index.leaf(leaf)?)
    }

    /// The entry at `index`, exact bytes; its leaf hash is that of its place.
    pub async fn entry(&self, index: u64) -> Result<Option<Bytes>, ReadError> {
        if self.index.places(index, 1)?.is_empty() {
            return Ok(None);
        }
        let entries = tiles::entries(&self.store, &self.index, index, 1).await?;
        Ok(entries.into_iter().next())
    }

    /// The `source` entry with this leaf hash.
    pub(crate) fn source_entry(&self, leaf: &Digest) -> Result<Option<Bytes>, ReadError> {
        Ok(self.index.source_entry(leaf)?)
    }

    /// A file of the static log: `checkpoint`, a tile or a bundle.
    pub(crate) async fn file(&self, path: &str) -> Result<Option<Bytes>, StoreFault> {
        self.store.get(path).await
    }

    /// A blob that a statement in the log names, or a part of a state's manifest; none of those that only a manifest's lines name.
    pub(crate) async fn named_blob(&self, digest: &Digest) -> Result<Option<Bytes>, ReadError> {
        if !self.index.is_named(digest)? {
            return Ok(None);
        }
        let Some(bytes) = self.store.blob(digest).await? else {
            return Ok(None);
        };
        // Who reads a state's section list reads its sections next: identities and digests, and no object.
        if self.index.is_manifest(digest)?
            && let Ok(list) = SectionList::parse(&bytes)
        {
            let sections = list.sections.iter().map(|part| part.digest);
            let parts: Vec<Digest> = sections.chain([list.apps]).collect();
            self.index.name(&parts)?;
        }
        Ok(Some(bytes))
    }

    /// The version of the newest trust root that has an entry; 0 if none has.
    pub(crate) fn trust_version(&self) -> Result<u64, ReadError> {
        Ok(self.index.trust_version()?)
    }

    /// Ends once all tasks have: after every handle but this one is gone and `stop` was cancelled.
    pub async fn ended(self) {
        let Self { queue, tasks, .. } = self;
        drop(queue);
        tasks.wait().await;
    }
}

fn check_size(entries: &[Entry]) -> Result<(), LogError> {
    use countersign_ledger::bundle::BundleError;
    if entries.len() > limits::GROUP_ENTRIES_MAX {
        return Err(LogError::TooLarge(BundleError::TooMany));
    }
    let large = |(index, entry): (usize, &Entry)| {
        let bytes = entry.bytes.len();
        (bytes > usize::from(u16::MAX)).then_some(BundleError::EntryTooLarge { index, bytes })
    };
    match entries.iter().enumerate().find_map(large) {
        Some(error) => Err(LogError::TooLarge(error)),
        None => Ok(()),
    }
}

fn check_key(parts: &Parts) -> Result<Vkey, LogOpenError> {
    let listed = parts
        .keys
        .first()
        .ok_or(LogOpenError::Record(RecordError::Checkpoint {
            number: 0,
            problem: CheckpointProblem::LogNotListed,
        }))?;
    if *listed.key() == parts.signer.public() {
        Ok(listed.clone())
    } else {
        Err(LogOpenError::KeyUnlisted {
            want: listed.key().to_string(),
            got: parts.signer.public().to_string(),
        })
    }
}

/// What lies at `checkpoint`, as it is and as it was claimed, without cosignatures: it must be of a claim, or two
/// histories exist.
async fn published(
    store: &Store,
    index: &Index,
    chain: &Chain,
    keys: &[Vkey],
) -> Result<Option<(Arc<Signed>, Arc<Signed>)>, LogOpenError> {
    let Some(note) = store.get(CHECKPOINT).await? else {
        return Ok(None);
    };
    let checkpoint = signed::open(keys, &note).map_err(LogOpenError::Published)?;
    let (size, root) = (checkpoint.size, checkpoint.root);
    let claimed = chain.frontier.size();
    if size > claimed {
        return Err(LogOpenError::SetBack {
            published: size,
            claimed,
        });
    }
    let (claim, ours) = index
        .note_of_size(size)?
        .ok_or(LogOpenError::Forked { size, root })?;
    if signed::open(keys, &ours)
        .map_err(LogOpenError::Published)?
        .root
        != root
    {
        return Err(LogOpenError::Forked { size, root });
    }
    let signed = |note| {
        Arc::new(Signed {
            size,
            root,
            note,
            claim,
        })
    };
    Ok(Some((signed(note), signed(ours))))
}

#[cfg(test)]
pub(crate) mod tests;
