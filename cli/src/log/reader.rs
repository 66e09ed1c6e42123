//! A log under a checkpoint: nodes, proofs and entries, each checked against the signed root before it is handed out.

use std::cell::RefCell;
use std::collections::HashMap;

use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::tlog::checkpoint::{Checkpoint, Extensions};
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::{NOTE_BYTES_MAX, Note, Opened};
use countersign_ledger::tlog::tile::{self, BundleId, TILE_BYTES_MAX, TILE_WIDTH, TileId};

use super::known::Known;
use super::source::Source;
use crate::exit::Failure;

/// Bytes of a full bundle: 256 entries of 65,535 bytes, each behind two of length.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + u16::MAX as usize);
/// Tiles in memory: 32 MiB. A proof needs a handful; a walk over all leaves uses each once.
const TILES_MAX: usize = 4_096;

/// A checkpoint that a known log signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The whole note, as it was read.
    pub note: Note,
    /// Its checked signatures.
    pub opened: Opened,
    /// What it says.
    pub checkpoint: Checkpoint,
}

impl Signed {
    /// Reads a checkpoint and checks who signed it.
    pub fn read(bytes: &[u8], known: &Known) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::Negative(format!("checkpoint: {error}"));
        let note = Note::parse(bytes).map_err(|error| bad(&error))?;
        let opened = known.open(&note)?;
        let checkpoint = Checkpoint::parse_with(opened.text(), Extensions::Ignore)
            .map_err(|error| bad(&error))?;
        Ok(Self {
            note,
            opened,
            checkpoint,
        })
    }
}

/// A log at one size.
#[derive(Debug)]
pub struct Reader<'s> {
    source: &'s Source,
    signed: Signed,
    tiles: RefCell<HashMap<TileId, Vec<u8>>>,
}

impl<'s> Reader<'s> {
    /// The log at its newest checkpoint.
    pub fn open(source: &'s Source, known: &Known) -> Result<Self, Failure> {
        let bytes = source.read("checkpoint", NOTE_BYTES_MAX)?.ok_or_else(|| {
            Failure::Mistake(format!(
                "{source}: there is no file \"checkpoint\"; is this a log?"
            ))
        })?;
        Ok(Self::at(source, Signed::read(&bytes, known)?))
    }

    /// The log at a checkpoint that is known already.
    pub fn at(source: &'s Source, signed: Signed) -> Self {
        Self {
            source,
            signed,
            tiles: RefCell::default(),
        }
    }

    /// The checkpoint.
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }

    const fn size(&self) -> u64 {
        self.signed.checkpoint.size
    }

    /// The proof that entry `index`, whose hash is `leaf`, is in the log; checked.
    pub fn inclusion(&self, index: u64, leaf: &Digest) -> Result<Vec<Digest>, Failure> {
        let size = self.size();
        let proof =
            merkle::inclusion_proof(index, size, |node| self.node(node)).map_err(Failure::from)?;
        merkle::verify_inclusion(index, size, leaf, &proof, &self.signed.checkpoint.root)
            .map_err(|error| self.damaged(&format!("entry {index}: {error}")))?;
        Ok(proof)
    }

    /// The proof that the tree of an earlier checkpoint was continued; checked.
    pub fn consistency(&self, earlier: &Checkpoint) -> Result<Vec<Digest>, Failure> {
        let Checkpoint { size, root, .. } = &self.signed.checkpoint;
        if earlier.size > *size {
            return Err(self.damaged(&format!(
                "the log has shrunk: it had {} entries, and has {size}",
                earlier.size
            )));
        }
        let proof = merkle::consistency_proof(earlier.size, *size, |node| self.node(node))
            .map_err(Failure::from)?;
        merkle::verify_consistency(earlier.size, &earlier.root, *size, root, &proof).map_err(
            |error| self.damaged(&format!("from size {} to {size}: {error}", earlier.size)),
        )?;
        Ok(proof)
    }

    /// What the log gives for a proof from `old` entries to the checkpoint: not checked, for who records it.
    pub fn claimed_consistency(&self, old: u64) -> Result<Vec<Digest>, Failure> {
        merkle::consistency_proof(old, self.size(), |node| self.node(node)).map_err(Failure::from)
    }

    /// The bytes of entry `index` and the proof of them; checked.
    pub fn entry(&self, index: u64) -> Result<(Vec<u8>, Vec<Digest>), Failure> {
        let size = self.size();
        let (id, offset) = BundleId::of(index, size).ok_or_else(|| {
            Failure::Mistake(format!("there is no entry {index}: the log has {size}"))
        })?;
        let bytes = self.bundle(id)?;
        let entries = bundle::decode(&bytes)
            .map_err(|error| self.damaged(&format!("{}: {error}", id.path())))?;
        let entry = entries
            .get(offset)
            .ok_or_else(|| self.damaged(&format!("{} has too few entries", id.path())))?
            .to_vec();
        let proof = self.inclusion(index, &leaf_hash(&entry))?;
        Ok((entry, proof))
    }

    /// Where the entry with hash `leaf` is: the first place, if it is there.
    pub fn find(&self, leaf: &Digest) -> Result<Option<u64>, Failure> {
        let size = self.size();
        for index in 0.. {
            let Some(id) = TileId::at(0, index, size) else {
                break;
            };
            let bytes = self.fetch_tile(id)?;
            let hashes = tile::hashes(&id, &bytes)
                .map_err(|error| self.damaged(&format!("{}: {error}", id.path())))?;
            if let Some(offset) = hashes.iter().position(|hash| hash == leaf) {
                return Ok(Some(index * u64::from(TILE_WIDTH) + offset as u64));
            }
        }
        Ok(None)
    }

    /// The hash of a node, from its tile. It is as good as the tile: whoever uses it checks what comes of it.
    fn node(&self, node: NodeId) -> Result<Digest, Problem> {
        let size = self.size();
        let (id, _) = TileId::of(node, size).ok_or_else(|| {
            Problem::Failed(self.damaged(&format!(
                "no tile holds node {} of level {}",
                node.index, node.level
            )))
        })?;
        if let Some(bytes) = self.tiles.borrow().get(&id) {
            return self.hash(node, id, bytes);
        }
        let bytes = self.fetch_tile(id).map_err(Problem::Failed)?;
        let hash = self.hash(node, id, &bytes)?;
        let mut tiles = self.tiles.borrow_mut();
        if tiles.len() >= TILES_MAX {
            tiles.clear();
        }
        tiles.insert(id, bytes);
        Ok(hash)
    }

    fn hash(&self, node: NodeId, id: TileId, bytes: &[u8]) -> Result<Digest, Problem> {
        tile::node(node, &id, bytes)
            .map_err(|error| Problem::Failed(self.damaged(&format!("{}: {error}", id.path()))))
    }

    fn fetch_tile(&self, id: TileId) -> Result<Vec<u8>, Failure> {
        tile_bytes(self.source, id)?
            .ok_or_else(|| self.damaged(&format!("{} is missing", id.path())))
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, Failure> {
        bundle_bytes(self.source, id)?
            .ok_or_else(|| self.damaged(&format!("{} is missing", id.path())))
    }

    fn damaged(&self, what: &str) -> Failure {
        let source = self.source;
        Failure::Negative(format!(
            "{source}: {what}; `countersign log fsck` says what else is wrong"
        ))
    }
}

/// The bytes of a tile. A log may have put the full one in a partial one's place; its beginning is the same.
pub fn tile_bytes(source: &Source, id: TileId) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(bytes) = source.read(&id.path(), TILE_BYTES_MAX)? {
        return Ok(Some(bytes));
    }
    if id.is_full() {
        return Ok(None);
    }
    let full = source.read(&id.full().path(), TILE_BYTES_MAX)?;
    Ok(full.map(|mut bytes| {
        bytes.truncate(id.bytes());
        bytes
    }))
}

/// The bytes of a bundle, or of the beginning of the full one in its place.
pub fn bundle_bytes(source: &Source, id: BundleId) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(bytes) = source.read(&id.path(), BUNDLE_BYTES_MAX)? {
        return Ok(Some(bytes));
    }
    if id.is_full() {
        return Ok(None);
    }
    let Some(full) = source.read(&id.full().path(), BUNDLE_BYTES_MAX)? else {
        return Ok(None);
    };
    let Ok(entries) = bundle::decode(&full) else {
        // Whoever reads it says what is wrong with it.
        return Ok(Some(full));
    };
    let first = entries.into_iter().take(usize::from(id.width));
    Ok(bundle::encode(first).ok())
}

/// A node that can't be had, or a proof that can't be made.
enum Problem {
    Failed(Failure),
    Proof(ProofError),
}

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        Self::Proof(error)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Failed(failure) => failure,
            Problem::Proof(error) => Self::Mistake(error.to_string()),
        }
    }
}
