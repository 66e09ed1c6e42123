//! What a render may read: a tree of files behind a small trait.
//!
//! Called by `worker.rs` for each question that the worker asks. Paths are relative to the tree's root, cleaned, with
//! `/` between names and `""` for the root. Links are the implementer's business: it follows those that stay inside the
//! tree and refuses the others, so that the worker never learns that links exist.
use std::collections::BTreeMap;

use bytes::Bytes;

use super::failure::Code;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stat {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Names the content: equal ids mean equal bytes (a Git blob id, or a digest).
        oid: String,
        /// Length of the content.
        bytes: u64,
    },
    /// A folder.
    Folder {
        /// Names the content of the whole folder, where the source knows it (a Git tree id); else empty.
        oid: String,
    },
    /// Something that a render must not read: a link out of the tree, a submodule, an LFS pointer, a file too large.
    Refused {
        /// What the render fails with: [`Code::PathEscape`] or [`Code::SizeLimit`].
        code: Code,
        /// Which of them, in words for a person; never content.
        reason: String,
    },
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct FolderEntry {
    /// One path component.
    pub name: String,
    /// Whether it is a folder, links followed.
    pub folder: bool,
}

/// The store behind the tree could not answer: a fault, not a mistake of the tree's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} could not be read from the tree: {why}")]
pub struct FilesFault {
    /// What was asked for.
    pub path: String,
    /// What the store said.
    pub why: String,
}

/// A tree that a render reads from. All calls may block; they run on the blocking pool.
pub trait Files: Send + Sync {
    /// What stands at `path`.
    ///
    /// # Errors
    /// [`FilesFault`] if the store can't answer.
    fn stat(&self, path: &str) -> Result<Stat, FilesFault>;

    /// The bytes of the file at `path`; called only after [`Files::stat`] said [`Stat::File`].
    ///
    /// # Errors
    /// [`FilesFault`] if the store can't answer.
    fn read(&self, path: &str) -> Result<Bytes, FilesFault>;

    /// The names in the folder at `path`, sorted; called only after [`Files::stat`] said [`Stat::Folder`].
    ///
    /// # Errors
    /// [`FilesFault`] if the store can't answer.
    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, FilesFault>;

    /// Paths of the links that were followed to reach `path`, and where each led to. None in most trees.
    ///
    /// A change at one of them changes what `path` means, so they belong to the trace.
    ///
    /// # Errors
    /// [`FilesFault`] if the store can't answer.
    fn links(&self, path: &str) -> Result<Vec<String>, FilesFault> {
        let _ = path;
        Ok(Vec::new())
    }
}

/// A tree in memory, for tests and for small generated inputs. Ids are SHA-256 of the bytes.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    files: BTreeMap<String, Bytes>,
}

impl MemoryFiles {
    /// A tree of these files.
    pub fn new<P: Into<String>, C: Into<Bytes>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        Self {
            files: files
                .into_iter()
                .map(|(path, content)| (path.into(), content.into()))
                .collect(),
        }
    }

    fn below(&self, path: &str) -> impl Iterator<Item = &str> {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        self.files
            .keys()
            .filter_map(move |name| name.strip_prefix(&prefix))
    }
}

impl Files for MemoryFiles {
    fn stat(&self, path: &str) -> Result<Stat, FilesFault> {
        if let Some(content) = self.files.get(path) {
            return Ok(Stat::File {
                oid: super::hex_sha256(content),
                bytes: content.len() as u64,
            });
        }
        if path.is_empty() || self.below(path).next().is_some() {
            return Ok(Stat::Folder { oid: String::new() });
        }
        Ok(Stat::Absent)
    }

    fn read(&self, path: &str) -> Result<Bytes, FilesFault> {
        self.files.get(path).cloned().ok_or_else(|| FilesFault {
            path: path.to_owned(),
            why: "no such file".to_owned(),
        })
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, FilesFault> {
        let mut names = BTreeMap::new();
        for rest in self.below(path) {
            match rest.split_once('/') {
                Some((name, _)) => names.insert(name.to_owned(), true),
                None => names.insert(rest.to_owned(), false),
            };
        }
        Ok(names
            .into_iter()
            .map(|(name, folder)| FolderEntry { name, folder })
            .collect())
    }
}
