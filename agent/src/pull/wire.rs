//! Messages of the hub as untrusted values. Nothing of them counts before `verify` said so.

use bytes::Bytes;
use countersign_proto::agent::v1 as proto;

use crate::verify::Untrusted;

/// A head as it came.
#[derive(Debug)]
pub struct Head {
    /// Envelopes, generation ascending.
    pub envelopes: Untrusted<Vec<Bytes>>,
    /// More follow before the head is reached.
    pub more: bool,
    /// Blobs that came along.
    pub attached: Vec<Untrusted<Bytes>>,
}

/// Takes a message apart.
#[must_use]
pub fn head(head: proto::Head) -> Head {
    Head {
        envelopes: Untrusted(head.envelopes),
        more: head.more,
        attached: head.attached.iter().map(blob).collect(),
    }
}

/// A blob's content; the digest that it claims is not even looked at.
#[must_use]
pub fn blob(blob: &proto::Blob) -> Untrusted<Bytes> {
    // A copy: the message's buffer holds its neighbours too, and would live as long as the smallest of them.
    Untrusted(Bytes::copy_from_slice(&blob.content))
}
