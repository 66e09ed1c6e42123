//! The newest head of each cluster, and the stream that brings an agent to it.
//!
//! A head replaces the one before it: whoever reads slowly finds the newest, never a backlog. What an agent lacks below
//! the head, the envelopes in between, is read back from what was sealed, in batches.

mod asked;
mod authors;
mod follow;
mod glass;
mod overrides;
mod proof;
mod restore;
mod second;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1 as wire;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tonic::Status;

pub(crate) use authors::commit as commit_of;
pub use authors::{Commits, NoCommits};
pub use follow::Follower;
pub use proof::Taken;
pub use restore::restore;

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

    /// Its envelope, exact bytes.
    pub(crate) fn envelope(&self) -> &Bytes {
        &self.envelope
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

#[cfg(test)]
mod tests;
