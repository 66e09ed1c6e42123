//! Checkpoints (`tlog-checkpoint`): which log, how large, which root.

use crate::digest::Digest;
use crate::tlog::merkle::EMPTY_ROOT;
use crate::tlog::text;

/// The state of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log's name: that of its key, and the address it is served at without the scheme.
    pub origin: String,
    /// Entries in it.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Digest,
}

/// What may stand behind the three lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extensions {
    /// Nothing: witnesses say nothing about such lines, so nobody should read them.
    #[default]
    Refuse,
    /// Lines of a foreign log; they are skipped.
    Ignore,
}

/// Why a text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, or the last one does not end.
    #[error("must be three lines: origin, size, root")]
    Lines,
    /// The origin is empty or has control characters.
    #[error("the origin must not be empty")]
    Origin,
    /// The size is no decimal below 2^63 in its one spelling.
    #[error("the size must be a decimal without leading zeros")]
    Size,
    /// The root is no base64 of 32 bytes.
    #[error("the root must be the base64 of 32 bytes")]
    Root,
    /// A log without entries has another root than the empty tree's.
    #[error("a log without entries has root {got}")]
    EmptyRoot {
        /// The root given.
        got: Digest,
    },
    /// Lines stand behind the root.
    #[error("has extension lines")]
    Extension,
    /// An extension line is empty.
    #[error("an extension line is empty")]
    EmptyExtension,
}

impl Checkpoint {
    /// The three lines, each with its newline.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{}\n", text::base64(root.as_bytes()))
    }

    /// Reads a checkpoint of ours: three lines, no more.
    pub fn parse(written: &str) -> Result<Self, CheckpointError> {
        Self::parse_with(written, Extensions::Refuse)
    }

    /// Reads a checkpoint.
    pub fn parse_with(written: &str, extensions: Extensions) -> Result<Self, CheckpointError> {
        let lines = written.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        if origin.is_empty() || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Origin);
        }
        let size = text::decimal(size)
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or(CheckpointError::Size)?;
        let root = text::hash(root).ok_or(CheckpointError::Root)?;
        if size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot { got: root });
        }
        for line in lines {
            match extensions {
                Extensions::Refuse => return Err(CheckpointError::Extension),
                Extensions::Ignore if line.is_empty() => {
                    return Err(CheckpointError::EmptyExtension);
                }
                Extensions::Ignore => {}
            }
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}
