//! Keys in their text form: name, id and public key in one word.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key_id;
use crate::key::PublicKey;
use crate::tlog::text;

/// Bytes of a key's name.
pub const NAME_BYTES_MAX: usize = 255;

/// What a key signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// The text, with Ed25519 (0x01): a log.
    Ed25519,
    /// The text and a time, with Ed25519 (0x04): a witness.
    Cosignature,
}

impl KeyKind {
    /// The byte that stands for the kind.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// A key that verifies notes. Written `name+id+base64`, as C2SP's signed notes and Go do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vkey {
    name: String,
    kind: KeyKind,
    pub(super) id: u32,
    key: PublicKey,
}

/// Why a text is no key of a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not three parts with pluses between them.
    #[error("must be name, id and key with + between them")]
    Form,
    /// Empty, too long, or with a space or a plus.
    #[error(
        "a key's name must be 1 to {NAME_BYTES_MAX} bytes without spaces, control characters and pluses"
    )]
    Name,
    /// Not eight lower-case hex digits.
    #[error("the id must be 8 hex digits")]
    Id,
    /// Not the base64 of a kind and a key.
    #[error("the key must be the base64 of its kind and its bytes")]
    Key,
    /// A kind that is not read here.
    #[error("keys of kind {kind:#04x} are not read here")]
    Kind {
        /// The kind's byte.
        kind: u8,
    },
    /// Not as long as its kind says.
    #[error("a key has 32 bytes, this one {bytes}")]
    Length {
        /// Bytes given.
        bytes: usize,
    },
    /// The id is of another name or key.
    #[error("the id is {got:08x}, that of this name and key {want:08x}")]
    IdMismatch {
        /// The right one.
        want: u32,
        /// The one given.
        got: u32,
    },
}

impl Vkey {
    /// The key `key` of that kind under `name`.
    pub fn new(name: &str, kind: KeyKind, key: PublicKey) -> Result<Self, VkeyError> {
        if !is_name(name) || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(VkeyError::Name);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            id: key_id(name, kind, &key),
            key,
        })
    }

    /// The name: a log's is its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The hint in its signature lines.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// Whether a name may stand in a signature line.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(&self.key.0);
        write!(f, "{}+{:08x}+{}", self.name, self.id, text::base64(&key))
    }
}

impl FromStr for Vkey {
    type Err = VkeyError;

    fn from_str(written: &str) -> Result<Self, VkeyError> {
        // Base64 has pluses of its own.
        let (name, rest) = written.split_once('+').ok_or(VkeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(VkeyError::Form)?;
        let hex = id.len() == 8
            && id
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let got = if hex {
            u32::from_str_radix(id, 16).map_err(|_| VkeyError::Id)?
        } else {
            return Err(VkeyError::Id);
        };
        let bytes = text::bytes(key).ok_or(VkeyError::Key)?;
        let (kind, key) = bytes.split_first().ok_or(VkeyError::Key)?;
        let kind = match kind {
            1 => KeyKind::Ed25519,
            4 => KeyKind::Cosignature,
            kind => return Err(VkeyError::Kind { kind: *kind }),
        };
        let key: [u8; 32] = key
            .try_into()
            .map_err(|_| VkeyError::Length { bytes: key.len() })?;
        let vkey = Self::new(name, kind, PublicKey(key))?;
        if vkey.id != got {
            return Err(VkeyError::IdMismatch { want: vkey.id, got });
        }
        Ok(vkey)
    }
}

impl Serialize for Vkey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Vkey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
