//! The transparency log's formats, to C2SP's letter: any client of `tlog-tiles` reads our logs, and we read theirs.
//!
//! What comes in is bytes that anybody may have changed; what goes out was parsed strictly or checked. Read in this
//! order: [`merkle`] (hashes and proofs), [`tile`] (where the hashes lie), [`frontier`] (a tree that grows),
//! [`note`] (signed text), [`checkpoint`] (what a log signs), [`cosignature`] (what a witness signs), [`policy`]
//! (whose word is needed), [`proof`] (all of it in one file), [`fsck`] (a whole log rebuilt from its entries).
//!
//! Nothing here reads a file, a socket or a clock: who fetches tiles asks [`merkle::inclusion_nodes`] which nodes are
//! needed, takes them from where they lie, and gives the hashes to [`merkle::fold_inclusion`].

pub mod checkpoint;
pub mod cosignature;
pub mod frontier;
pub mod fsck;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof;
pub mod tile;

mod text;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use frontier::Frontier;
pub use merkle::{NodeId, ProofError};
pub use note::{Note, NoteError, Vkey};
pub use policy::{Policy, PolicyError};
pub use tile::{BundleId, TileId, TilePathError};
