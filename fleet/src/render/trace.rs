//! What a render read: the part of a tree that it is a function of.
//!
//! Pure. A trace answers two questions: whether a change of certain paths can touch the render at all, and whether all
//! that was seen still stands in another tree.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::files::{Files, FilesFault, FolderEntry, Stat};

/// How a path was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// What stands there.
    Stat,
    /// The file's bytes.
    Read,
    /// The names in the folder.
    List,
}

/// What the answer was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// Nothing stood there.
    Absent,
    /// A file with this id.
    File(String),
    /// A folder, without looking into it.
    Folder,
    /// The names in a folder.
    Names(Vec<FolderEntry>),
    /// The tree refused the path.
    Refused,
}

/// All questions of one render with their answers. One pointer wide, since each failure carries one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    inner: Box<Inner>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Inner {
    seen: BTreeMap<(Query, String), Seen>,
    links: BTreeSet<String>,
}

impl Trace {
    /// Remembers an answer. The same question has the same answer within one render.
    pub fn record(&mut self, query: Query, path: &str, seen: Seen) {
        self.inner.seen.insert((query, path.to_owned()), seen);
    }

    /// Remembers that `path` took part in reaching another: a link, or where one led to.
    pub fn record_link(&mut self, path: &str) {
        self.inner.links.insert(path.to_owned());
    }

    /// All questions with their answers, in a fixed order: what a cache key is made of.
    pub fn iter(&self) -> impl Iterator<Item = (Query, &str, &Seen)> {
        self.inner
            .seen
            .iter()
            .map(|((query, path), seen)| (*query, path.as_str(), seen))
    }

    /// Paths that took part in reaching another.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.inner.links.iter().map(String::as_str)
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.inner.seen.len()
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.inner.seen.is_empty()
    }

    /// Whether a change of these files (added, removed, changed) can change an answer. May say yes for nothing, never
    /// no where an answer did change.
    pub fn affected_by<'a>(&self, changed: impl IntoIterator<Item = &'a str>) -> bool {
        let changed: BTreeSet<&str> = changed.into_iter().collect();
        let met = |path: &str| {
            changed
                .iter()
                .any(|changed| within(changed, path) || within(path, changed))
        };
        let by_answer = self.inner.seen.iter().any(|((_, path), seen)| match seen {
            Seen::File(_) | Seen::Absent | Seen::Refused | Seen::Names(_) => met(path),
            Seen::Folder => met(path) && !self.stands(path, &changed),
        });
        by_answer || self.inner.links.iter().any(|path| met(path))
    }

    /// Whether the folder certainly still stands: a file in it was seen and is not among the changed ones.
    fn stands(&self, folder: &str, changed: &BTreeSet<&str>) -> bool {
        self.inner.seen.iter().any(|((_, path), seen)| {
            matches!(seen, Seen::File(_))
                && within(path, folder)
                && !changed
                    .iter()
                    .any(|changed| within(changed, path) || within(path, changed))
        })
    }

    /// The paths at, below or above which a change can change an answer.
    pub fn deciding(&self) -> impl Iterator<Item = &str> {
        let nothing = BTreeSet::new();
        let answers = self.inner.seen.iter().filter_map(move |((_, path), seen)| {
            let sure = *seen == Seen::Folder && self.stands(path, &nothing);
            // A file in it was seen: that one is listed itself, and as long as it is there, so is the folder.
            (!sure).then_some(path.as_str())
        });
        answers.chain(self.inner.links.iter().map(String::as_str))
    }

    /// Whether `files` gives the same answer to every question: then the render would give the same objects.
    ///
    /// # Errors
    /// [`FilesFault`] if the store can't answer.
    pub fn holds_in(&self, files: &dyn Files) -> Result<bool, FilesFault> {
        for (query, path, seen) in self.iter() {
            if look(files, query, path)? != *seen {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Asks `files` and gives what a trace remembers of the answer.
///
/// # Errors
/// [`FilesFault`] if the store can't answer.
pub fn look(files: &dyn Files, query: Query, path: &str) -> Result<Seen, FilesFault> {
    Ok(match (query, files.stat(path)?) {
        (_, Stat::Absent) => Seen::Absent,
        (_, Stat::Refused { .. }) => Seen::Refused,
        (_, Stat::File { oid, .. }) => Seen::File(oid),
        (Query::List, Stat::Folder { .. }) => Seen::Names(files.list(path)?),
        (Query::Stat | Query::Read, Stat::Folder { .. }) => Seen::Folder,
    })
}

/// Whether `path` is `folder` or lies below it.
fn within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path == folder
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
