//! A log under a checkpoint: nodes, proofs, entries and blobs. Each answer was checked against the checkpoint's root, or against
//! the digest by which it was asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::NOTE_BYTES_MAX;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::tlog::tile::{self, BundleId, TILE_BYTES_MAX, TILE_WIDTH, TileId};

use super::known::{Known, Signed};
use super::source::{Fault, Files, blob_paths};
use crate::exit::Failure;
use crate::output::safe;

/// Bytes of a full bundle: 256 entries of 65,535 bytes, each behind two of length.
const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + u16::MAX as usize);
/// Bytes of bundles and tiles that are kept: neighbours are asked for together.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Bytes of a blob at most: a section list, the largest.
const BLOB_BYTES_MAX: usize = 4 << 20;

/// Why a log gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A file can't be read.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Checkpoint or trust root are not there: this is no log.
    #[error("there is no file {0:?}; is this a log?")]
    Missing(String),
    /// What came is not what the tree or a digest says.
    #[error("{path}: {why}")]
    Wrong {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A proof can't be made of what came, or does not lead to the root.
    #[error("the tree: {0}")]
    Proof(#[from] ProofError),
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let text = safe(&error.to_string());
        match error {
            LogError::Fault(fault) => fault.into(),
            LogError::Missing(_) | LogError::Proof(ProofError::IndexOutOfTree { .. }) => {
                Self::Mistake(text)
            }
            LogError::Wrong { .. } | LogError::Proof(_) => Self::Negative(text),
        }
    }
}

fn wrong(path: &str, why: impl ToString) -> LogError {
    LogError::Wrong {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn missing(path: &str) -> LogError {
    wrong(path, "is missing")
}

/// A log under one checkpoint.
pub struct Log<'f> {
    files: &'f dyn Files,
    head: Signed,
    kept: Mutex<Kept>,
}

/// Files that were read.
#[derive(Default)]
struct Kept {
    files: BTreeMap<String, Bytes>,
    bytes: usize,
}

impl<'f> Log<'f> {
    /// The log at its newest checkpoint.
    pub fn open(files: &'f dyn Files, known: &Known) -> Result<Self, LogError> {
        let note = files.get("checkpoint", NOTE_BYTES_MAX)?;
        let note = note.ok_or_else(|| LogError::Missing("checkpoint".to_owned()))?;
        Ok(Self::at(files, Signed::read(&note, known)?))
    }

    /// The log at a checkpoint that is known already.
    pub fn at(files: &'f dyn Files, head: Signed) -> Self {
        Self {
            files,
            head,
            kept: Mutex::default(),
        }
    }

    /// The checkpoint.
    pub fn head(&self) -> &Signed {
        &self.head
    }

    /// Entries.
    pub fn size(&self) -> u64 {
        self.head.checkpoint.size
    }

    /// Where it comes from.
    pub fn place(&self) -> String {
        self.files.place()
    }

    /// Its files.
    pub fn files(&self) -> &'f dyn Files {
        self.files
    }

    /// A file that was read before, or is read now.
    fn kept(
        &self,
        path: &str,
        read: impl FnOnce() -> Result<Option<Bytes>, Fault>,
    ) -> Result<Bytes, LogError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept().files.get(path) {
            return Ok(bytes.clone());
        }
        let bytes = read()?.ok_or_else(|| missing(path))?;
        let mut kept = kept();
        if kept.bytes + bytes.len() > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        kept.bytes += bytes.len();
        kept.files.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn node(&self, node: NodeId) -> Result<Digest, LogError> {
        let (id, _) = TileId::of(node, self.size()).ok_or_else(|| {
            let NodeId { level, index } = node;
            wrong("tile", format!("none holds node {index} of level {level}"))
        })?;
        let path = id.path();
        let bytes = self.kept(&path, || tile(self.files, id))?;
        tile::node(node, &id, &bytes).map_err(|e| wrong(&path, e))
    }

    /// An entry's bytes as they lie. Whoever does not hold its leaf hash asks for [`Log::entry`].
    pub fn lying(&self, index: u64) -> Result<Bytes, LogError> {
        let (id, offset) = BundleId::of(index, self.size()).ok_or(ProofError::IndexOutOfTree {
            index,
            size: self.size(),
        })?;
        let path = id.path();
        let bytes = self.kept(&path, || bundle(self.files, id))?;
        let entries = bundle::decode(&bytes).map_err(|e| wrong(&path, e))?;
        let entry = entries.get(offset);
        let entry = entry.ok_or_else(|| wrong(&path, "has too few entries"))?;
        Ok(bytes.slice_ref(entry))
    }

    /// An entry, and the proof that it stands at `index` under the checkpoint's root.
    pub fn entry(&self, index: u64) -> Result<(Bytes, Vec<Digest>), LogError> {
        let entry = self.lying(index)?;
        let proof = self.inclusion(index, &leaf_hash(&entry))?;
        Ok((entry, proof))
    }

    /// The proof that entry `index`, whose hash is `leaf`, is in the log. Checked.
    pub fn inclusion(&self, index: u64, leaf: &Digest) -> Result<Vec<Digest>, LogError> {
        let proof = merkle::inclusion_proof(index, self.size(), |node| self.node(node))?;
        let root = &self.head.checkpoint.root;
        merkle::verify_inclusion(index, self.size(), leaf, &proof, root)
            .map_err(|e| wrong("tile", format!("entry {index}: {e}")))?;
        Ok(proof)
    }

    /// The proof file of an entry.
    pub fn proof_file(&self, index: u64, hashes: Vec<Digest>) -> ProofFile {
        ProofFile {
            extra: None,
            index,
            hashes,
            checkpoint: self.head.note.clone(),
        }
    }

    /// Where the entry with hash `leaf` is: the first place, if it is there.
    pub fn find(&self, leaf: &Digest) -> Result<Option<u64>, LogError> {
        for index in 0.. {
            let Some(id) = TileId::at(0, index, self.size()) else {
                break;
            };
            let path = id.path();
            let bytes = tile(self.files, id)?.ok_or_else(|| missing(&path))?;
            let hashes = tile::hashes(&id, &bytes).map_err(|e| wrong(&path, e))?;
            if let Some(offset) = hashes.iter().position(|hash| hash == leaf) {
                return Ok(Some(index * u64::from(TILE_WIDTH) + offset as u64));
            }
        }
        Ok(None)
    }

    /// The proof that the first `size` entries are those under the checkpoint, and their root. Checked.
    pub fn consistency(&self, size: u64, root: &Digest) -> Result<Vec<Digest>, LogError> {
        let new = self.size();
        let proof = self.claimed_consistency(size)?;
        merkle::verify_consistency(size, root, new, &self.head.checkpoint.root, &proof)?;
        Ok(proof)
    }

    /// What the log gives for a proof from `old` entries to the checkpoint: not checked, for who records it.
    pub fn claimed_consistency(&self, old: u64) -> Result<Vec<Digest>, LogError> {
        merkle::consistency_proof(old, self.size(), |node| self.node(node))
    }

    /// The root when there were `size` entries, from the tiles as they lie.
    pub fn root_at(&self, size: u64) -> Result<Digest, LogError> {
        let nodes = merkle::root_nodes(size);
        let hashes: Result<Vec<Digest>, LogError> =
            nodes.into_iter().map(|n| self.node(n)).collect();
        Ok(merkle::fold_root(size, &hashes?)?)
    }

    /// A blob of this digest; nothing if it isn't there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Bytes>, LogError> {
        for path in blob_paths(digest) {
            if let Some(bytes) = self.files.get(&path, BLOB_BYTES_MAX)? {
                let got = Digest::of(&bytes);
                if got != *digest {
                    return Err(wrong(&path, format!("has the digest {got}")));
                }
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// The bytes of a tile. A log may have put the full one in a partial one's place; its beginning is the same.
pub fn tile(files: &dyn Files, id: TileId) -> Result<Option<Bytes>, Fault> {
    if let Some(bytes) = files.get(&id.path(), TILE_BYTES_MAX)? {
        return Ok(Some(bytes));
    }
    if id.is_full() {
        return Ok(None);
    }
    let full = files.get(&id.full().path(), TILE_BYTES_MAX)?;
    Ok(full.map(|full| full.slice(..full.len().min(id.bytes()))))
}

/// The bytes of a bundle, or of the beginning of the full one in its place.
pub fn bundle(files: &dyn Files, id: BundleId) -> Result<Option<Bytes>, Fault> {
    if let Some(bytes) = files.get(&id.path(), BUNDLE_BYTES_MAX)? {
        return Ok(Some(bytes));
    }
    if id.is_full() {
        return Ok(None);
    }
    let full = files.get(&id.full().path(), BUNDLE_BYTES_MAX)?;
    Ok(full.map(|full| {
        let length = bundle::decode(&full).ok().map(|entries| {
            let first = entries.iter().take(usize::from(id.width));
            first.map(|entry| 2 + entry.len()).sum::<usize>()
        });
        match length {
            Some(length) => full.slice(..length.min(full.len())),
            // Whoever reads it says what is wrong with it.
            None => full,
        }
    }))
}
