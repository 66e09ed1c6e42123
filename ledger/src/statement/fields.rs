//! What the predicates share: optional digests, short texts, hex.

use crate::digest::Digest;

use super::StatementError;

/// Bytes of one text that a person or a program wrote: a reason, a URL, a version.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// Bytes of a nonce.
const NONCE_BYTES_MAX: usize = 32;

/// A digest that may be none: its hex, or the empty text.
pub(super) mod maybe {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::digest::Digest;

    #[allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option)] // serde calls it
    pub(crate) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.collect_str(digest),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Digest>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        super::hex("digest", &text)
            .map(Some)
            .map_err(serde::de::Error::custom)
    }
}

/// A digest in its one spelling.
pub(super) fn hex(field: &'static str, text: &str) -> Result<Digest, StatementError> {
    let digest = text.parse().ok().filter(|_| text.len() == 64);
    digest.ok_or(StatementError::Field {
        field,
        problem: "must be 64 lower-case hex digits",
    })
}

/// A field with a value that can not be.
pub(super) fn wrong(field: &'static str, problem: &'static str) -> StatementError {
    StatementError::Field { field, problem }
}

/// `Ok` if `holds`, else that the field has this problem.
pub(super) fn ensure(
    holds: bool,
    field: &'static str,
    problem: &'static str,
) -> Result<(), StatementError> {
    if holds {
        Ok(())
    } else {
        Err(wrong(field, problem))
    }
}

/// A text that may be empty, in one line.
pub(super) fn line(field: &'static str, text: &str) -> Result<(), StatementError> {
    ensure(
        text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control),
        field,
        "must be one line of at most 512 bytes",
    )
}

/// A text of at least one character, in one line.
pub(super) fn text(field: &'static str, text: &str) -> Result<(), StatementError> {
    ensure(!text.is_empty(), field, "is empty")?;
    line(field, text)
}

/// Bytes as lower-case hex; none are allowed.
pub(super) fn nonce(text: &str) -> Result<(), StatementError> {
    let digits = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure(
        digits && text.len().is_multiple_of(2) && text.len() <= 2 * NONCE_BYTES_MAX,
        "nonce",
        "must be at most 32 bytes in lower-case hex",
    )
}

/// A code of ours: `UPPER_SNAKE`.
pub(super) fn code(field: &'static str, text: &str) -> Result<(), StatementError> {
    let upper = text
        .bytes()
        .all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    ensure(
        upper && (1..=64).contains(&text.len()),
        field,
        "must be 1 to 64 characters of A-Z, 0-9 and \"_\"",
    )
}

/// A chain begins at 1, and only its first link has none before it.
pub(super) fn link(seq: u64, previous: Option<&Digest>) -> Result<(), StatementError> {
    ensure(seq != 0, "seq", "begins at 1")?;
    ensure(
        previous.is_none() == (seq == 1),
        "previous",
        "must be empty for seq 1 and no other",
    )
}
