//! How the program ends. The codes are documented in `--help` and never change their meaning.

/// A failure, by whose turn it is now.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The question was answered, and the answer is no: nothing to retry, something to look at.
    #[error("{0}")]
    Negative(String),
    /// The caller's mistake: arguments, files, names.
    #[error("{0}")]
    Mistake(String),
    /// The hub, a file system or a network: asking again may help.
    #[error("{0}")]
    Fault(String),
}

/// Exit codes, as text for `--help`.
pub const CODES: &str = "\
Exit codes:
  0  done, or the answer is yes
  1  the answer is no (out of sync, unhealthy, refused, different)
  2  wrong usage, or a mistake in what was given
  3  a fault: the hub can't be reached, a file can't be written; asking again may help";

impl Failure {
    /// Its exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Negative(_) => 1,
            Self::Mistake(_) => 2,
            Self::Fault(_) => 3,
        }
    }

    /// A file or folder that can't be used.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied,
        };
        let text = format!("{}: {error}", path.display());
        match error.kind() {
            NotFound | AlreadyExists | PermissionDenied | NotADirectory | InvalidInput => {
                Self::Mistake(text)
            }
            _ => Self::Fault(text),
        }
    }
}
