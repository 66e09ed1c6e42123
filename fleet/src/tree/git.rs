//! Trees of commits, read blob by blob from a Git repository. Nothing is ever checked out.
//!
//! libgit2's repository is `Send` but not `Sync`: one stands behind a lock, calls are short. Parsed folders and what is
//! known of small blobs are kept by object id, so they serve every commit.
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use git2::{ObjectType, Oid, Repository};

use super::TreeFault;
use super::resolve::{LFS_POINTER_MAX, Node, Raw, is_lfs_pointer};
use crate::path::RepoPath;

/// Folders kept parsed; a big fleet has a few thousand.
const FOLDERS_KEPT: usize = 20_000;
/// Blobs whose size is kept.
const BLOBS_KEPT: usize = 200_000;
/// Longest link target that is followed.
const LINK_BYTES_MAX: usize = 4096;

/// An open repository, shared by all trees that are read from it.
#[derive(Clone)]
pub struct GitStore {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    repository: Repository,
    folders: HashMap<Oid, Arc<Folder>>,
    blobs: HashMap<Oid, BlobFacts>,
}

#[derive(Clone, Copy)]
struct BlobFacts {
    size: u64,
    lfs: bool,
}

struct Folder {
    entries: Vec<(Vec<u8>, Kind, Oid)>,
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Link,
    Folder,
    Submodule,
    Other,
}

impl std::fmt::Debug for GitStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitStore").finish_non_exhaustive()
    }
}

fn fault(path: impl std::fmt::Display, why: impl std::fmt::Display) -> TreeFault {
    TreeFault {
        path: path.to_string(),
        why: why.to_string(),
    }
}

impl GitStore {
    /// Opens the repository at `path`, bare or not.
    ///
    /// # Errors
    /// [`TreeFault`] if there is none.
    pub fn open(path: &Path) -> Result<Self, TreeFault> {
        let repository =
            Repository::open(path).map_err(|error| fault(path.display(), error.message()))?;
        Ok(Self::new(repository))
    }

    /// Takes an open repository.
    pub fn new(repository: Repository) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                repository,
                folders: HashMap::new(),
                blobs: HashMap::new(),
            })),
        }
    }

    /// The tree with this id. Fails only when it is read, if there is none.
    pub fn tree(&self, tree: Oid) -> GitTree {
        GitTree {
            store: self.clone(),
            root: tree,
            id: tree.to_string(),
        }
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// [`TreeFault`] if there is no such commit.
    pub fn commit(&self, commit: Oid) -> Result<GitTree, TreeFault> {
        let inner = self.lock();
        let tree = inner
            .repository
            .find_commit(commit)
            .map_err(|error| fault(commit, error.message()))?
            .tree_id();
        drop(inner);
        Ok(self.tree(tree))
    }

    /// The commit that a revision names, such as `main` or `v1.2`.
    ///
    /// # Errors
    /// [`TreeFault`] if it names none.
    pub fn resolve(&self, revision: &str) -> Result<Oid, TreeFault> {
        if revision.starts_with('-') {
            return Err(fault(revision, "is not a revision"));
        }
        let inner = self.lock();
        inner
            .repository
            .revparse_single(revision)
            .and_then(|object| object.peel_to_commit())
            .map(|commit| commit.id())
            .map_err(|error| fault(revision, error.message()))
    }

    pub(super) fn with_repository<T>(&self, act: impl FnOnce(&Repository) -> T) -> T {
        act(&self.lock().repository)
    }

    // A panic while the lock was held leaves only caches behind, which are valid entry by entry.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn folder(&mut self, id: Oid, path: &RepoPath) -> Result<Arc<Folder>, TreeFault> {
        if let Some(folder) = self.folders.get(&id) {
            return Ok(Arc::clone(folder));
        }
        let tree = self
            .repository
            .find_tree(id)
            .map_err(|error| fault(path, error.message()))?;
        let mut entries: Vec<_> = tree
            .iter()
            .map(|entry| {
                let kind = match entry.filemode() {
                    0o120_000 => Kind::Link,
                    0o160_000 => Kind::Submodule,
                    0o040_000 => Kind::Folder,
                    _ if entry.kind() == Some(ObjectType::Blob) => Kind::File,
                    _ => Kind::Other,
                };
                (entry.name_bytes().to_vec(), kind, entry.id())
            })
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let folder = Arc::new(Folder { entries });
        if self.folders.len() >= FOLDERS_KEPT {
            self.folders.clear();
        }
        self.folders.insert(id, Arc::clone(&folder));
        Ok(folder)
    }

    /// The entry at `path`, by walking from the root.
    fn find(&mut self, root: Oid, path: &RepoPath) -> Result<Option<(Kind, Oid)>, TreeFault> {
        let mut at = (Kind::Folder, root);
        for name in path.names() {
            let (Kind::Folder, id) = at else {
                return Ok(None);
            };
            let folder = self.folder(id, path)?;
            let Ok(index) = folder
                .entries
                .binary_search_by(|(entry, ..)| entry.as_slice().cmp(name.as_bytes()))
            else {
                return Ok(None);
            };
            let Some((_, kind, id)) = folder.entries.get(index) else {
                return Ok(None);
            };
            at = (*kind, *id);
        }
        Ok(Some(at))
    }

    fn facts(&mut self, id: Oid, path: &RepoPath) -> Result<BlobFacts, TreeFault> {
        if let Some(facts) = self.blobs.get(&id) {
            return Ok(*facts);
        }
        let odb = self
            .repository
            .odb()
            .map_err(|error| fault(path, error.message()))?;
        let (size, _) = odb
            .read_header(id)
            .map_err(|error| fault(path, error.message()))?;
        let size = size as u64;
        let lfs = size <= LFS_POINTER_MAX && is_lfs_pointer(&self.blob(id, path)?);
        let facts = BlobFacts { size, lfs };
        if self.blobs.len() >= BLOBS_KEPT {
            self.blobs.clear();
        }
        self.blobs.insert(id, facts);
        Ok(facts)
    }

    fn blob(&self, id: Oid, path: &RepoPath) -> Result<Bytes, TreeFault> {
        let blob = self
            .repository
            .find_blob(id)
            .map_err(|error| fault(path, error.message()))?;
        Ok(Bytes::copy_from_slice(blob.content()))
    }
}

/// One tree of a repository.
#[derive(Debug, Clone)]
pub struct GitTree {
    store: GitStore,
    root: Oid,
    id: String,
}

impl GitTree {
    /// Its Git id.
    pub fn oid(&self) -> Oid {
        self.root
    }

    /// The repository that it is read from.
    pub fn store(&self) -> &GitStore {
        &self.store
    }
}

impl Raw for GitTree {
    fn node(&self, path: &RepoPath) -> Result<Node, TreeFault> {
        let mut inner = self.store.lock();
        let Some((kind, id)) = inner.find(self.root, path)? else {
            return Ok(Node::Absent);
        };
        Ok(match kind {
            Kind::Folder => Node::Folder {
                oid: id.to_string(),
            },
            Kind::Submodule => Node::Submodule,
            Kind::Other => Node::Special,
            Kind::File => Node::File {
                size: inner.facts(id, path)?.size,
                oid: id.to_string(),
            },
            Kind::Link => {
                let size = inner.facts(id, path)?.size;
                let target = if size as usize <= LINK_BYTES_MAX {
                    String::from_utf8(inner.blob(id, path)?.to_vec()).ok()
                } else {
                    None
                };
                Node::Link { target }
            }
        })
    }

    fn names(&self, path: &RepoPath) -> Result<Vec<Result<String, String>>, TreeFault> {
        let mut inner = self.store.lock();
        let Some((Kind::Folder, id)) = inner.find(self.root, path)? else {
            return Ok(Vec::new());
        };
        let folder = inner.folder(id, path)?;
        Ok(folder
            .entries
            .iter()
            .map(|(name, ..)| {
                std::str::from_utf8(name)
                    .map(str::to_owned)
                    .map_err(|_| name.escape_ascii().to_string())
            })
            .collect())
    }

    fn bytes(&self, path: &RepoPath) -> Result<Bytes, TreeFault> {
        let mut inner = self.store.lock();
        match inner.find(self.root, path)? {
            Some((Kind::File, id)) => inner.blob(id, path),
            _ => Err(fault(path, "no such file")),
        }
    }

    fn is_lfs_pointer(&self, path: &RepoPath, oid: &str) -> Result<bool, TreeFault> {
        let id = Oid::from_str(oid).map_err(|error| fault(path, error.message()))?;
        Ok(self.store.lock().facts(id, path)?.lfs)
    }

    fn id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests;
