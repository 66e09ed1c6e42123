//! The check itself: hashes from below against hashes as stored, level by level.

use super::{File, Files, Finding, files};
use crate::bundle;
use crate::digest::{Digest, leaf_hash};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::merkle::EMPTY_ROOT;
use crate::tlog::tile::{self, BundleId, TileId};

/// The check of one log, in progress.
#[derive(Debug, Clone)]
pub struct Fsck {
    want: Digest,
    files: Files,
    next: Option<File>,
    /// Hashes of the entries of the bundle before its tile; one unknown for each entry of an unreadable bundle.
    leaves: Vec<Option<Digest>>,
    /// By level, what the tiles below the unfinished tile of that level say.
    children: Vec<Vec<Checked>>,
    /// The partial tile of each level.
    edge: Vec<Option<Checked>>,
    findings: u64,
}

/// A tile that was compared with what lies below it.
#[derive(Debug, Clone)]
struct Checked {
    tile: TileId,
    below: Row,
    stored: Row,
    /// The root over the hashes from below, and over the stored ones.
    rebuilt: Option<Digest>,
    kept: Option<Digest>,
}

type Row = Vec<Option<Digest>>;

impl Fsck {
    /// A check of the log that `checkpoint` is of; whose signature it bears is the caller's to know.
    #[must_use]
    pub fn new(checkpoint: &Checkpoint) -> Self {
        let mut files = files(checkpoint.size);
        let next = files.next();
        Self {
            want: checkpoint.root,
            files,
            next,
            leaves: Vec::new(),
            children: Vec::new(),
            edge: Vec::new(),
            findings: 0,
        }
    }

    /// The file that [`Fsck::take`] takes next; nothing when all are taken. [`files`] names all of them, for who
    /// fetches ahead.
    #[must_use]
    pub fn wanted(&self) -> Option<File> {
        self.next
    }

    /// Takes the bytes of [`Fsck::wanted`], nothing if it is missing. Returns what is certain to be wrong by now.
    pub fn take(&mut self, bytes: Option<&[u8]>) -> Vec<Finding> {
        let mut found = Vec::new();
        match self.next {
            None => {}
            Some(file @ File::Bundle(bundle)) => {
                self.leaves = leaves(file, bundle, bytes, &mut found);
            }
            Some(file @ File::Tile(tile)) => {
                let stored = stored(file, tile, bytes, &mut found);
                let below = self.below(tile, &stored, &mut found);
                self.settle(Checked::new(tile, below, stored));
            }
        }
        self.next = self.files.next();
        self.findings += found.len() as u64;
        found
    }

    /// What is wrong at the right edge, when all files are taken, and whether the root is the checkpoint's.
    pub fn finish(mut self) -> Verdict {
        let mut found = Vec::new();
        if let Some(file) = self.next {
            found.push(Finding::Missing { file });
        }
        self.right_edge(&mut found);
        let findings = self.findings + found.len() as u64;
        Verdict { found, findings }
    }

    /// What the level below says about the hashes of `tile`.
    fn below(&mut self, tile: TileId, stored: &Row, found: &mut Vec<Finding>) -> Row {
        if tile.level == 0 {
            return std::mem::take(&mut self.leaves);
        }
        let children = self
            .children
            .get_mut(usize::from(tile.level))
            .map(std::mem::take)
            .unwrap_or_default();
        children
            .into_iter()
            .zip(stored)
            .map(|(child, above)| child.resolve(*above, found))
            .collect()
    }

    fn settle(&mut self, checked: Checked) {
        let place = usize::from(checked.tile.level);
        if checked.tile.is_full() {
            grow(&mut self.children, place + 1, Vec::new()).push(checked);
        } else {
            *grow(&mut self.edge, place, None) = Some(checked);
        }
    }

    /// The checkpoint's root decides which of two hashes at the right edge is right.
    fn right_edge(&mut self, found: &mut Vec<Finding>) {
        let edge: Vec<Checked> = self.edge.drain(..).flatten().collect();
        let doubtful = edge.iter().filter(|tile| tile.is_doubtful()).count();
        // Eight levels at most: all choices are few. The first one is that every tile is wrong and no entry.
        let right = (0_u32..1 << doubtful).find(|choice| root(&edge, *choice) == Some(self.want));
        if right.is_none()
            && let Some(got) = root(&edge, 0)
        {
            found.push(Finding::Root {
                want: self.want,
                got,
            });
        }
        let choice = right.unwrap_or(0);
        let mut place = 0;
        for tile in &edge {
            if tile.is_doubtful() {
                tile.blame(choice >> place & 1 == 1, found);
                place += 1;
            }
        }
    }
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// What the right edge and the root had to say.
    pub found: Vec<Finding>,
    /// Findings in all, those of [`Fsck::take`] among them.
    pub findings: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings == 0
    }
}

impl Checked {
    fn new(tile: TileId, below: Row, stored: Row) -> Self {
        let mut checked = Self {
            tile,
            below,
            stored,
            rebuilt: None,
            kept: None,
        };
        checked.rebuilt = checked.row(false).map(|row| tile::root(&row));
        let kept: Option<Vec<Digest>> = checked.stored.iter().copied().collect();
        checked.kept = kept.map(|row| tile::root(&row));
        checked
    }

    /// Whether what lies below says another hash than the tile itself.
    fn is_doubtful(&self) -> bool {
        self.kept.is_some() && self.rebuilt != self.kept
    }

    /// Tells what is wrong in this tile or below it, now that the hash `above` it is known; returns the tile's hash.
    fn resolve(self, above: Option<Digest>, found: &mut Vec<Finding>) -> Option<Digest> {
        match (self.rebuilt, self.kept) {
            (Some(rebuilt), Some(kept)) if rebuilt != kept => {
                let below_is_wrong = above == Some(kept);
                self.blame(below_is_wrong, found);
                Some(if below_is_wrong { kept } else { rebuilt })
            }
            (rebuilt, kept) => rebuilt.or(kept).or(above),
        }
    }

    /// Names each hash that differs, as the fault of what lies below or of this tile.
    fn blame(&self, below_is_wrong: bool, found: &mut Vec<Finding>) {
        let file = File::Tile(self.tile);
        for (offset, (below, stored)) in self.below.iter().zip(&self.stored).enumerate() {
            let (Some(below), Some(stored)) = (*below, *stored) else {
                continue;
            };
            if below == stored {
                continue;
            }
            found.push(match (below_is_wrong, self.tile.level) {
                (false, _) => Finding::Hash {
                    file,
                    offset,
                    want: below,
                    got: stored,
                },
                (true, 0) => Finding::Entry {
                    file: File::Bundle(BundleId {
                        index: self.tile.index,
                        width: self.tile.width,
                    }),
                    offset,
                    want: stored,
                    got: below,
                },
                (true, _) => Finding::Subtree {
                    file,
                    offset,
                    want: stored,
                    got: below,
                },
            });
        }
    }

    /// The hashes of this tile by one of the two, by the other where the first does not know.
    fn row(&self, stored: bool) -> Option<Vec<Digest>> {
        let (first, second) = if stored {
            (&self.stored, &self.below)
        } else {
            (&self.below, &self.stored)
        };
        (0..usize::from(self.tile.width))
            .map(|place| {
                let at = |row: &Row| row.get(place).copied().flatten();
                at(first).or_else(|| at(second))
            })
            .collect()
    }
}

/// The root over the partial tiles, from the leaves up; bit `n` of `choice` takes the stored hashes of the `n`th tile
/// in doubt.
fn root(edge: &[Checked], choice: u32) -> Option<Digest> {
    let mut hash: Option<Digest> = None;
    let mut place = 0;
    for tile in edge {
        let doubtful = tile.is_doubtful();
        let mut row = tile.row(doubtful && choice >> place & 1 == 1)?;
        place += u32::from(doubtful);
        row.extend(hash);
        hash = Some(tile::root(&row));
    }
    Some(hash.unwrap_or(EMPTY_ROOT))
}

fn leaves(file: File, bundle: BundleId, bytes: Option<&[u8]>, found: &mut Vec<Finding>) -> Row {
    let want = usize::from(bundle.width);
    let unknown = vec![None; want];
    let Some(bytes) = bytes else {
        found.push(Finding::Missing { file });
        return unknown;
    };
    let entries = match bundle::decode(bytes) {
        Ok(entries) => entries,
        Err(error) => {
            found.push(Finding::Bundle { file, error });
            return unknown;
        }
    };
    if entries.len() != want {
        found.push(Finding::EntryCount {
            file,
            want,
            got: entries.len(),
        });
        return unknown;
    }
    entries.into_iter().map(leaf_hash).map(Some).collect()
}

fn stored(file: File, tile: TileId, bytes: Option<&[u8]>, found: &mut Vec<Finding>) -> Row {
    let unknown = vec![None; usize::from(tile.width)];
    let Some(bytes) = bytes else {
        found.push(Finding::Missing { file });
        return unknown;
    };
    match tile::hashes(&tile, bytes) {
        Ok(hashes) => hashes.into_iter().map(Some).collect(),
        Err(_) => {
            found.push(Finding::Length {
                file,
                want: tile.bytes(),
                got: bytes.len(),
            });
            unknown
        }
    }
}

/// The place in `rows`, which grow up to it.
fn grow<T: Clone>(rows: &mut Vec<T>, place: usize, empty: T) -> &mut T {
    if rows.len() <= place {
        rows.resize(place + 1, empty);
    }
    &mut rows[place]
}
