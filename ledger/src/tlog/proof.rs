//! Proof files (`tlog-proof`): an entry's place, its proof, and the checkpoint with its signatures, in one text that
//! is checked offline.

use crate::digest::Digest;
use crate::key::Verify;
use crate::tlog::checkpoint::{Checkpoint, CheckpointError, Extensions};
use crate::tlog::merkle::{self, PROOF_HASHES_MAX, ProofError};
use crate::tlog::note::{Note, NoteError};
use crate::tlog::policy::Policy;
use crate::tlog::text;

#[cfg(test)]
mod tests;

/// The first line.
pub const HEADING: &str = "c2sp.org/tlog-proof@v1";
/// Bytes of the opaque part, decoded.
pub const EXTRA_BYTES_MAX: usize = 64 << 10;

/// A proof file as it was read: nothing in it is checked beyond its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Whatever the writer put in; nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// Place of the entry in the log.
    pub index: u64,
    /// The hashes from the leaf's sibling up.
    pub hashes: Vec<Digest>,
    /// The checkpoint as the log sent it.
    pub checkpoint: Note,
}

/// What a proof file proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The checkpoint that holds the entry.
    pub checkpoint: Checkpoint,
    /// Place of the entry.
    pub index: u64,
    /// The moment at or after which a quorum of witnesses cosigned the checkpoint.
    pub time: u64,
}

/// Why bytes are no proof file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// The first line is another.
    #[error("must begin with the line {HEADING}")]
    Heading,
    /// The opaque part is no base64, or too long.
    #[error("the extra data must be base64 of at most {EXTRA_BYTES_MAX} bytes")]
    Extra,
    /// There is no line with a decimal index in its one spelling.
    #[error("must say its index in decimal")]
    Index,
    /// A line of the proof is no base64 of 32 bytes.
    #[error("hash {at} is none")]
    Hash {
        /// Which one, from 0.
        at: usize,
    },
    /// More hashes than any proof has.
    #[error("has more than {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// No blank line ends the proof.
    #[error("has no blank line before the checkpoint")]
    NoCheckpoint,
    /// The checkpoint is no note.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
}

/// Why a proof file does not prove an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefusal {
    /// The note cannot be opened.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The note's text is no checkpoint.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// No log of the policy, whose name is the origin, signed the checkpoint.
    #[error("no log of the policy signed the checkpoint of {origin:?}")]
    UnknownLog {
        /// The checkpoint's origin.
        origin: String,
    },
    /// The witnesses that cosigned are no quorum.
    #[error("the witnesses that cosigned are no quorum")]
    NoQuorum,
    /// The hashes do not lead from the entry to the root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// The file as it is written.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut written = format!("{HEADING}\n");
        if let Some(extra) = &self.extra {
            written.push_str(&format!("extra {}\n", text::base64(extra)));
        }
        written.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            written.push_str(&text::base64(hash.as_bytes()));
            written.push('\n');
        }
        written.push('\n');
        let mut bytes = written.into_bytes();
        bytes.extend_from_slice(&self.checkpoint.bytes());
        bytes
    }

    /// Reads a proof file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let mut rest = bytes;
        let mut line = || -> Option<&str> {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (line, after) = rest.split_at_checked(end)?;
            rest = after.get(1..)?;
            std::str::from_utf8(line).ok()
        };
        if line() != Some(HEADING) {
            return Err(ProofFileError::Heading);
        }
        let mut next = line().ok_or(ProofFileError::Index)?;
        let mut extra = None;
        if let Some(base64) = next.strip_prefix("extra ") {
            let bytes = text::bytes(base64)
                .filter(|bytes| bytes.len() <= EXTRA_BYTES_MAX)
                .ok_or(ProofFileError::Extra)?;
            extra = Some(bytes);
            next = line().ok_or(ProofFileError::Index)?;
        }
        let index = next
            .strip_prefix("index ")
            .and_then(text::decimal)
            .filter(|index| i64::try_from(*index).is_ok())
            .ok_or(ProofFileError::Index)?;
        let mut hashes = Vec::new();
        loop {
            let next = line().ok_or(ProofFileError::NoCheckpoint)?;
            if next.is_empty() {
                break;
            }
            if hashes.len() == PROOF_HASHES_MAX {
                return Err(ProofFileError::TooManyHashes);
            }
            let at = hashes.len();
            hashes.push(text::hash(next).ok_or(ProofFileError::Hash { at })?);
        }
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: Note::parse(rest)?,
        })
    }

    /// Checks that the entry with hash `leaf` is in a log of `policy`, under a checkpoint that a quorum cosigned.
    pub fn verify(
        &self,
        leaf: &Digest,
        policy: &Policy,
        verifier: &dyn Verify,
    ) -> Result<Proven, ProofRefusal> {
        let note = self.checkpoint.open(&policy.vkeys(), verifier)?;
        let checkpoint = Checkpoint::parse_with(note.text(), Extensions::Ignore)?;
        let signed = policy
            .logs()
            .iter()
            .any(|log| log.vkey.name() == checkpoint.origin && note.by(&log.vkey).is_some());
        if !signed {
            return Err(ProofRefusal::UnknownLog {
                origin: checkpoint.origin,
            });
        }
        let time = policy
            .newest_time(&policy.cosigned(&note))
            .ok_or(ProofRefusal::NoQuorum)?;
        merkle::verify_inclusion(
            self.index,
            checkpoint.size,
            leaf,
            &self.hashes,
            &checkpoint.root,
        )?;
        Ok(Proven {
            checkpoint,
            index: self.index,
            time,
        })
    }
}
