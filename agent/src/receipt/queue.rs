//! What was signed and is not proven to be in the log yet: on disk, in order.
//!
//! ```text
//! receipts/queue.log  frames: the blobs that an envelope names, then the envelope
//! receipts/base.json  how far the chain is proven, and what the agent must not forget with it
//! ```
//!
//! An envelope is recorded when [`Queue::append`] returned: its frames are whole and durable. A crash before that leaves a
//! torn end, which is cut off when the queue is opened, or an envelope that is whole and simply counts. It leaves the queue
//! when [`Queue::proven`] returned: the base is replaced first, the frames go later, and what the base has passed is skipped.
//! So at any instant each envelope is there once, and a `seq` was given out once.

mod folder;
mod frame;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::PublicKey;
use serde::{Deserialize, Serialize};

use crate::saved::{self, Log};
use folder::{BASE, LOG, read_base, replace, set_aside, sync_folder};
use frame::{BLOB, Entry, HEAD, entry, frame, parsed};

pub use frame::BLOB_BYTES_MAX;

/// Proven bytes at the front after which the file is written anew.
const SLACK_BYTES: u64 = 4 << 20;
/// From here on the disk is saved: drifts fold for longer, heartbeats wait.
const TIGHT_BYTES: u64 = 32 << 20;
/// Nothing more is written from here on; what happens folds until there is room.
const FULL_BYTES: u64 = 64 << 20;

/// What is kept beside the envelopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The receipt key whose chain this is.
    pub key: PublicKey,
    /// The newest `seq` that is proven to be in the log; 0 for none.
    pub seq: u64,
    /// Digest of its envelope.
    pub envelope: Option<Digest>,
    /// The last checkpoint under which envelopes were proven.
    pub log: Option<Log>,
    /// The newest sync of the proven ones.
    pub synced: Option<Synced>,
}

/// A sync that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Generation that was applied.
    pub generation: u64,
    /// Apps that failed.
    pub failed: u64,
}

/// Where the next statement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its `seq`.
    pub seq: u64,
    /// Digest of the envelope before it.
    pub previous: Option<Digest>,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Enough.
    Plenty,
    /// Save it.
    Tight,
    /// None.
    Full,
}

/// An envelope and the blobs that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The exact bytes.
    pub envelope: Bytes,
    /// Contents; each is named by its digest.
    pub blobs: Vec<Bytes>,
}

/// An envelope that waits for its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its `seq`.
    pub seq: u64,
    /// What is sent.
    pub item: Item,
}

/// The queue of one receipt key.
#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    file: File,
    /// None before it is known where the chain begins.
    base: Option<Base>,
    key: PublicKey,
    entries: VecDeque<Entry>,
    /// Where the next frame goes; what lies behind it is no record.
    end: u64,
    /// Something may lie behind `end`.
    torn: bool,
}

impl Queue {
    /// Opens the queue in `folder` for the receipt key `key`. What another key signed is set aside: it is another chain.
    ///
    /// # Errors
    /// When the folder can't be read or written, or holds what is no chain.
    pub fn open(folder: &Path, key: PublicKey) -> io::Result<Self> {
        saved::private_dir(folder)?;
        let mut base = read_base(folder)?;
        if let Some(other) = base.as_ref().filter(|base| base.key != key) {
            set_aside(folder, &other.key)?;
            base = None;
        }
        let file = saved::private(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false),
        )
        .open(folder.join(LOG))?;
        let mut queue = Self {
            folder: folder.to_owned(),
            file,
            base,
            key,
            entries: VecDeque::new(),
            end: 0,
            torn: true,
        };
        queue.load()?;
        queue.mend()?;
        sync_folder(folder)?;
        Ok(queue)
    }

    /// Whether it is known where the chain begins. Until then nothing can be signed: the volume may be new and the key old.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.base.is_some()
    }

    /// The chain begins after `seq` and the envelope under it, as the log has them; at 0 with nothing.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn begin(&mut self, seq: u64, envelope: Option<Digest>) -> io::Result<()> {
        let base = Base {
            key: self.key,
            seq,
            envelope,
            log: self.base.as_ref().and_then(|base| base.log.clone()),
            synced: None,
        };
        self.replace_base(base)?;
        self.drop_proven()
    }

    /// Where the next statement goes.
    #[must_use]
    pub fn next(&self) -> Place {
        let base = self.base.as_ref();
        let newest = self.entries.back().map_or_else(
            || base.map_or((0, None), |base| (base.seq, base.envelope)),
            |entry| (entry.seq, Some(entry.digest)),
        );
        Place {
            seq: newest.0.saturating_add(1),
            previous: newest.1,
        }
    }

    /// The newest sync that was recorded.
    #[must_use]
    pub fn synced(&self) -> Option<Synced> {
        let queued = self.entries.iter().rev().find_map(|entry| entry.synced);
        queued.or_else(|| self.base.as_ref().and_then(|base| base.synced))
    }

    /// The last checkpoint under which envelopes were proven.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.base.as_ref().and_then(|base| base.log.as_ref())
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Envelopes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How much room there is.
    #[must_use]
    pub fn room(&self) -> Room {
        let start = self.entries.front().map_or(self.end, |entry| entry.start);
        match self.end.saturating_sub(start) {
            FULL_BYTES.. => Room::Full,
            TIGHT_BYTES.. => Room::Tight,
            _ => Room::Plenty,
        }
    }

    /// Records `items`, in order and as one: when it returns they are durable. On an error none of them is recorded.
    ///
    /// # Errors
    /// When they could not be made durable, or are not what comes next.
    pub fn append(&mut self, items: &[Item]) -> io::Result<()> {
        if self.base.is_none() {
            return Err(io::Error::other("the chain has not begun"));
        }
        self.mend()?;
        let (mut bytes, mut new) = (Vec::new(), VecDeque::new());
        let mut place = self.next();
        for item in items {
            let entry = entry(item, self.end, &mut bytes)?;
            if (entry.0.seq, entry.1) != (place.seq, place.previous) {
                return Err(io::Error::other(
                    "a receipt is not the next one of its chain",
                ));
            }
            place = Place {
                seq: place.seq.saturating_add(1),
                previous: Some(entry.0.digest),
            };
            new.push_back(entry.0);
        }
        self.torn = true;
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.torn = false;
        self.end += bytes.len() as u64;
        self.entries.append(&mut new);
        Ok(())
    }

    /// The oldest that wait, at most `max` of them and about `bytes` bytes; at least one if any waits.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn waiting(&self, max: usize, bytes: usize) -> io::Result<Vec<Waiting>> {
        let (mut out, mut had) = (Vec::new(), 0_usize);
        for entry in self.entries.iter().take(max) {
            let blobs: usize = entry.blobs.iter().map(|(_, length)| length).sum();
            had = had.saturating_add(entry.envelope.1 + blobs);
            if !out.is_empty() && had > bytes {
                break;
            }
            out.push(Waiting {
                seq: entry.seq,
                item: Item {
                    envelope: self.read(entry.envelope)?,
                    blobs: entry
                        .blobs
                        .iter()
                        .map(|place| self.read(*place))
                        .collect::<io::Result<_>>()?,
                },
            });
        }
        Ok(out)
    }

    /// All envelopes up to `seq` are proven to be in the log, under the checkpoint `log`: they leave the queue.
    ///
    /// # Errors
    /// When it could not be made durable; they stay then.
    pub fn proven(&mut self, seq: u64, log: Option<Log>) -> io::Result<()> {
        let Some(mut base) = self.base.clone() else {
            return Ok(());
        };
        for entry in self.entries.iter().take_while(|entry| entry.seq <= seq) {
            base.seq = entry.seq;
            base.envelope = Some(entry.digest);
            base.synced = entry.synced.or(base.synced);
        }
        base.log = log.or(base.log);
        self.replace_base(base)?;
        self.drop_proven()
    }

    fn replace_base(&mut self, base: Base) -> io::Result<()> {
        let bytes = serde_json::to_vec(&base).map_err(io::Error::other)?;
        replace(&self.folder, BASE, &bytes)?;
        self.base = Some(base);
        Ok(())
    }

    /// Lets go of what the base has passed, in memory and, now and then, on disk.
    fn drop_proven(&mut self) -> io::Result<()> {
        let seq = self.base.as_ref().map_or(0, |base| base.seq);
        while self.entries.front().is_some_and(|entry| entry.seq <= seq) {
            self.entries.pop_front();
        }
        let start = self.entries.front().map_or(self.end, |entry| entry.start);
        if self.entries.is_empty() {
            self.file.set_len(0)?;
            self.end = 0;
        } else if start >= SLACK_BYTES {
            self.write_anew(start)?;
        }
        Ok(())
    }

    /// The frames from `start` on, as a new file.
    fn write_anew(&mut self, start: u64) -> io::Result<()> {
        let length = usize::try_from(self.end.saturating_sub(start)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        replace(&self.folder, LOG, &bytes)?;
        self.file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.folder.join(LOG))?;
        self.torn = false;
        self.end = length as u64;
        for entry in &mut self.entries {
            entry.start -= start;
            entry.envelope.0 -= start;
            for blob in &mut entry.blobs {
                blob.0 -= start;
            }
        }
        Ok(())
    }

    /// Cuts off what a write that failed, or a crash, left behind the end.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.end)?;
            self.file.sync_data()?;
            self.torn = false;
        }
        Ok(())
    }

    fn read(&self, (offset, length): (u64, usize)) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    /// Reads the frames up to the first that is not whole.
    fn load(&mut self) -> io::Result<()> {
        let mut reader = io::BufReader::new(self.file.try_clone()?);
        let proven = self.base.as_ref().map_or(0, |base| base.seq);
        let (mut offset, mut start) = (0_u64, 0_u64);
        let mut blobs = Vec::new();
        while let Some((kind, content)) = frame(&mut reader)? {
            let place = (offset + HEAD as u64, content.len());
            offset = place.0 + content.len() as u64;
            if kind == BLOB {
                blobs.push(place);
                continue;
            }
            let (mut entry, previous) = parsed(&content, start)?;
            entry.envelope = place;
            entry.blobs = std::mem::take(&mut blobs);
            (start, self.end) = (offset, offset);
            if entry.seq <= proven {
                continue;
            }
            let next = self.next();
            if (entry.seq, previous) != (next.seq, next.previous) {
                let text = format!("receipts/{LOG}: receipt {} follows none", entry.seq);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            self.entries.push_back(entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
