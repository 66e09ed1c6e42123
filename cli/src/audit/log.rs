//! A log's files by what they are: the checkpoint, trust roots, entries with their proofs, blobs. Each answer was checked
//! against the checkpoint's root, or against the digest by which it was asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::{KeyKind, Note, Opened, Vkey};
use countersign_ledger::tlog::policy::Policy;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::tlog::tile::{self, BundleId, TileId};
use countersign_ledger::trust::{Roots, VerifiedRoot};

use super::source::{Fault, Files, blob_paths};

/// Bytes of a bundle at most: 256 entries of 65,535 bytes behind two bytes each.
pub const BUNDLE_BYTES_MAX: usize = 256 * 65_537;
/// Bytes of a checkpoint that are read.
const NOTE_BYTES_MAX: usize = 512 << 10;
/// Bytes of a trust root that are read.
const ROOT_BYTES_MAX: usize = 2 << 20;
/// Bundles and tiles that are kept: neighbours are asked for together.
const KEPT_MAX: usize = 256;
/// Bytes of a blob at most: a section list, the largest.
pub const BLOB_BYTES_MAX: usize = 4 << 20;

/// Why a log gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A file can't be read.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// A file is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// What came is not what the tree or a digest says.
    #[error("{path}: {why}")]
    Wrong {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A proof can't be made of what came.
    #[error("the tree: {0}")]
    Proof(#[from] ProofError),
}

fn wrong(path: &str, why: impl ToString) -> LogError {
    LogError::Wrong {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// The chain of trust roots, and whether a person had named one of them.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Oldest first.
    pub roots: Roots,
    /// Version that was pinned by its digest; none if the chain was taken as it came.
    pub pinned: Option<u64>,
}

/// The newest checkpoint, opened.
#[derive(Debug, Clone)]
pub struct Head {
    /// The note as it came.
    pub note: Bytes,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Witnesses of the trust root that cosigned, and when in seconds since 1970.
    pub witnesses: BTreeMap<String, u64>,
    /// Time of the quorum, in seconds since 1970.
    pub cosigned: Option<u64>,
    /// Whether the trust root asks for witnesses.
    pub asked: bool,
}

/// Reads the chain of trust roots from `trust/`, oldest first. With a pin, the document of that digest must be in it.
pub fn trust(
    files: &dyn Files,
    first: Option<&[u8]>,
    pin: Option<&Digest>,
) -> Result<Trust, LogError> {
    let mut version = 1;
    let bytes = match first {
        Some(bytes) => Bytes::copy_from_slice(bytes),
        None => match document(files, 1)? {
            Some(bytes) => bytes,
            None => files
                .get("trust.json", ROOT_BYTES_MAX)?
                .ok_or_else(|| LogError::Missing(path_of_root(1)))?,
        },
    };
    let refused = |path: String, refusal: countersign_ledger::refusal::Refusal| {
        wrong(&path, format!("{refusal} ({})", refusal.code()))
    };
    let oldest = VerifiedRoot::parse(&bytes, &RingVerifier)
        .map_err(|refusal| refused(path_of_root(version), refusal))?;
    version = oldest.version();
    let mut roots = Roots::new(oldest);
    loop {
        version += 1;
        let Some(bytes) = document(files, version)? else {
            break;
        };
        roots
            .extend(&bytes, &RingVerifier)
            .map_err(|refusal| refused(path_of_root(version), refusal))?;
    }
    let pinned = match pin {
        None => first.map(|_| roots.pinned().version()),
        Some(digest) => {
            let found = roots.iter().find(|root| root.digest() == *digest);
            let found = found.ok_or_else(|| {
                let newest = roots.newest();
                wrong(
                    "trust",
                    format!(
                        "no trust root of the chain has the digest {digest}; version {} has {}",
                        newest.version(),
                        newest.digest()
                    ),
                )
            })?;
            Some(found.version())
        }
    };
    Ok(Trust { roots, pinned })
}

fn path_of_root(version: u64) -> String {
    format!("trust/{version}.json")
}

fn document(files: &dyn Files, version: u64) -> Result<Option<Bytes>, Fault> {
    files.get(&path_of_root(version), ROOT_BYTES_MAX)
}

/// The log's key by the newest root that has one.
pub fn vkey(trust: &Trust) -> Result<Vkey, LogError> {
    let mut roots: Vec<&VerifiedRoot> = trust.roots.iter().collect();
    roots.reverse();
    let log = roots.iter().find_map(|root| root.document().log.as_ref());
    let log = log.ok_or_else(|| wrong("trust", "no trust root of the chain lists a log's key"))?;
    let vkey: Vkey = log.vkey.parse().map_err(|e| wrong("trust", e))?;
    if vkey.kind() == KeyKind::Ed25519 {
        Ok(vkey)
    } else {
        Err(wrong("trust", "the log's key is of a witness's kind"))
    }
}

/// The witness policy of the newest root, if it has one.
pub fn policy(trust: &Trust) -> Result<Option<Policy>, LogError> {
    let witnesses = trust.roots.newest().document().witnesses.as_ref();
    let policy = witnesses.map(|witnesses| Policy::parse(witnesses.policy.as_bytes()));
    policy.transpose().map_err(|e| wrong("trust", e))
}

/// Opens a checkpoint: the log must have signed it.
pub fn head(note: Bytes, vkey: &Vkey, policy: Option<&Policy>) -> Result<Head, LogError> {
    const PATH: &str = "checkpoint";
    let mut known = vec![vkey.clone()];
    known.extend(policy.into_iter().flat_map(Policy::vkeys));
    known.dedup();
    let opened: Opened = Note::parse(&note)
        .and_then(|note| note.open(&known, &RingVerifier))
        .map_err(|e| wrong(PATH, e))?;
    if opened.by(vkey).is_none() {
        return Err(wrong(
            PATH,
            format!("the log {} did not sign it", vkey.name()),
        ));
    }
    let checkpoint = Checkpoint::parse(opened.text()).map_err(|e| wrong(PATH, e))?;
    if checkpoint.origin != vkey.name() {
        let why = format!("is of {:?}, not of {:?}", checkpoint.origin, vkey.name());
        return Err(wrong(PATH, why));
    }
    let cosigned = policy
        .map(|policy| policy.cosigned(&opened))
        .unwrap_or_default();
    let time = policy.and_then(|policy| policy.newest_time(&cosigned));
    let witnesses = cosigned.into_iter().map(|(name, at)| (name.to_owned(), at));
    Ok(Head {
        note,
        checkpoint,
        witnesses: witnesses.collect(),
        cosigned: time,
        asked: policy.is_some(),
    })
}

/// Reads the note of the newest checkpoint.
pub fn note(files: &dyn Files) -> Result<Bytes, LogError> {
    let note = files.get("checkpoint", NOTE_BYTES_MAX)?;
    note.ok_or_else(|| LogError::Missing("checkpoint".to_owned()))
}

/// A log under one checkpoint.
pub struct Log<'f> {
    files: &'f dyn Files,
    head: Head,
    kept: Mutex<BTreeMap<String, Bytes>>,
}

impl<'f> Log<'f> {
    /// The log in `files` as `head` says it is.
    pub fn new(files: &'f dyn Files, head: Head) -> Self {
        Self {
            files,
            head,
            kept: Mutex::new(BTreeMap::new()),
        }
    }

    /// The checkpoint.
    pub fn head(&self) -> &Head {
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

    fn kept(&self, path: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(path).cloned()
    }

    fn keep(&self, path: &str, bytes: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(path.to_owned(), bytes.clone());
    }

    fn read(&self, path: &str, max: usize) -> Result<Option<Bytes>, Fault> {
        if let Some(bytes) = self.kept(path) {
            return Ok(Some(bytes));
        }
        let bytes = self.files.get(path, max)?;
        if let Some(bytes) = &bytes {
            self.keep(path, bytes);
        }
        Ok(bytes)
    }

    /// The bytes of a bundle, without a copy in memory: those of the partial one, or the beginning of the full one.
    pub fn bundle(&self, id: BundleId) -> Result<Option<Bytes>, Fault> {
        if let Some(bytes) = self.files.get(&id.path(), BUNDLE_BYTES_MAX)? {
            return Ok(Some(bytes));
        }
        if id.is_full() {
            return Ok(None);
        }
        let full = self.files.get(&id.full().path(), BUNDLE_BYTES_MAX)?;
        Ok(full.and_then(|full| {
            let entries = bundle::decode(&full).ok()?;
            let entries = entries.get(..usize::from(id.width))?;
            let length: usize = entries.iter().map(|entry| 2 + entry.len()).sum();
            Some(full.slice(..length))
        }))
    }

    /// The bytes of a tile, likewise.
    pub fn tile(&self, id: TileId) -> Result<Option<Bytes>, Fault> {
        if let Some(bytes) = self.read(&id.path(), tile::TILE_BYTES_MAX)? {
            return Ok(Some(bytes));
        }
        if id.is_full() {
            return Ok(None);
        }
        let full = self.read(&id.full().path(), tile::TILE_BYTES_MAX)?;
        Ok(full
            .filter(|full| full.len() >= id.bytes())
            .map(|full| full.slice(..id.bytes())))
    }

    fn node(&self, node: NodeId) -> Result<Digest, LogError> {
        let (id, _) = TileId::of(node, self.size()).ok_or_else(|| {
            wrong(
                "tile",
                format!("node {} of level {}", node.index, node.level),
            )
        })?;
        let bytes = self.tile(id)?.ok_or_else(|| LogError::Missing(id.path()))?;
        tile::node(node, &id, &bytes).map_err(|e| wrong(&id.path(), e))
    }

    /// An entry's bytes as they lie. Whoever does not hold its leaf hash asks for [`Log::entry`].
    pub fn lying(&self, index: u64) -> Result<Bytes, LogError> {
        let (id, offset) = BundleId::of(index, self.size()).ok_or(ProofError::IndexOutOfTree {
            index,
            size: self.size(),
        })?;
        let path = id.path();
        let bytes = match self.kept(&path) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.bundle(id)?;
                let bytes = bytes.ok_or_else(|| LogError::Missing(path.clone()))?;
                self.keep(&path, &bytes);
                bytes
            }
        };
        let entries = bundle::decode(&bytes).map_err(|e| wrong(&path, e))?;
        let entry = entries
            .get(offset)
            .ok_or_else(|| wrong(&path, "is too short"))?;
        Ok(bytes.slice_ref(entry))
    }

    /// An entry, and the proof that it stands at `index` under the checkpoint's root.
    pub fn entry(&self, index: u64) -> Result<(Bytes, Vec<Digest>), LogError> {
        let entry = self.lying(index)?;
        let proof = merkle::inclusion_proof(index, self.size(), |node| self.node(node))?;
        let root = &self.head.checkpoint.root;
        merkle::verify_inclusion(index, self.size(), &leaf_hash(&entry), &proof, root)
            .map_err(|e| wrong("tile/entries", format!("entry {index}: {e}")))?;
        Ok((entry, proof))
    }

    /// The proof file of an entry.
    pub fn proof_file(&self, index: u64, hashes: Vec<Digest>) -> Result<ProofFile, LogError> {
        let checkpoint = Note::parse(&self.head.note).map_err(|e| wrong("checkpoint", e))?;
        Ok(ProofFile {
            extra: None,
            index,
            hashes,
            checkpoint,
        })
    }

    /// The proof that the first `size` entries are the same as under the checkpoint, and their root. Checked.
    pub fn consistency(&self, size: u64, root: &Digest) -> Result<Vec<Digest>, LogError> {
        let new = self.size();
        let proof = merkle::consistency_proof(size, new, |node| self.node(node))?;
        merkle::verify_consistency(size, root, new, &self.head.checkpoint.root, &proof)?;
        Ok(proof)
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
