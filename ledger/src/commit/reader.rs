//! Parsed objects with a memory and a budget, over any source.

use std::collections::HashMap;
use std::rc::Rc;

use super::limits::{COMMITS_MAX, TREE_VISIT_BYTES, TREE_WORK_BYTES_MAX};
use super::object::Commit;
use super::oid::{ObjectKind, Oid};
use super::paths::escaped;
use super::refusal::AuthorRefusal;
use super::source::{Objects, within};
use super::tree::{self, Mode};

/// An entry's content: what it is and its id. Two that are equal hold the same.
pub(super) type Content = (Mode, Oid);

/// A folder's entries by name.
pub(super) type Folder = Vec<(Vec<u8>, Content)>;

pub(super) struct Reader<O> {
    objects: O,
    commits: HashMap<Oid, Option<Rc<Commit>>>,
    work: usize,
}

impl<O: Objects> Reader<O> {
    pub(super) fn new(objects: O) -> Self {
        Self {
            objects,
            commits: HashMap::new(),
            work: 0,
        }
    }

    pub(super) fn into_source(self) -> O {
        self.objects
    }

    /// A commit, if it is to be had.
    pub(super) fn find(&mut self, id: Oid) -> Result<Option<Rc<Commit>>, AuthorRefusal> {
        if let Some(known) = self.commits.get(&id) {
            return Ok(known.clone());
        }
        within("commits", self.commits.len() + 1, COMMITS_MAX)?;
        let commit = match self.objects.read(ObjectKind::Commit, id)? {
            None => None,
            Some(raw) => {
                let read = Commit::read_as(id.hash(), &raw);
                Some(Rc::new(read.map_err(|defect| {
                    AuthorRefusal::Malformed {
                        object: id.to_string(),
                        defect,
                    }
                })?))
            }
        };
        self.commits.insert(id, commit.clone());
        Ok(commit)
    }

    /// A commit that must be there.
    pub(super) fn commit(&mut self, id: Oid) -> Result<Rc<Commit>, AuthorRefusal> {
        self.find(id)?
            .ok_or(AuthorRefusal::CommitMissing { commit: id })
    }

    /// A folder; none is an empty one. `path` is for messages.
    pub(super) fn folder(&mut self, id: Option<Oid>, path: &[u8]) -> Result<Folder, AuthorRefusal> {
        let Some(id) = id else {
            return Ok(Vec::new());
        };
        let raw = self.objects.read(ObjectKind::Tree, id)?;
        let raw = raw.ok_or_else(|| AuthorRefusal::TreeMissing {
            tree: id,
            path: escaped(path),
        })?;
        self.work = self.work.saturating_add(raw.len() + TREE_VISIT_BYTES);
        within(
            "bytes of trees looked through",
            self.work,
            TREE_WORK_BYTES_MAX,
        )?;
        let malformed = |defect| AuthorRefusal::Malformed {
            object: id.to_string(),
            defect,
        };
        let entries = tree::entries(id.hash(), &raw).map_err(malformed)?;
        // Git keeps no empty folders: one could appear without any path that changed.
        if entries.is_empty() && !path.is_empty() {
            return Err(malformed("an empty folder"));
        }
        Ok(entries
            .into_iter()
            .map(|entry| (entry.name.to_vec(), (entry.mode, entry.id)))
            .collect())
    }
}
