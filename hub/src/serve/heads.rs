//! The newest head of each cluster, and the stream that brings an agent to it.
//!
//! A head replaces the one before it: whoever reads slowly finds the newest, never a backlog. What an agent lacks below
//! the head, the envelopes in between, is read back from what was sealed, in batches.

mod authors;
mod overrides;
mod proof;
mod restore;
mod second;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1 as wire;
use countersign_proto::limits::ENVELOPES_PER_HEAD_MAX;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tonic::Status;

use crate::log::Log;

pub(crate) use authors::commit as commit_of;
pub use authors::{Commits, NoCommits};
pub use proof::Taken;
pub use restore::restore;

use self::authors::Authors;
use self::overrides::Overrides;
use self::proof::Proving;
use self::second::{Second, Settled};
use super::clock::Clock;
use super::limits::{ATTACHED_BLOB_BYTES_MAX, ATTACHED_BYTES_MAX, HEADS_READABLE};

/// What was sealed, read back: implemented over index and object store.
pub trait Sealed: Send + Sync + 'static {
    /// Envelopes of a cluster with generations above `above`: exact bytes, ascending, without gaps, at most `limit`.
    fn envelopes<'a>(
        &'a self,
        cluster: &'a str,
        above: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, SealedFault>>;

    /// A blob by its digest; none if there is none. The caller checks the bytes.
    fn blob<'a>(&'a self, name: &'a Digest) -> BoxFuture<'a, Result<Option<Bytes>, SealedFault>>;
}

/// What was sealed can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedFault {
    /// Not now: asking again may help.
    #[error("what was sealed can't be read: {0}")]
    Unreadable(String),
    /// What lies under a blob's name is something else: the store was damaged or tampered with.
    #[error("blob {0} has other content than its name says")]
    Damaged(Digest),
}

/// A newly sealed state, ready to be sent.
#[derive(Debug, Clone)]
pub struct Head {
    generation: u64,
    envelope: Bytes,
    digest: Digest,
    manifest: Digest,
    attached: Vec<(Digest, Bytes)>,
    names: Arc<[Digest]>,
}

impl Head {
    /// A head. `manifest` is the digest of its section list; `likely` are blobs that an agent at the generation before
    /// lacks (section list, changed sections, new objects), the most needed first; `names` are all blobs that the
    /// manifest names, itself, its sections and the apps blob included.
    ///
    /// Attached is what fits of `likely`, in their order; the rest is left to be fetched.
    pub fn new(
        generation: u64,
        envelope: Bytes,
        manifest: Digest,
        likely: impl IntoIterator<Item = (Digest, Bytes)>,
        mut names: Vec<Digest>,
    ) -> Self {
        names.push(manifest);
        names.sort_unstable();
        names.dedup();
        let mut left = ATTACHED_BYTES_MAX;
        let attached = likely
            .into_iter()
            .filter(|(_, bytes)| {
                let fits = bytes.len() <= ATTACHED_BLOB_BYTES_MAX && bytes.len() <= left;
                if fits {
                    left -= bytes.len();
                }
                fits
            })
            .collect();
        Self {
            generation,
            digest: Digest::of(&envelope),
            envelope,
            manifest,
            attached,
            names: names.into(),
        }
    }

    /// Its generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// SHA-256 of its envelope.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Digests of all blobs that its manifest names, sorted.
    pub fn names(&self) -> &[Digest] {
        &self.names
    }

    /// Digest of its manifest.
    pub fn manifest(&self) -> &Digest {
        &self.manifest
    }
}

/// The newest head of one cluster.
#[derive(Debug)]
pub struct Newest {
    head: watch::Sender<Option<Arc<Head>>>,
    readable: Readable,
}

/// What each of the heads that may be read now names, the newest first.
type Readable = Arc<RwLock<VecDeque<Arc<[Digest]>>>>;

impl Default for Newest {
    fn default() -> Self {
        Self {
            head: watch::Sender::new(None),
            readable: Readable::default(),
        }
    }
}

impl Newest {
    /// Takes in a newly sealed head; one that is not above the newest is ignored. Says whether it was taken.
    pub fn publish(&self, head: Head) -> bool {
        let head = Arc::new(head);
        let above = |known: &Option<Arc<Head>>| {
            known
                .as_ref()
                .is_none_or(|known| known.generation < head.generation)
        };
        if !above(&self.head.borrow()) {
            return false;
        }
        {
            // First readable, then known: an agent that hears of it may fetch at once.
            let_read(&self.readable, &head);
        }
        self.head.send_if_modified(|known| {
            let newer = above(known);
            if newer {
                *known = Some(head.clone());
            }
            newer
        })
    }

    /// The newest head.
    pub fn get(&self) -> Option<Arc<Head>> {
        self.head.borrow().clone()
    }

    /// May this cluster read that blob? Only what one of its newest heads names.
    pub fn may_read(&self, name: &Digest) -> bool {
        self.readable
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|names| names.binary_search(name).is_ok())
    }

    fn subscribe(&self) -> watch::Receiver<Option<Arc<Head>>> {
        self.head.subscribe()
    }
}

fn let_read(readable: &Readable, head: &Head) {
    let mut readable = readable.write().unwrap_or_else(PoisonError::into_inner);
    if !readable.contains(&head.names) {
        readable.push_front(head.names.clone());
        readable.truncate(HEADS_READABLE);
    }
}

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its newest verified generation; 0 for none.
    pub generation: u64,
    /// Digest of that envelope; none at generation 0.
    pub envelope: Option<Digest>,
    /// Entries in the log by its last checkpoint; 0 for none.
    pub tree_size: u64,
}

impl Position {
    /// Reads a request.
    pub fn parse(request: &wire::HeadsRequest) -> Result<Self, Status> {
        let envelope = match (request.generation, request.envelope.len()) {
            (0, 0) => None,
            (1.., 32) => <[u8; 32]>::try_from(request.envelope.as_ref())
                .ok()
                .map(Digest::from_bytes),
            (0.., _) => {
                return Err(Status::invalid_argument(
                    "envelope must hold 32 bytes, or none at generation 0",
                ));
            }
        };
        Ok(Self {
            generation: request.generation,
            envelope,
            tree_size: request.tree_size,
        })
    }
}

/// Why an agent can't be brought to the head: its past is not ours. It keeps what it runs; a person must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// It verified a generation that was never sealed here: this hub's store went back.
    #[error(
        "the agent has generation {agent}, the newest here is {ours}: this hub's store went back in time"
    )]
    AgentIsAhead {
        /// The agent's generation.
        agent: u64,
        /// Ours.
        ours: u64,
    },
    /// It verified another envelope under a generation that we sealed too.
    #[error("the agent holds another envelope of generation {generation}: two histories exist")]
    Forked {
        /// Where they differ.
        generation: u64,
    },
    /// It verified a checkpoint of a larger log than all that was claimed here.
    #[error(
        "the agent has seen a log of {agent} entries, ours has {ours}: this hub's log went back in time"
    )]
    LogWentBack {
        /// Entries that the agent has seen.
        agent: u64,
        /// Ours.
        ours: u64,
    },
}

impl Apart {
    /// Stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::AgentIsAhead { .. } => "AGENT_IS_AHEAD",
            Self::Forked { .. } => "HISTORY_FORKED",
            Self::LogWentBack { .. } => "LOG_WENT_BACK",
        }
    }
}

/// What comes next for an agent. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is at the head.
    Wait,
    /// It lacks only the head itself.
    Head,
    /// It lacks envelopes in between.
    Catch,
}

fn next(at: u64, head: Option<&Head>) -> Result<Next, Apart> {
    let ours = head.map_or(0, |head| head.generation);
    match ours.checked_sub(at) {
        Some(0) => Ok(Next::Wait),
        Some(1) => Ok(Next::Head),
        Some(_) => Ok(Next::Catch),
        None => Err(Apart::AgentIsAhead { agent: at, ours }),
    }
}

/// Brings one agent to the newest head and keeps it there: one call to [`Follower::advance`] is one message.
pub struct Follower {
    cluster: String,
    sealed: Arc<dyn Sealed>,
    newest: watch::Receiver<Option<Arc<Head>>>,
    readable: Readable,
    at: Position,
    greeted: bool,
    proving: Option<Proving>,
    second: Option<Second>,
    authors: Option<Authors>,
    overrides: Option<Overrides>,
    /// Messages that belong together, of which the first are handed out already.
    rest: VecDeque<wire::Head>,
}

/// Why a stream of heads ends.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The agent's past is not ours.
    #[error(transparent)]
    Apart(#[from] Apart),
    /// The store failed: the agent asks again.
    #[error(transparent)]
    Fault(#[from] SealedFault),
    /// The commits behind a head can't be sent.
    #[error(transparent)]
    Commits(#[from] NoCommits),
    /// The hub stops.
    #[error("the hub is shutting down")]
    Stopped,
}

impl Follower {
    /// A follower that starts where the agent stands.
    pub fn new(cluster: &str, sealed: Arc<dyn Sealed>, newest: &Newest, at: Position) -> Self {
        Self {
            cluster: cluster.to_owned(),
            sealed,
            newest: newest.subscribe(),
            readable: newest.readable.clone(),
            at,
            greeted: false,
            proving: None,
            second: None,
            authors: None,
            overrides: None,
            rest: VecDeque::new(),
        }
    }

    /// The same, with the log's proofs in every message, and in the first since when trust roots are in effect.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn proven(mut self, log: Log, taken: Taken) -> Result<Self, SealedFault> {
        let trust = log.trust_entries().await.map_err(proof::fault)?;
        self.proving = Some(Proving::new(log, taken, self.at.tree_size, trust));
        Ok(self)
    }

    /// The same, with the commits behind each head for an agent that judged them up to `judged`; "" for none.
    #[must_use]
    pub fn authored(mut self, commits: Arc<dyn Commits>, judged: &str) -> Self {
        self.authors = Some(Authors::new(commits, judged));
        self
    }

    /// The same, with what people with override keys said; `came` wakes when more of it came in.
    #[must_use]
    pub(crate) fn overridden(mut self, log: Log, came: watch::Receiver<u64>, clock: Clock) -> Self {
        self.overrides = Some(Overrides::new(log, &self.cluster, came, clock));
        self
    }

    /// The same, for a level that asks for a second renderer's word on each state.
    #[must_use]
    pub fn reproduced(mut self, log: Log) -> Self {
        self.second = Some(Second::new(log));
        self
    }

    /// The same, for one who may not have judged anything yet: with what a first judgement reads as well.
    #[must_use]
    pub fn or_first(mut self) -> Self {
        if let Some(authors) = &mut self.authors {
            authors.or_first();
        }
        self
    }

    /// Waits until there is something to say, and says it. The first message comes at once, empty if the agent is at
    /// the head already.
    ///
    /// # Cancel safety
    /// May be dropped: where the agent stands moves only when a message is handed out.
    pub async fn advance(&mut self) -> Result<wire::Head, Ended> {
        if let Some(message) = self.rest.pop_front() {
            return Ok(message);
        }
        let mut refresh = false;
        loop {
            let head = self.newest.borrow_and_update().clone();
            let step = next(self.at.generation, head.as_deref())?;
            if !self.greeted {
                if let Some((agent, ours)) = self.proving.as_ref().and_then(Proving::ahead) {
                    return Err(Apart::LogWentBack { agent, ours }.into());
                }
                self.check_past(head.as_deref()).await?;
            }
            let (news, beyond) = self.look().await?;
            let message = match (step, head) {
                (Next::Wait, _) if refresh || news || !self.greeted => Some(wire::Head::default()),
                (Next::Wait, _) | (Next::Head | Next::Catch, None) => None,
                (Next::Head, Some(head)) => Some(self.reach(vec![head.envelope.clone()], &head)),
                (Next::Catch, Some(head)) => Some(self.catch_up(&head).await?),
            };
            let (message, words, unspoken) = match message {
                None => (None, Vec::new(), false),
                Some(message) => match self.settle(message).await? {
                    Some((message, words)) => (Some(message), words, false),
                    // It waits for a word, and hears of newer checkpoints meanwhile.
                    None => {
                        let bare = (refresh || news || !self.greeted).then(wire::Head::default);
                        (bare, Vec::new(), true)
                    }
                },
            };
            let uncovered = match message {
                None => false,
                Some(message) => {
                    let commits = self.commits(&message).await?;
                    match self.prove(message)? {
                        Some(mut message) => {
                            if let Some(proving) = &self.proving {
                                message.reproductions = proving.shown(words)?;
                            }
                            self.override_by(&mut message)?;
                            return Ok(self.hand_out(message, commits));
                        }
                        None => true,
                    }
                }
            };
            refresh = self.wait(uncovered, unspoken || beyond).await?;
        }
    }

    /// What may go out of a message; none if the agent waits for a second renderer's word.
    async fn settle(&mut self, message: wire::Head) -> Result<Option<Settled>, SealedFault> {
        let (Some(second), Some(proving)) = (&self.second, &mut self.proving) else {
            return Ok(Some((message, Vec::new())));
        };
        let whole = message.envelopes.len();
        let settled = second.settle(message, proving.size()).await?;
        if let Some((message, _)) = &settled
            && message.envelopes.len() < whole
            && let Some(last) = message.envelopes.last()
        {
            // It is no head of ours any more, or not since our start; its agent reads its blobs all the same.
            let (generation, manifest) = second::names(last)?;
            let head = restore(&*self.sealed, generation, last.clone(), manifest).await?;
            let_read(&self.readable, &head);
        }
        Ok(settled)
    }

    /// Looks for overrides: whether some can be sent, and whether some wait for a larger checkpoint.
    async fn look(&mut self) -> Result<(bool, bool), SealedFault> {
        let (Some(overrides), Some(proving)) = (&mut self.overrides, &mut self.proving) else {
            return Ok((false, false));
        };
        overrides.look().await?;
        // A checkpoint below the agent's own can't be sent.
        let size = proving.size();
        let size = if size < proving.sent_size() { 0 } else { size };
        Ok((overrides.are_covered(size), overrides.are_beyond(size)))
    }

    /// Adds the overrides that the message's checkpoint covers.
    fn override_by(&mut self, message: &mut wire::Head) -> Result<(), SealedFault> {
        if let (Some(overrides), Some(proving)) = (&mut self.overrides, &self.proving)
            && !message.checkpoint.is_empty()
        {
            message.overrides = proving.shown(overrides.take(proving.sent_size()))?;
        }
        Ok(())
    }

    async fn commits(&self, message: &wire::Head) -> Result<Option<(String, Arc<[Bytes]>)>, Ended> {
        match &self.authors {
            None => Ok(None),
            Some(authors) => Ok(authors.of(message).await?),
        }
    }

    /// The first of the messages that this one takes; from here on the agent stands where they lead.
    fn hand_out(
        &mut self,
        message: wire::Head,
        commits: Option<(String, Arc<[Bytes]>)>,
    ) -> wire::Head {
        self.greeted = true;
        self.at.generation += message.envelopes.len() as u64;
        let (Some(authors), Some((commit, objects))) = (&mut self.authors, commits) else {
            return message;
        };
        authors.judged(commit);
        self.rest = authors::spread(message, &objects);
        self.rest.pop_front().unwrap_or_default()
    }

    fn prove(&mut self, message: wire::Head) -> Result<Option<wire::Head>, SealedFault> {
        match &mut self.proving {
            None => Ok(Some(message)),
            Some(proving) => proving.prove(message),
        }
    }

    /// Waits for a newer head, an override or, if one of them or an entry waits for it (`entries`), another checkpoint; says
    /// whether it is time for a message that brings a checkpoint alone.
    async fn wait(&mut self, uncovered: bool, entries: bool) -> Result<bool, Ended> {
        let Some(proving) = &mut self.proving else {
            self.newest.changed().await.map_err(|_| Ended::Stopped)?;
            return Ok(false);
        };
        let overrides = &mut self.overrides;
        let came = async {
            match overrides {
                Some(overrides) => overrides.came().await,
                None => std::future::pending().await,
            }
        };
        // All may be dropped.
        tokio::select! { biased;
            changed = self.newest.changed() => changed.map(|()| false).map_err(|_| Ended::Stopped),
            () = came => Ok(false),
            refresh = due(proving, uncovered, entries) => Ok(refresh),
        }
    }

    async fn check_past(&self, head: Option<&Head>) -> Result<(), Ended> {
        let (Some(had), generation @ 1..) = (self.at.envelope, self.at.generation) else {
            return Ok(());
        };
        let ours = match head {
            Some(head) if head.generation == generation => head.digest,
            Some(_) | None => {
                let found = self
                    .sealed
                    .envelopes(&self.cluster, generation - 1, 1)
                    .await?;
                match found.first() {
                    Some(envelope) => Digest::of(envelope),
                    None => return Err(missing(&self.cluster, generation).into()),
                }
            }
        };
        if ours == had {
            Ok(())
        } else {
            Err(Apart::Forked { generation }.into())
        }
    }

    async fn catch_up(&self, head: &Head) -> Result<wire::Head, Ended> {
        let above = self.at.generation;
        let mut envelopes = self
            .sealed
            .envelopes(&self.cluster, above, ENVELOPES_PER_HEAD_MAX)
            .await?;
        let wanted = usize::try_from(head.generation - above).unwrap_or(usize::MAX);
        envelopes.truncate(wanted.min(ENVELOPES_PER_HEAD_MAX));
        if envelopes.is_empty() {
            return Err(missing(&self.cluster, above + 1).into());
        }
        Ok(self.reach(envelopes, head))
    }

    fn reach(&self, envelopes: Vec<Bytes>, head: &Head) -> wire::Head {
        let more = self.at.generation + (envelopes.len() as u64) < head.generation;
        wire::Head {
            envelopes,
            more,
            attached: if more { Vec::new() } else { attached(head) },
            ..wire::Head::default()
        }
    }
}

/// Says whether it is time for a message that brings a checkpoint alone.
async fn due(proving: &mut Proving, uncovered: bool, entries: bool) -> bool {
    if entries && !uncovered {
        return proving.stirred().await;
    }
    proving.due(uncovered).await;
    !uncovered
}

fn missing(cluster: &str, generation: u64) -> SealedFault {
    SealedFault::Unreadable(format!("envelope {generation} of {cluster} is missing"))
}

fn attached(head: &Head) -> Vec<wire::Blob> {
    head.attached
        .iter()
        .map(|(name, content)| wire::Blob {
            digest: Bytes::copy_from_slice(name.as_bytes()),
            content: content.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
