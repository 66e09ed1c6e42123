//! The body of `add-checkpoint` (C2SP tlog-witness): `old N`, hashes, an empty line, a checkpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::digest::Digest;

use crate::limits::{BODY_BYTES_MAX, PROOF_HASHES_MAX};

/// What a log asks: cosign this checkpoint, which continues the tree of `old` leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the tree that the witness is believed to know.
    pub old: u64,
    /// The consistency proof from there to the checkpoint.
    pub proof: Vec<Digest>,
    /// The checkpoint: a signed note, not looked into yet.
    pub note: Vec<u8>,
}

/// Why a body is no request. The answer to each is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More bytes than a request can have.
    #[error("the body has more than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// The first line.
    #[error("line 1: must be \"old\" and a size")]
    Old,
    /// A line of the proof.
    #[error("line {0}: must be a hash in base64, or empty before the checkpoint")]
    Hash(usize),
    /// Too many of them.
    #[error("the proof has more than {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// No empty line, or nothing after it.
    #[error("there is no checkpoint after an empty line")]
    NoCheckpoint,
}

impl AddCheckpoint {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        let (first, mut rest) = line(body).ok_or(Malformed::Old)?;
        let old = first
            .strip_prefix(b"old ")
            .and_then(decimal)
            .ok_or(Malformed::Old)?;
        let mut proof = Vec::new();
        let note = loop {
            let (this, after) = line(rest).ok_or(Malformed::NoCheckpoint)?;
            rest = after;
            if this.is_empty() {
                break rest;
            }
            if proof.len() == PROOF_HASHES_MAX {
                return Err(Malformed::TooManyHashes);
            }
            proof.push(hash(this).ok_or(Malformed::Hash(proof.len() + 2))?);
        };
        if note.is_empty() {
            return Err(Malformed::NoCheckpoint);
        }
        Ok(Self {
            old,
            proof,
            note: note.to_vec(),
        })
    }

    /// Writes a body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut out = format!("old {}\n", self.old).into_bytes();
        for hash in &self.proof {
            out.extend_from_slice(STANDARD.encode(hash.as_bytes()).as_bytes());
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(&self.note);
        out
    }
}

/// The bytes up to a line end, and those after it; none if there is no line end.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// A decimal in its one spelling.
fn decimal(digits: &[u8]) -> Option<u64> {
    let canonical = digits == b"0" || digits.first().is_some_and(|first| *first != b'0');
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn hash(text: &[u8]) -> Option<Digest> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=";

    #[test]
    fn the_parts_are_read() {
        let body = format!("old 20852014\n{HASH}\n{HASH}\n\nexample.com/log\n1\n\nx");
        let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
        assert_eq!(request.old, 20_852_014);
        assert_eq!(request.proof.len(), 2);
        assert_eq!(request.note, b"example.com/log\n1\n\nx");
    }

    #[test]
    fn everything_else_is_malformed() {
        let many = format!("old 9\n{}\nnote", format!("{HASH}\n").repeat(64));
        for (body, want) in [
            ("", Malformed::Old),
            ("old 1", Malformed::Old),
            ("old  1\n\nx", Malformed::Old),
            ("old 01\n\nx", Malformed::Old),
            ("old -1\n\nx", Malformed::Old),
            ("old +1\n\nx", Malformed::Old),
            ("old 1\r\n\r\nx", Malformed::Old),
            ("old 18446744073709551616\n\nx", Malformed::Old),
            ("new 1\n\nx", Malformed::Old),
            ("old 1\n", Malformed::NoCheckpoint),
            ("old 1\n\n", Malformed::NoCheckpoint),
            (&format!("old 1\n{HASH}\n"), Malformed::NoCheckpoint),
            ("old 1\nAAAA\n\nx", Malformed::Hash(2)),
            (&format!("old 1\n{HASH}\n {HASH}\n\nx"), Malformed::Hash(3)),
            (
                &format!("old 1\n{}\n\nx", HASH.replace("aw=", "ax=")),
                Malformed::Hash(2),
            ),
            (&many, Malformed::TooManyHashes),
        ] {
            assert_eq!(AddCheckpoint::parse(body.as_bytes()), Err(want), "{body:?}");
        }
        let large = vec![b'a'; BODY_BYTES_MAX + 1];
        assert_eq!(AddCheckpoint::parse(&large), Err(Malformed::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            old in any::<u64>(),
            proof in proptest::collection::vec(any::<[u8; 32]>(), 0..=63),
            note in proptest::collection::vec(any::<u8>(), 1..400),
        ) {
            let request = AddCheckpoint { old, proof: proof.into_iter().map(Digest::from_bytes).collect(), note };
            prop_assert_eq!(AddCheckpoint::parse(&request.body()), Ok(request));
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_has_one_spelling(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = AddCheckpoint::parse(&body) {
                prop_assert_eq!(request.body(), body);
            }
        }
    }
}
