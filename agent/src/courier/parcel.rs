//! One parcel: its header and the hub's answer in memory, all else where it lies in the file.
//!
//! Nothing in it counts before it was verified, so nothing is lost if the file changes: what is read later comes from the same
//! open file, and is checked like everything that comes.

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

/// Bytes of the heads of one parcel, which are in memory together while it is taken: a chain of fifty thousand states.
const HEADS_BYTES_MAX: usize = 256 << 20;
/// Trust roots in one parcel: as many as an agent follows at once.
const ROOTS_MAX: usize = 1_024;

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
    #[error("holds too long a chain, or too many trust roots")]
    TooLarge,
}

/// Where something lies in the file.
type Place = (u64, usize);

/// A parcel.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) header: courier::ParcelHeader,
    pub(super) answer: Option<courier::Answer>,
    ways: Vec<courier::Way>,
    trust_roots: Vec<Place>,
    heads: Vec<Place>,
    blobs: HashMap<Digest, Place>,
    file: File,
}

impl Parcel {
    /// Reads a file to its end.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let file = File::open(path)?;
        let mut reader = Reader::new(BufReader::new(&file))?;
        let mut parcel = Self {
            header: courier::ParcelHeader::default(),
            answer: None,
            ways: Vec::new(),
            trust_roots: Vec::new(),
            heads: Vec::new(),
            blobs: HashMap::new(),
            file: file.try_clone()?,
        };
        while let Some((kind, content)) = reader.frame()? {
            let place = (reader.position() - content.len() as u64, content.len());
            parcel.take(kind, place, content.into())?;
        }
        let heads: usize = parcel.heads.iter().map(|(_, length)| length).sum();
        if heads > HEADS_BYTES_MAX || parcel.trust_roots.len() > ROOTS_MAX {
            return Err(Unusable::TooLarge);
        }
        Ok(parcel)
    }

    fn take(&mut self, kind: Kind, place: Place, content: Bytes) -> Result<(), Unusable> {
        let odd = |_| Unusable::Message;
        match kind {
            Kind::Parcel => self.header = courier::ParcelHeader::decode(content).map_err(odd)?,
            Kind::TrustRoot => self.trust_roots.push(place),
            Kind::Ways => self.ways = courier::Ways::decode(content).map_err(odd)?.ways,
            Kind::Head => self.heads.push(place),
            Kind::Blob => {
                self.blobs.insert(Digest::of(&content), place);
            }
            Kind::Answer => self.answer = Some(courier::Answer::decode(content).map_err(odd)?),
            Kind::Report | Kind::Receipt => return Err(Unusable::Report),
        }
        Ok(())
    }

    fn at(&self, (at, length): Place) -> Option<Bytes> {
        let mut content = vec![0; length];
        self.file.read_exact_at(&mut content, at).ok()?;
        Some(content.into())
    }

    /// Trust roots, as they stand in it.
    pub(super) fn trust_roots(&self) -> Vec<Bytes> {
        let places = self.trust_roots.iter();
        places.filter_map(|place| self.at(*place)).collect()
    }

    /// A blob; whoever asks checks it.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Bytes> {
        self.at(*self.blobs.get(digest)?)
    }

    /// The heads for an agent at `generation` that has seen `tree_size` entries of the log: without what it has, and led on
    /// from there. None if they do not begin, or lead on, where it stands, or can't be read.
    pub(super) fn heads(&self, generation: u64, tree_size: u64) -> Option<Vec<proto::Head>> {
        let mut skip =
            usize::try_from(generation.checked_sub(self.header.from_generation)?).ok()?;
        if generation > self.header.generation {
            return None;
        }
        let mut heads = Vec::with_capacity(self.heads.len());
        for place in &self.heads {
            let mut head = proto::Head::decode(self.at(*place)?).ok()?;
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
