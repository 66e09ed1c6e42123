//! The frames of the queue's file: a blob or an envelope, with its length and digest before it.

use std::io::{self, Read as _};

use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::limits::ENVELOPE_BYTES_MAX;
use countersign_ledger::statement::Statement;
use countersign_ledger::statement::receipt::ReceiptKind;

use super::{Item, Synced};

/// Kind, length, digest.
pub(super) const HEAD: usize = 1 + 4 + 32;
pub(super) const BLOB: u8 = 1;
const ENVELOPE: u8 = 2;
/// Bytes of a blob that an envelope names: the hub takes no larger one.
pub const BLOB_BYTES_MAX: usize = 2 << 20;

/// An envelope in the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) digest: Digest,
    pub(super) synced: Option<Synced>,
    pub(super) start: u64,
    pub(super) envelope: (u64, usize),
    pub(super) blobs: Vec<(u64, usize)>,
}

/// The next frame, if it is whole.
pub(super) fn frame(reader: &mut impl io::Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD];
    let mut content = Vec::new();
    match reader.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [kind, a, b, c, d, digest @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    let most = match kind {
        BLOB => BLOB_BYTES_MAX,
        ENVELOPE => ENVELOPE_BYTES_MAX,
        _ => return Ok(None),
    };
    if usize::try_from(length).is_ok_and(|length| length > most) {
        return Ok(None);
    }
    reader.take(u64::from(length)).read_to_end(&mut content)?;
    let whole = content.len() as u64 == u64::from(length);
    let right = whole && Digest::of(&content) == Digest::from_bytes(digest);
    Ok(right.then_some((kind, content)))
}

/// Writes the frames of an item that begin at `end` plus what `bytes` holds; its entry, and what it names as previous.
pub(super) fn entry(
    item: &Item,
    end: u64,
    bytes: &mut Vec<u8>,
) -> io::Result<(Entry, Option<Digest>)> {
    let start = end + bytes.len() as u64;
    let (mut entry, previous) = parsed(&item.envelope, start)?;
    for blob in &item.blobs {
        entry
            .blobs
            .push(write(BLOB, blob, BLOB_BYTES_MAX, end, bytes)?);
    }
    entry.envelope = write(ENVELOPE, &item.envelope, ENVELOPE_BYTES_MAX, end, bytes)?;
    Ok((entry, previous))
}

fn write(
    kind: u8,
    content: &[u8],
    most: usize,
    end: u64,
    bytes: &mut Vec<u8>,
) -> io::Result<(u64, usize)> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    if content.len() > most {
        return Err(io::Error::other("a frame of the queue is too large"));
    }
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(Digest::of(content).as_bytes());
    let offset = end + bytes.len() as u64;
    bytes.extend_from_slice(content);
    Ok((offset, content.len()))
}

/// What an envelope of ours says about its place.
pub(super) fn parsed(bytes: &[u8], start: u64) -> io::Result<(Entry, Option<Digest>)> {
    let odd = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let envelope = Envelope::parse(bytes, &Limits::entry()).map_err(|e| odd(e.to_string()))?;
    let statement = Statement::parse(envelope.payload()).map_err(|e| odd(e.to_string()))?;
    let (seq, previous, synced) = match &statement {
        Statement::Receipt(receipt) => {
            let synced = (receipt.kind == ReceiptKind::Sync).then_some(Synced {
                generation: receipt.generation,
                failed: receipt.apps.failed,
            });
            (receipt.seq, receipt.previous, synced)
        }
        Statement::Drift(drift) => (drift.seq, drift.previous, None),
        _ => return Err(odd("neither a receipt nor a drift record".to_owned())),
    };
    let entry = Entry {
        seq,
        digest: envelope.digest(),
        synced,
        start,
        envelope: (0, 0),
        blobs: Vec::new(),
    };
    Ok((entry, previous))
}
