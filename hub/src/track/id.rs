//! Names of Git objects that were resolved once and are passed on; a ref's name never travels further than the tracker.

use std::fmt;
use std::str::FromStr;

/// Bytes of a SHA-1 object id.
pub const OID_BYTES: usize = 20;

/// Why a text is no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object id has 40 lower-case hexadecimal digits")]
pub struct IdInvalid;

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; OID_BYTES]);

        impl $name {
            /// Raw bytes.
            #[must_use]
            pub const fn bytes(&self) -> &[u8; OID_BYTES] {
                &self.0
            }

            /// For git2.
            ///
            /// # Errors
            /// Never for 20 bytes; git2's signature is fallible.
            pub fn oid(&self) -> Result<git2::Oid, git2::Error> {
                git2::Oid::from_bytes(&self.0)
            }
        }

        impl From<git2::Oid> for $name {
            fn from(oid: git2::Oid) -> Self {
                let mut bytes = [0; OID_BYTES];
                bytes.copy_from_slice(&oid.as_bytes()[..OID_BYTES]);
                Self(bytes)
            }
        }

        impl From<[u8; OID_BYTES]> for $name {
            fn from(bytes: [u8; OID_BYTES]) -> Self {
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = IdInvalid;

            fn from_str(text: &str) -> Result<Self, IdInvalid> {
                parse_hex(text.as_bytes()).map(Self).ok_or(IdInvalid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

object_id!(
    /// A commit.
    CommitId
);
object_id!(
    /// A tree.
    TreeId
);

/// 40 lower-case hexadecimal digits.
#[must_use]
pub(crate) fn parse_hex(text: &[u8]) -> Option<[u8; OID_BYTES]> {
    if text.len() != OID_BYTES * 2 {
        return None;
    }
    let mut bytes = [0; OID_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_refuses_everything_else() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(text.parse::<CommitId>().unwrap().to_string(), text);
        for bad in [
            "",
            "0123",
            &text.to_uppercase(),
            &format!("{text}0"),
            &text.replace('0', "g"),
        ] {
            assert_eq!(bad.parse::<CommitId>(), Err(IdInvalid), "{bad}");
        }
    }
}
