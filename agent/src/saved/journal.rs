//! The inventory: a journal with a line for each change of what is held.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, Write as _};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use serde::{Deserialize, Serialize};

use super::{Saved, append};
use crate::watch::drift::Expected;
use crate::watch::ownership::Mark;
use crate::world::Held;

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    /// None: no longer held.
    held: Option<HeldLine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeldLine {
    applied: Option<Digest>,
    uid: String,
    mark: String,
    revision: u64,
    generation: i64,
    words: u64,
    written: i64,
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) file: File,
    /// Lines written since the last compaction.
    pub(super) lines: usize,
}

/// The journal is rewritten when it holds so many lines more than objects.
const JOURNAL_SLACK: usize = 20_000;

impl Saved {
    /// The inventory, as the journal leaves it.
    ///
    /// # Errors
    /// When the journal can't be read or rewritten.
    pub fn inventory(&self) -> io::Result<HashMap<ObjectId, Held>> {
        let mut out = HashMap::new();
        let mut lines = 0;
        for line in io::BufReader::new(File::open(self.dir.join("inventory.log"))?).split(b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(&line?) else {
                continue;
            };
            lines += 1;
            let id = ObjectId {
                group: line.group,
                kind: line.kind,
                namespace: line.namespace,
                name: line.name,
            };
            match line.held.and_then(HeldLine::held) {
                Some(held) => out.insert(id, held),
                None => out.remove(&id),
            };
        }
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.lines = lines;
        // A torn last line must not swallow the next one.
        journal.file.write_all(b"\n")?;
        Ok(out)
    }

    /// One more line: an object is held so, or (none) no longer. Reaches the disk with the next [`Self::sync`].
    ///
    /// # Errors
    /// When it could not be written.
    pub fn note(&self, id: &ObjectId, held: Option<&Held>) -> io::Result<()> {
        let mut text = line(id, held)?;
        text.push(b'\n');
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.lines += 1;
        journal.file.write_all(&text)
    }

    /// Makes the journal durable.
    ///
    /// # Errors
    /// When the disk refused.
    pub fn sync(&self) -> io::Result<()> {
        let file = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .file
            .try_clone()?;
        file.sync_data()
    }

    /// Whether the journal has grown far beyond what it says.
    #[must_use]
    pub fn wants_compaction(&self, objects: usize) -> bool {
        self.journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .lines
            > objects + JOURNAL_SLACK
    }

    /// Writes the journal anew. `entries` must be the whole inventory, and nothing may be noted meanwhile.
    ///
    /// # Errors
    /// When it could not be made durable; the old one then stands.
    pub fn compact<'a>(
        &self,
        entries: impl Iterator<Item = (&'a ObjectId, &'a Held)>,
    ) -> io::Result<()> {
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut bytes, mut lines) = (Vec::new(), 0);
        for (id, held) in entries {
            bytes.extend_from_slice(&line(id, Some(held))?);
            bytes.push(b'\n');
            lines += 1;
        }
        let path = self.dir.join("inventory.log");
        self.replace(&path, &bytes)?;
        *journal = Journal {
            file: append(&path)?,
            lines,
        };
        Ok(())
    }
}

impl HeldLine {
    fn held(self) -> Option<Held> {
        let mark: Mark = self.mark.parse().ok()?;
        Some(Held {
            applied: self.applied,
            expected: Expected {
                uid: self.uid.into(),
                mark,
                revision: self.revision,
                generation: self.generation,
                words: self.words,
                written: self.written,
            },
        })
    }
}

fn line(id: &ObjectId, held: Option<&Held>) -> io::Result<Vec<u8>> {
    let line = Line {
        group: id.group.clone(),
        kind: id.kind.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        held: held.map(|held| HeldLine {
            applied: held.applied,
            uid: held.expected.uid.to_string(),
            mark: held.expected.mark.to_string(),
            revision: held.expected.revision,
            generation: held.expected.generation,
            words: held.expected.words,
            written: held.expected.written,
        }),
    };
    serde_json::to_vec(&line).map_err(io::Error::other)
}
