//! Sealing: from rendered states to signed statements that can not be lost.
//!
//! In: where the ref moved ([`SourceEntry`]) and what each cluster shall run ([`Unsealed`]). Out: [`Sealed`] heads. One
//! commit is one batch: its `source` entry, then a `desired` entry for each cluster that changed. Read `writer` for the
//! order of writes, [`recovery`] for what a crash leaves, [`sealer`] for both together.

mod batch;
pub mod error;
mod open;
pub mod read;
pub mod recovery;
pub mod sealer;
pub mod secret;
mod statement;
mod writer;

pub use crate::log::RecordError;
pub use countersign_signer::{FileSigner, KeyFileError, Missing, Signer};
pub use error::{Next, OpenError, SealError};
pub use read::Stored;
pub use recovery::Head;
pub use sealer::{Parts, Sealer};
pub use secret::{Encrypted, Plain, SecretError, Secrets};

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::Digest;
use countersign_ledger::manifest::{AppEntry, Line};
use countersign_ledger::statement::{Admission, Permit, Source};

/// The newest sealed state of each cluster that has one.
pub type Heads = BTreeMap<String, Arc<Head>>;

/// The commit that states are sealed for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one a commit, never in a collection
pub enum SourceEntry {
    /// The ref moved to a new commit: its entry goes first in the batch.
    Moved(Source),
    /// The commit has its entry already: a cluster reported, a permit came, or a trust root changed.
    Known {
        /// The commit.
        commit: String,
    },
}

/// What one cluster shall run, rendered and admitted.
#[derive(Debug, Clone)]
pub struct Unsealed {
    /// The cluster.
    pub cluster: String,
    /// Its environment, as the trust root has it.
    pub environment: String,
    /// The lines of its manifest.
    pub lines: Vec<Line>,
    /// Its apps.
    pub apps: Vec<AppEntry>,
    /// Blobs that lines (or `admission`) name, by digest; those that lie in the store may be left out.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// Version of the renderer.
    pub renderer: String,
    /// Which admission policies judged, and the digest of their verdicts.
    pub admission: Admission,
    /// Its rollout ring; empty for none.
    pub ring: String,
    /// What people allowed beyond the limits.
    pub permits: Vec<Permit>,
}

/// A batch that is part of the record.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its claim; none if there was nothing to seal.
    pub claim: Option<u64>,
    /// Leaf hash of the commit's `source` entry.
    pub source: Digest,
    /// The clusters that changed.
    pub sealed: Vec<Sealed>,
}

/// A new head.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The head.
    pub head: Arc<Head>,
    /// The bytes of its section list.
    pub section_list: Bytes,
    /// What an agent at the head before is likely to lack, the most needed first: the section list, the apps, changed
    /// sections, new objects.
    pub likely: Vec<(Digest, Bytes)>,
    /// All blobs that the manifest names: itself, apps, sections, objects.
    pub names: Vec<Digest>,
}

#[cfg(test)]
mod tests;
