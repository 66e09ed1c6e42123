//! Names of Git objects, recomputed from their exact bytes.

use std::fmt;
use std::str::FromStr;

use sha1_checked::CollisionResult;
use sha2::{Digest as _, Sha256};

/// A Git object's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Oid {
    /// Of a repository with SHA-1, as almost all are.
    Sha1([u8; 20]),
    /// Of a repository with SHA-256.
    Sha256([u8; 32]),
}

/// The hash that a repository names its objects by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// 20 bytes, computed with collision detection.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl HashKind {
    /// Bytes of an id.
    #[must_use]
    pub const fn id_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// What an object is; blobs are never looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A tree.
    Tree,
}

impl ObjectKind {
    /// Git's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
        }
    }
}

/// Why bytes have no id that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its bytes are made to collide with others under SHA-1")]
pub struct Collision;

/// Why a text is no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object id has 40 or 64 lower-case hexadecimal digits")]
pub struct OidInvalid;

impl Oid {
    /// The id of an object's content.
    ///
    /// # Errors
    /// [`Collision`] if the bytes bear the marks of a SHA-1 collision.
    pub fn of(hash: HashKind, kind: ObjectKind, content: &[u8]) -> Result<Self, Collision> {
        Self::of_framed(hash, &[&header(kind, content.len()), content])
    }

    pub(super) fn of_framed(hash: HashKind, parts: &[&[u8]]) -> Result<Self, Collision> {
        match hash {
            HashKind::Sha1 => {
                let mut hasher = sha1_checked::Sha1::new();
                for part in parts {
                    sha1_checked::Digest::update(&mut hasher, part);
                }
                match hasher.try_finalize() {
                    CollisionResult::Ok(id) => Ok(Self::Sha1(id.into())),
                    CollisionResult::Mitigated(_) | CollisionResult::Collision(_) => Err(Collision),
                }
            }
            HashKind::Sha256 => {
                let mut hasher = Sha256::new();
                for part in parts {
                    hasher.update(part);
                }
                Ok(Self::Sha256(hasher.finalize().into()))
            }
        }
    }

    /// The hash that made it.
    #[must_use]
    pub const fn hash(&self) -> HashKind {
        match self {
            Self::Sha1(_) => HashKind::Sha1,
            Self::Sha256(_) => HashKind::Sha256,
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }

    /// An id of raw bytes; `None` if there are neither 20 nor 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            20 => bytes.try_into().ok().map(Self::Sha1),
            32 => bytes.try_into().ok().map(Self::Sha256),
            _ => None,
        }
    }

    /// An id of lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        if !text.len().is_multiple_of(2) || text.len() > 64 {
            return None;
        }
        let bytes: Option<Vec<u8>> = text
            .chunks_exact(2)
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect();
        Self::from_bytes(&bytes?)
    }
}

/// What Git hashes before the content.
pub(super) fn header(kind: ObjectKind, length: usize) -> Vec<u8> {
    format!("{} {length}\0", kind.name()).into_bytes()
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Oid {
    type Err = OidInvalid;

    fn from_str(text: &str) -> Result<Self, OidInvalid> {
        Self::from_hex(text.as_bytes()).ok_or(OidInvalid)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_gits_own() {
        let empty = |hash| Oid::of(hash, ObjectKind::Tree, b"").unwrap().to_string();
        assert_eq!(
            empty(HashKind::Sha1),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
        assert_eq!(
            empty(HashKind::Sha256),
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        );
    }

    #[test]
    fn an_id_survives_text_and_refuses_everything_else() {
        for text in ["01".repeat(20), "ab".repeat(32)] {
            assert_eq!(text.parse::<Oid>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "0123",
            &"AB".repeat(20),
            &"01".repeat(24),
            &"0".repeat(41),
        ] {
            assert_eq!(text.parse::<Oid>(), Err(OidInvalid), "{text}");
        }
    }
}
