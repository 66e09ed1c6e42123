//! One witness, asked for its cosignature over HTTP (C2SP `tlog-witness`, `add-checkpoint`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_ledger::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::Note;
use countersign_ledger::tlog::note::{self, Signature};
use countersign_ledger::tlog::policy::Witness;
use http::StatusCode;

use super::error::ReadError;
use super::limits::{WITNESS_ANSWER_BYTES_MAX, WITNESS_MAX};
use super::proofs::Prover;
use super::signed::Signed;

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum WitnessTrouble {
    /// The policy gives no address for it.
    #[error("the policy names no address")]
    NoAddress,
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// It does not know this log (404).
    #[error("it does not know this log")]
    UnknownLog,
    /// It does not take the log's signature (403).
    #[error("it does not accept the log's key")]
    KeyRefused,
    /// It has cosigned a larger tree than the newest here: this hub's store went back, or another writes the log.
    #[error("it has cosigned {theirs} entries, the newest checkpoint here has {ours}")]
    Ahead {
        /// Its size.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// It has seen another tree: two histories exist (422).
    #[error("it has seen another tree with this log's key")]
    Forked,
    /// Another answer.
    #[error("it answered {0}")]
    Refused(u16),
    /// Its answer is too long, or no signature line of its key over our checkpoint.
    #[error("its answer is no cosignature of its key: {0}")]
    Answer(String),
    /// The proof for it can not be made.
    #[error("the proof for it: {0}")]
    Proof(#[from] ReadError),
}

impl WitnessTrouble {
    /// Stable name.
    #[must_use]
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NoAddress => "WITNESS_NO_ADDRESS",
            Self::Unreachable(_) => "WITNESS_UNREACHABLE",
            Self::UnknownLog => "WITNESS_UNKNOWN_LOG",
            Self::KeyRefused => "WITNESS_KEY_REFUSED",
            Self::Ahead { .. } => "WITNESS_AHEAD",
            Self::Forked => "WITNESS_FORKED",
            Self::Refused(_) => "WITNESS_REFUSED",
            Self::Answer(_) => "WITNESS_ANSWER",
            Self::Proof(_) => "WITNESS_PROOF",
        }
    }

    /// Whether a person must look: it speaks of another history.
    #[must_use]
    pub(super) const fn is_alarm(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Forked)
    }
}

/// What a witness said to one request.
enum Answer {
    Lines(Bytes),
    /// It is at another size.
    At(u64),
}

/// Asks `witness` to cosign `target`; `old` is the size that it cosigned last, as far as we know.
///
/// # Cancel safety
/// Dropped, the witness may have cosigned; asked again it says where it stands.
pub(super) async fn ask(
    client: &reqwest::Client,
    witness: &Witness,
    prover: &Prover,
    target: &Signed,
    old: u64,
) -> Result<Signature, WitnessTrouble> {
    let url = witness.url.as_deref().ok_or(WitnessTrouble::NoAddress)?;
    let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
    let mut old = old.min(target.size);
    // What it says itself about its size may be out of date once more when it is asked by two hubs, never for long.
    for _ in 0..3 {
        let body = body(prover, target, old)?;
        match post(client, &url, body).await? {
            Answer::Lines(lines) => return cosignature(witness, target, &lines),
            Answer::At(theirs) if theirs > target.size => {
                let ours = target.size;
                return Err(WitnessTrouble::Ahead { theirs, ours });
            }
            Answer::At(theirs) => old = theirs,
        }
    }
    Err(WitnessTrouble::Refused(StatusCode::CONFLICT.as_u16()))
}

fn body(prover: &Prover, target: &Signed, old: u64) -> Result<Bytes, ReadError> {
    let proof = prover.consistency(old, target.size)?;
    Ok(request(old, &proof, &target.note))
}

/// `old <size>`, the proof, a blank line, the checkpoint.
fn request(old: u64, proof: &[Digest], note: &[u8]) -> Bytes {
    use base64::Engine as _;
    let mut text = format!("old {old}\n");
    for hash in proof {
        text.push_str(&base64::engine::general_purpose::STANDARD.encode(hash.as_bytes()));
        text.push('\n');
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(note);
    bytes.into()
}

async fn post(client: &reqwest::Client, url: &str, body: Bytes) -> Result<Answer, WitnessTrouble> {
    let sent = client.post(url).timeout(WITNESS_MAX).body(body).send();
    let unreachable =
        |error: reqwest::Error| WitnessTrouble::Unreachable(error.without_url().to_string());
    let mut response = sent.await.map_err(unreachable)?;
    let status = response.status();
    let mut answer = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + piece.len() > WITNESS_ANSWER_BYTES_MAX {
            return Err(WitnessTrouble::Answer("is too long".into()));
        }
        answer.extend_from_slice(&piece);
    }
    match status {
        StatusCode::OK => Ok(Answer::Lines(answer.freeze())),
        StatusCode::CONFLICT => size(&answer)
            .map(Answer::At)
            .ok_or(WitnessTrouble::Refused(status.as_u16())),
        StatusCode::NOT_FOUND => Err(WitnessTrouble::UnknownLog),
        StatusCode::FORBIDDEN => Err(WitnessTrouble::KeyRefused),
        StatusCode::UNPROCESSABLE_ENTITY => Err(WitnessTrouble::Forked),
        other => Err(WitnessTrouble::Refused(other.as_u16())),
    }
}

/// The decimal of a `text/x.tlog.size` body.
fn size(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?.trim_end_matches('\n');
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| text.parse().ok())?
}

/// The line of the witness's own key; lines of other keys are none of ours to pass on.
fn cosignature(
    witness: &Witness,
    target: &Signed,
    lines: &[u8],
) -> Result<Signature, WitnessTrouble> {
    let answer = |error: note::NoteError| WitnessTrouble::Answer(error.to_string());
    let signatures = Signature::parse_lines(lines).map_err(answer)?;
    let mut note = Note::parse(&target.note).map_err(answer)?;
    for signature in signatures {
        if signature.name == witness.vkey.name() && signature.id == witness.vkey.id() {
            note.add(signature);
        }
    }
    let opened = note
        .open(std::slice::from_ref(&witness.vkey), &RingVerifier)
        .map_err(answer)?;
    opened
        .by(&witness.vkey)
        .map(|verified| verified.signature.clone())
        .ok_or_else(|| WitnessTrouble::Answer("has no line of its key".into()))
}

/// Waits between two attempts at a witness that does not answer: one second, then twice as long each time.
pub(super) fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_the_specs_to_the_byte() {
        let hash = Digest::from_bytes([0; 32]);
        let bytes = request(7, &[hash], b"o\n8\nr\n\n\xe2\x80\x94 o x\n");
        assert_eq!(
            bytes,
            "old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\no\n8\nr\n\n— o x\n".as_bytes()
        );
    }

    #[test]
    fn a_size_is_a_plain_decimal() {
        assert_eq!(size(b"42\n"), Some(42));
        assert_eq!(size(b"0"), Some(0));
        for text in [
            "",
            "\n",
            "042",
            "-1",
            "+1",
            "1 ",
            "0x1",
            "18446744073709551616",
        ] {
            assert_eq!(size(text.as_bytes()), None, "{text:?}");
        }
    }
}
