//! The form of every file of the state: what it is, a digest, the body. Damage shows before anything is believed.

use countersign_ledger::digest::Digest;

/// Why the bytes of a file are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Another kind of file, or none of ours.
    #[error("does not begin with {0:?}")]
    Kind(&'static str),
    /// The second line is no digest.
    #[error("its second line is no digest")]
    NoDigest,
    /// The body is not what was written.
    #[error("its content does not hash to the digest in it")]
    Digest,
    /// It hashes right, and is not what such a file holds.
    #[error("{0}")]
    Content(String),
    /// A file that must be there is not.
    #[error("is missing")]
    Missing,
    /// More bytes than such a file ever has.
    #[error("is too large")]
    TooLarge,
}

/// The file's bytes.
#[must_use]
pub fn seal(kind: &'static str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("{kind}\nsha256 {}\n", Digest::of(body)).into_bytes();
    out.extend_from_slice(body);
    out
}

/// The body of a file's bytes.
///
/// # Errors
/// [`Damage`]: nothing in the file may be used then.
pub fn open<'a>(kind: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], Damage> {
    let rest = bytes
        .strip_prefix(kind.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\nsha256 "))
        .ok_or(Damage::Kind(kind))?;
    let (digest, rest) = rest.split_at_checked(64).ok_or(Damage::NoDigest)?;
    let digest: Digest = std::str::from_utf8(digest)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Damage::NoDigest)?;
    let body = rest.strip_prefix(b"\n").ok_or(Damage::NoDigest)?;
    if Digest::of(body) == digest {
        Ok(body)
    } else {
        Err(Damage::Digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: &str = "countersign.dev/test/v1";

    #[test]
    fn another_kind_is_not_opened() {
        let file = seal("countersign.dev/other/v1", b"x");
        assert_eq!(open(KIND, &file), Err(Damage::Kind(KIND)));
        assert_eq!(open(KIND, b""), Err(Damage::Kind(KIND)));
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_any_change_shows(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u8,
            cut in any::<proptest::sample::Index>(),
        ) {
            let file = seal(KIND, &body);
            prop_assert_eq!(open(KIND, &file), Ok(body.as_slice()));
            let mut flipped = file.clone();
            flipped[at.index(file.len())] ^= 1 << bit;
            prop_assert!(open(KIND, &flipped).is_err());
            prop_assert!(open(KIND, &file[..cut.index(file.len())]).is_err());
            let mut longer = file;
            longer.push(b'\n');
            prop_assert!(open(KIND, &longer).is_err());
        }
    }
}
