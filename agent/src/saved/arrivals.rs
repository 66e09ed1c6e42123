//! What arrived, in one file: a state with all its blobs is durable by one sync, however many files it is.
//!
//! Blobs and the state are also written to their own places, but not synced there: a disk takes milliseconds for each
//! sync, and a state is applied only when it is durable. After a crash the file says again what the places may have
//! lost; when it has grown, the places are synced and it starts anew.
//!
//! A record is its kind (a byte), its length (four, little-endian), its SHA-256, its bytes. What a crash cut off ends it.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use countersign_ledger::digest::Digest;

use super::{STATE, append, blob_path};

const FILE: &str = "arrivals.log";
/// The file starts anew when it holds so many bytes: reading them again takes no more than moments.
const BYTES_MAX: u64 = 8 << 20;
/// Bytes before a record's content.
const HEAD: usize = 37;
/// Files that are synced at once: the disk then takes many for the price of one.
const SYNCS_AT_ONCE: usize = 16;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Blob,
    State,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Blob => b'b',
            Self::State => b's',
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'b' => Some(Self::Blob),
            b's' => Some(Self::State),
            _ => None,
        }
    }
}

/// What is done with each record.
type Each<'a> = &'a mut dyn FnMut(Kind, &Digest, &[u8]) -> io::Result<()>;

/// The open file.
#[derive(Debug)]
pub(super) struct Arrivals {
    dir: PathBuf,
    file: File,
    /// Bytes of whole records.
    bytes: u64,
    /// A record was cut off: it goes before the next is added.
    torn: bool,
    /// Blobs that are durable here alone.
    blobs: HashSet<Digest>,
}

impl Arrivals {
    /// Opens it in `dir`; `each` is given what it holds.
    pub(super) fn open(dir: &Path, each: Each<'_>) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = append(&path)?;
        let mut blobs = HashSet::new();
        read(&path, &mut |kind, digest, content| {
            if kind == Kind::Blob {
                blobs.insert(*digest);
            }
            each(kind, digest, content)
        })?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            dir: dir.to_owned(),
            file,
            bytes,
            torn: false,
            blobs,
        })
    }

    /// One more record; durable with the next [`Self::sync`].
    pub(super) fn add(&mut self, kind: Kind, digest: &Digest, content: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.bytes)?;
        }
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut record = Vec::with_capacity(content.len() + HEAD);
        record.push(kind.byte());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(digest.as_bytes());
        record.extend_from_slice(content);
        self.torn = true;
        self.file.write_all(&record)?;
        self.torn = false;
        self.bytes += record.len() as u64;
        if kind == Kind::Blob {
            self.blobs.insert(*digest);
        }
        Ok(())
    }

    /// All records so far are durable when it returns.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Nothing stands here alone.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// It has grown enough.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > BYTES_MAX
    }

    /// Syncs all places, then starts anew. After an error it stands as it was.
    pub(super) fn start_anew(&mut self) -> io::Result<()> {
        let mut files: Vec<PathBuf> = self
            .blobs
            .iter()
            .map(|digest| blob_path(&self.dir, digest))
            .collect();
        files.push(self.dir.join(STATE));
        let parents = |paths: &[PathBuf]| -> Vec<PathBuf> {
            let parents = paths.iter().filter_map(|path| path.parent());
            let own = parents.filter(|parent| parent.starts_with(&self.dir));
            let distinct: BTreeSet<PathBuf> = own.map(Path::to_owned).collect();
            distinct.into_iter().collect()
        };
        let folders = parents(&files);
        let above = parents(&folders);
        for places in [files, folders, above] {
            sync_all(&places)?;
        }
        self.file.set_len(0)?;
        self.file.sync_data()?;
        self.blobs = HashSet::new();
        (self.bytes, self.torn) = (0, false);
        Ok(())
    }
}

/// Syncs files or folders, many at once; one that was removed meanwhile needs none.
fn sync_all(places: &[PathBuf]) -> io::Result<()> {
    let sync = |place: &PathBuf| match File::open(place) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    let share = places.len().div_ceil(SYNCS_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let shares: Vec<_> = places
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().try_for_each(sync)))
            .collect();
        shares.into_iter().try_for_each(|share| {
            share
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a sync was cut off")))
        })
    })
}

/// The records up to the first that is not whole.
fn read(path: &Path, each: Each<'_>) -> io::Result<()> {
    let mut file = io::BufReader::new(File::open(path)?);
    let mut content = Vec::new();
    loop {
        let mut head = [0; HEAD];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let [kind, a, b, c, d, digest @ ..] = head;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let digest = Digest::from_bytes(digest);
        let Some(kind) = Kind::of(kind) else {
            return Ok(());
        };
        content.clear();
        file.by_ref().take(length).read_to_end(&mut content)?;
        if content.len() as u64 != length || Digest::of(&content) != digest {
            return Ok(());
        }
        each(kind, &digest, &content)?;
    }
}
