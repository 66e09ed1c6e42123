//! JSON as signed bytes: one canonical writer, one strict parser.
//!
//! [`canonical`] writes RFC 8785 wherever RFC 8785 and 64-bit integers do not disagree: integers from −2^63 to 2^64−1
//! stand verbatim. A float that RFC 8785 would write as an integer beyond 2^53 is refused: its bytes would be those of
//! another number. [`parse`] refuses what two readers could read differently: duplicate keys, lone surrogates, bytes
//! after the document.

mod parse;
mod write;

pub use parse::parse;
pub use write::{canonical, write_string};

use crate::limits;

/// How much JSON a parser takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the document.
    pub bytes: usize,
    /// Arrays and objects inside each other.
    pub depth: usize,
}

impl Limits {
    /// For our own small documents, of at most `bytes`.
    #[must_use]
    pub const fn document(bytes: usize) -> Self {
        Self {
            bytes,
            depth: limits::JSON_DEPTH_MAX,
        }
    }

    /// For an object of Kubernetes.
    #[must_use]
    pub const fn object() -> Self {
        Self {
            bytes: limits::OBJECT_BYTES_MAX,
            depth: limits::OBJECT_DEPTH_MAX,
        }
    }
}

/// Why JSON is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The document is longer than its limit.
    #[error("has {got} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes that came.
        got: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// Arrays and objects are nested too deep.
    #[error("is nested deeper than {max}")]
    TooDeep {
        /// The deepest that is allowed.
        max: usize,
    },
    /// An object has one key twice.
    #[error("has the key {key:?} twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A number that has no one canonical form.
    #[error("holds the number {number}, which has no exact canonical form")]
    Number {
        /// The number as it came.
        number: String,
    },
    /// Not JSON.
    #[error("is not JSON at byte {at}: {problem}")]
    Syntax {
        /// Where.
        at: usize,
        /// What.
        problem: &'static str,
    },
}

#[cfg(test)]
mod tests;
