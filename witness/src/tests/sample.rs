//! Logs for tests: trees of any leaves, their roots, proofs and signed checkpoints.

use std::convert::Infallible;

use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::{KeyKind, Note, Vkey};

use crate::decide::Tree;
use crate::request::AddCheckpoint;

pub(crate) const ORIGIN: &str = "countersign.dev/fleet/test";

/// A history: what is in the log, entry by entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct History(pub(crate) Vec<u8>);

impl History {
    /// `size` entries of branch `branch`, which differs from every other branch from entry `forks_at` on.
    pub(crate) fn new(size: u64, forks_at: u64, branch: u8) -> Self {
        Self(
            (0..size)
                .map(|n| if n < forks_at { 0 } else { branch })
                .collect(),
        )
    }

    fn node(&self, id: NodeId) -> Digest {
        if id.level == 0 {
            let entry = self.0[usize::try_from(id.index).unwrap()];
            return leaf_hash(&[entry, u8::try_from(id.index % 251).unwrap()]);
        }
        let below = |index| {
            self.node(NodeId {
                level: id.level - 1,
                index,
            })
        };
        merkle::node_hash(&below(id.index * 2), &below(id.index * 2 + 1))
    }

    pub(crate) fn tree(&self) -> Tree {
        self.tree_of(self.0.len() as u64)
    }

    pub(crate) fn tree_of(&self, size: u64) -> Tree {
        let hashes: Vec<Digest> = merkle::root_nodes(size)
            .into_iter()
            .map(|id| self.node(id))
            .collect();
        Tree {
            size,
            root: merkle::fold_root(size, &hashes).unwrap(),
        }
    }

    /// From the first `old` entries to all of them.
    pub(crate) fn proof(&self, old: u64) -> Vec<Digest> {
        merkle::consistency_proof(old, self.0.len() as u64, |id| {
            Ok::<_, Failed>(self.node(id))
        })
        .unwrap()
    }
}

#[derive(Debug)]
struct Failed;

impl From<ProofError> for Failed {
    fn from(_: ProofError) -> Self {
        Self
    }
}

impl From<Infallible> for Failed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

pub(crate) fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

pub(crate) fn log_key() -> FileKey {
    key(1)
}

pub(crate) fn log_vkey() -> Vkey {
    Vkey::new(ORIGIN, KeyKind::Ed25519, log_key().public()).unwrap()
}

/// A checkpoint of `tree`, signed by `key`.
pub(crate) fn checkpoint(origin: &str, tree: Tree, key: &FileKey) -> Vec<u8> {
    let Tree { size, root } = tree;
    let text = Checkpoint {
        origin: origin.to_owned(),
        size,
        root,
    }
    .text();
    let mut note = Note::new(&text).unwrap();
    note.sign(origin, key).unwrap();
    note.bytes()
}

/// The request of an honest log that has `history` and believes the witness to be at `old`.
pub(crate) fn request(history: &History, old: u64) -> AddCheckpoint {
    AddCheckpoint {
        old,
        proof: history.proof(old),
        note: checkpoint(ORIGIN, history.tree(), &log_key()),
    }
}
