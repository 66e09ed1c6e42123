//! Messages of the hub as untrusted values. Nothing of them counts before `verify` said so.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::verify::{Inclusion, Link};
use countersign_proto::agent::v1 as proto;

use crate::receipt::send::hex;
use crate::verify::{Batch, Note, Untrusted};

/// Bytes of a nonce that a receipt takes.
const NONCE_BYTES_MAX: usize = 32;

/// A head as it came.
#[derive(Debug)]
pub struct Head {
    /// Envelopes, generation ascending, and what shows that they stand in the log.
    pub batch: Untrusted<Batch>,
    /// Somebody asks for a receipt that carries this nonce, hex.
    pub question: Option<String>,
    /// Blobs that came along.
    pub attached: Vec<Untrusted<Bytes>>,
}

/// Takes a message apart.
#[must_use]
pub fn head(head: proto::Head) -> Head {
    let asked = (1..=NONCE_BYTES_MAX).contains(&head.verify_nonce.len());
    let question = asked.then(|| hex(&head.verify_nonce));
    let mut proofs = head.proofs.into_iter();
    let links = head.envelopes.into_iter().map(|envelope| Link {
        envelope,
        proof: proofs.next().and_then(inclusion),
    });
    let batch = Batch {
        links: links.collect(),
        sources: head.sources.into_iter().map(entry).collect(),
        checkpoint: (!head.checkpoint.is_empty()).then(|| Note {
            note: head.checkpoint,
            // One that is no hash leaves no proof: a wrong one and none are refused alike.
            consistency: hashes(&head.consistency).unwrap_or_default(),
        }),
        reproductions: head.reproductions.into_iter().map(entry).collect(),
        git_objects: head.git_objects,
        trust_entries: head.trust_entries.into_iter().map(entry).collect(),
        overrides: head.overrides.into_iter().map(entry).collect(),
        more: head.more,
    };
    Head {
        batch: Untrusted(batch),
        question,
        attached: head.attached.iter().map(blob).collect(),
    }
}

fn entry(entry: proto::LogEntry) -> Link<Bytes> {
    Link {
        envelope: entry.envelope,
        proof: entry.proof.and_then(inclusion),
    }
}

fn inclusion(proof: proto::LogProof) -> Option<Inclusion> {
    Some(Inclusion {
        index: proof.index,
        hashes: hashes(&proof.hashes)?,
    })
}

/// None if one of them is no hash.
pub(crate) fn hashes(hashes: &[Bytes]) -> Option<Vec<Digest>> {
    hashes
        .iter()
        .map(|hash| <[u8; 32]>::try_from(&hash[..]).ok().map(Digest::from_bytes))
        .collect()
}

/// A blob's content; the digest that it claims is not even looked at.
#[must_use]
pub fn blob(blob: &proto::Blob) -> Untrusted<Bytes> {
    // A copy: the message's buffer holds its neighbours too, and would live as long as the smallest of them.
    Untrusted(Bytes::copy_from_slice(&blob.content))
}
