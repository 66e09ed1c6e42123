//! One parcel, read: its messages in memory, its blobs where they lie in the file.
//!
//! Nothing in it counts before it was verified. What is read twice is read from the same open file, and checked by its digest.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::tlog::{Checkpoint, Note};
use countersign_proto::agent::v1 as proto;
use countersign_proto::courier::v1 as courier;
use countersign_proto::parcel::{Kind, ParcelError, Reader};
use prost::Message as _;

/// Bytes of all that is not a blob: heads, roots and proofs of the longest chain that a person would carry.
const MESSAGES_BYTES_MAX: usize = 256 << 20;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It can't be opened.
    #[error("can't be read: {0}")]
    Open(#[from] io::Error),
    /// It is no whole parcel.
    #[error("{0}")]
    Parcel(#[from] ParcelError),
    /// A message in it is none.
    #[error("holds a message that can't be read")]
    Message,
    /// It is what an agent writes.
    #[error("is a report of an agent, not a parcel of a hub")]
    Report,
    /// More than is held in memory.
    #[error("holds too many messages")]
    TooLarge,
}

/// A parcel.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) header: courier::ParcelHeader,
    trust_roots: Vec<Bytes>,
    ways: Vec<courier::Way>,
    heads: Vec<proto::Head>,
    pub(super) answer: Option<courier::Answer>,
    blobs: HashMap<Digest, (u64, usize)>,
    file: File,
}

impl Parcel {
    /// Reads a file to its end.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let file = File::open(path)?;
        let mut reader = Reader::new(BufReader::new(&file))?;
        let mut parcel = Self {
            header: courier::ParcelHeader::default(),
            trust_roots: Vec::new(),
            ways: Vec::new(),
            heads: Vec::new(),
            answer: None,
            blobs: HashMap::new(),
            file: file.try_clone()?,
        };
        let mut held = 0_usize;
        while let Some((kind, content)) = reader.frame()? {
            if kind == Kind::Blob {
                let at = reader.position() - content.len() as u64;
                parcel
                    .blobs
                    .insert(Digest::of(&content), (at, content.len()));
                continue;
            }
            held = held.saturating_add(content.len());
            if held > MESSAGES_BYTES_MAX {
                return Err(Unusable::TooLarge);
            }
            parcel.take(kind, content.into())?;
        }
        Ok(parcel)
    }

    fn take(&mut self, kind: Kind, content: Bytes) -> Result<(), Unusable> {
        let odd = |_| Unusable::Message;
        match kind {
            Kind::Parcel => self.header = courier::ParcelHeader::decode(content).map_err(odd)?,
            Kind::TrustRoot => self.trust_roots.push(content),
            Kind::Ways => self.ways = courier::Ways::decode(content).map_err(odd)?.ways,
            Kind::Head => self.heads.push(proto::Head::decode(content).map_err(odd)?),
            Kind::Answer => self.answer = Some(courier::Answer::decode(content).map_err(odd)?),
            Kind::Report | Kind::Receipt => return Err(Unusable::Report),
            Kind::Blob => {}
        }
        Ok(())
    }

    /// Trust roots, as they stand in it.
    pub(super) fn trust_roots(&self) -> &[Bytes] {
        &self.trust_roots
    }

    /// A blob; whoever asks checks it.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Bytes> {
        let (at, length) = *self.blobs.get(digest)?;
        let mut content = vec![0; length];
        self.file.read_exact_at(&mut content, at).ok()?;
        Some(content.into())
    }

    /// The heads for an agent at `generation` that has seen `tree_size` entries of the log: without what it has, and led on
    /// from there. None if they do not begin, or lead on, where it stands.
    pub(super) fn heads(&self, generation: u64, tree_size: u64) -> Option<Vec<proto::Head>> {
        let mut skip =
            usize::try_from(generation.checked_sub(self.header.from_generation)?).ok()?;
        if generation > self.header.generation {
            return None;
        }
        let mut heads = Vec::new();
        for head in &self.heads {
            let mut head = head.clone();
            let drop = skip.min(head.envelopes.len());
            skip -= drop;
            head.envelopes.drain(..drop);
            head.proofs.drain(..drop.min(head.proofs.len()));
            heads.push(head);
        }
        let first = heads.iter_mut().find(|head| !head.checkpoint.is_empty());
        if let Some(first) = first {
            first.consistency = way(&self.ways, tree_size, size(&first.checkpoint)?)?;
        }
        (!heads.is_empty()).then_some(heads)
    }

    /// Whether it could bring anything new.
    pub(super) fn is_newer(&self, generation: u64, tree_size: u64) -> bool {
        let end = (self.header.generation, self.header.tree_size);
        end > (generation, tree_size) && end.0 >= generation && end.1 >= tree_size
    }
}

/// The hashes that lead from a log of `from` entries to one of `to`; none if the parcel has none.
pub(super) fn way(ways: &[courier::Way], from: u64, to: u64) -> Option<Vec<Bytes>> {
    if from == 0 || from == to {
        return Some(Vec::new());
    }
    let found = ways.iter().find(|way| way.from == from && from < to);
    found.map(|way| way.hashes.clone())
}

fn size(note: &[u8]) -> Option<u64> {
    let note = Note::parse(note).ok()?;
    Some(Checkpoint::parse(note.text()).ok()?.size)
}
