//! The bare mirror of one repository, in the hub's data folder.
//!
//! It holds commits, the trees of those that were accepted, and nothing else: no refs, no hooks, no work tree. What is
//! in it arrived by [`copy`], children before parents, so a tree that exists is whole. It can be deleted at any time: the
//! next fetch fills it again.

pub mod compact;
pub mod copy;
pub mod history;
pub mod incoming;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use countersign_ledger::digest::Digest;
use git2::{ObjectType, Odb, OdbLookupFlags, Repository, RepositoryInitOptions};

use compact::{Compaction, Shape};

use crate::track::id::{CommitId, OID_BYTES, TreeId};
use crate::track::limits::{COMMIT_BYTES_MAX, FILE_BYTES_MAX, TAG_DEPTH_MAX, TREE_BYTES_MAX};
use crate::track::treecheck::{self, Kind, Objects};
use crate::track::trouble::Trouble;
use crate::track::url::Source;

/// Commits whose parents are not here, in Git's own file.
const SHALLOW_FILE: &str = "shallow";

/// An open mirror.
pub struct Mirror {
    folder: PathBuf,
    repository: Repository,
    shallow: BTreeSet<[u8; OID_BYTES]>,
}

impl Mirror {
    /// Folder of a source's mirror below the data folder.
    #[must_use]
    pub fn folder(data: &Path, source: &Source) -> PathBuf {
        data.join("mirror")
            .join(Digest::of(source.display().as_bytes()).to_string())
    }

    /// Opens it, or makes it anew if it is missing or broken. The caller holds the data folder's lock, so every lock and
    /// temporary file in it is of a process that has died.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]
    pub fn open(folder: &Path) -> Result<Self, Trouble> {
        clean(folder);
        match Repository::open_bare(folder) {
            Ok(repository) if sound(&repository) => Self::with(folder, repository),
            Ok(_) | Err(_) => Self::make(folder),
        }
    }

    /// Throws it away and starts with an empty one.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]
    pub fn rebuild(&mut self) -> Result<(), Trouble> {
        *self = Self::make(&self.folder.clone())?;
        Ok(())
    }

    fn make(folder: &Path) -> Result<Self, Trouble> {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(&error)),
        }
        let mut options = RepositoryInitOptions::new();
        options
            .bare(true)
            .mkpath(true)
            .no_reinit(true)
            .external_template(false);
        let repository = Repository::init_opts(folder, &options).map_err(|error| fault(&error))?;
        Self::with(folder, repository)
    }

    fn with(folder: &Path, repository: Repository) -> Result<Self, Trouble> {
        let text = std::fs::read_to_string(folder.join(SHALLOW_FILE)).unwrap_or_default();
        let shallow = text
            .lines()
            .filter_map(|line| line.parse::<CommitId>().ok())
            .map(|id| *id.bytes())
            .collect();
        Ok(Self {
            folder: folder.to_owned(),
            repository,
            shallow,
        })
    }

    /// Packs its objects if there are many loose ones.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]; every object is still there.
    pub fn compact_if_needed(&mut self) -> Result<(), Trouble> {
        let shape = Shape::of(&self.folder);
        let what = shape.needs();
        if what == Compaction::None {
            return Ok(());
        }
        tracing::info!(
            loose = shape.loose,
            packs = shape.packs,
            "the mirror is packed"
        );
        compact::compact(&self.folder, what)?;
        // A look that asks without reading the disk again must know of the new pack.
        self.repository = Repository::open_bare(&self.folder).map_err(|error| fault(&error))?;
        Ok(())
    }

    /// Where it is; other parts open it themselves and only read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// libgit2's handle.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Commits whose parents are not here.
    #[must_use]
    pub fn shallow(&self) -> Vec<[u8; OID_BYTES]> {
        self.shallow.iter().copied().collect()
    }

    /// Remembers commits whose parents were not fetched.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]
    pub fn add_shallow(&mut self, commits: &[CommitId]) -> Result<(), Trouble> {
        let before = self.shallow.len();
        self.shallow
            .extend(commits.iter().map(|commit| *commit.bytes()));
        if self.shallow.len() == before {
            return Ok(());
        }
        let text: String = self
            .shallow
            .iter()
            .map(|id| format!("{}\n", CommitId::from(*id)))
            .collect();
        let staged = self.folder.join("shallow.new");
        let write = || {
            let mut file = std::fs::File::create(&staged)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&staged, self.folder.join(SHALLOW_FILE))
        };
        write().map_err(|error| fault(&error))
    }

    /// Reads all below a tree once, after a start: files may have been damaged while nobody looked.
    ///
    /// # Errors
    /// [`Trouble::PackBroken`]
    pub fn verify(&self, tree: TreeId) -> Result<(), Trouble> {
        let from = Stores::of(&[&self.repository])?;
        let mut seen = BTreeSet::new();
        let mut folders = vec![*tree.bytes()];
        while let Some(folder) = folders.pop() {
            let raw = from.tree(folder)?;
            let list = treecheck::entries(&raw).map_err(|defect| Trouble::PackBroken {
                reason: defect.to_owned(),
            })?;
            for entry in list
                .into_iter()
                .filter(|entry| entry.kind != Kind::Submodule)
            {
                if !seen.insert(entry.id) {
                    continue;
                }
                if entry.kind == Kind::Folder {
                    folders.push(entry.id);
                } else if from
                    .size(entry.id)?
                    .is_some_and(|size| size <= FILE_BYTES_MAX)
                {
                    from.blob(entry.id)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a commit and all below its tree are here.
    #[must_use]
    pub fn has(&self, commit: CommitId) -> bool {
        let Ok(odb) = self.repository.odb() else {
            return false;
        };
        let tree = commit
            .oid()
            .ok()
            .and_then(|id| self.repository.find_commit(id).ok())
            .map(|commit| commit.tree_id());
        tree.is_some_and(|tree| odb.exists_ext(tree, OdbLookupFlags::NO_REFRESH))
    }
}

/// A fresh mirror has a readable configuration and object store.
fn sound(repository: &Repository) -> bool {
    repository.is_bare() && repository.config().is_ok() && repository.odb().is_ok()
}

/// Removes what processes left that died: locks, temporary objects, a half-fetched pack.
fn clean(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder.join(incoming::FOLDER));
    for place in [
        folder.to_owned(),
        folder.join("objects"),
        folder.join("refs"),
    ] {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".lock") || name.starts_with("tmp_obj") || name.ends_with(".new") {
                let _ = std::fs::remove_file(entry.path());
            }
            if place.ends_with("objects") && name.len() == 2 {
                for object in std::fs::read_dir(entry.path())
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    if object.file_name().to_string_lossy().starts_with("tmp_obj") {
                        let _ = std::fs::remove_file(object.path());
                    }
                }
            }
        }
    }
}

/// One or two object stores, the first asked first: what a fetch brought, and what the mirror has.
pub struct Stores<'a> {
    /// In order.
    pub stores: Vec<Odb<'a>>,
}

impl<'a> Stores<'a> {
    /// Of repositories.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]
    pub fn of(repositories: &[&'a Repository]) -> Result<Self, Trouble> {
        let stores = repositories
            .iter()
            .map(|repository| repository.odb())
            .collect::<Result<_, _>>();
        stores
            .map(|stores| Self { stores })
            .map_err(|error| fault(&error))
    }

    /// An object's kind and bytes, if it is anywhere.
    ///
    /// # Errors
    /// [`Trouble::PackBroken`] for an object that is damaged or larger than `max`.
    pub fn read(&self, id: git2::Oid, max: u64) -> Result<Option<(ObjectType, Vec<u8>)>, Trouble> {
        for store in &self.stores {
            let Some((size, _)) = header(store, id)? else {
                continue;
            };
            if size > max {
                return Err(Trouble::FetchLimit {
                    what: "bytes of one object",
                    limit: max.to_string(),
                });
            }
            let object = store.read(id).map_err(|error| damaged(&error))?;
            return Ok(Some((object.kind(), object.data().to_vec())));
        }
        Ok(None)
    }

    /// A raw commit, if it is anywhere.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn commit(&self, id: git2::Oid) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self
            .read(id, COMMIT_BYTES_MAX as u64)?
            .filter(|(kind, _)| *kind == ObjectType::Commit)
            .map(|(_, raw)| raw))
    }

    /// Follows annotated tags to what they name.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn peel(&self, id: git2::Oid) -> Result<Option<git2::Oid>, Trouble> {
        let mut at = id;
        for _ in 0..=TAG_DEPTH_MAX {
            match self.read(at, COMMIT_BYTES_MAX as u64)? {
                Some((ObjectType::Commit, _)) => return Ok(Some(at)),
                Some((ObjectType::Tag, raw)) => {
                    let target = raw
                        .strip_prefix(b"object ")
                        .and_then(|rest| rest.get(..40))
                        .and_then(crate::track::id::parse_hex);
                    match target.map(|target| git2::Oid::from_bytes(&target)) {
                        Some(Ok(target)) => at = target,
                        Some(Err(_)) | None => return Ok(None),
                    }
                }
                Some(_) | None => return Ok(None),
            }
        }
        Ok(None)
    }
}

impl Objects for Stores<'_> {
    fn tree(&self, id: treecheck::Oid) -> Result<Vec<u8>, Trouble> {
        let id = git2::Oid::from_bytes(&id).map_err(|error| fault(&error))?;
        match self.read(id, TREE_BYTES_MAX as u64)? {
            Some((ObjectType::Tree, raw)) => Ok(raw),
            Some(_) | None => Err(missing(id)),
        }
    }

    fn size(&self, id: treecheck::Oid) -> Result<Option<u64>, Trouble> {
        let id = git2::Oid::from_bytes(&id).map_err(|error| fault(&error))?;
        for store in &self.stores {
            if let Some((size, _)) = header(store, id)? {
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    fn blob(&self, id: treecheck::Oid) -> Result<Vec<u8>, Trouble> {
        let id = git2::Oid::from_bytes(&id).map_err(|error| fault(&error))?;
        match self.read(id, crate::track::limits::FILE_BYTES_MAX)? {
            Some((ObjectType::Blob, raw)) => Ok(raw),
            Some(_) | None => Err(missing(id)),
        }
    }
}

fn header(store: &Odb<'_>, id: git2::Oid) -> Result<Option<(u64, ObjectType)>, Trouble> {
    match store.read_header(id) {
        Ok((size, kind)) => Ok(Some((size as u64, kind))),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(error) => Err(damaged(&error)),
    }
}

fn missing(id: git2::Oid) -> Trouble {
    Trouble::PackBroken {
        reason: format!("object {id} is missing"),
    }
}

fn damaged(error: &git2::Error) -> Trouble {
    Trouble::PackBroken {
        reason: format!("an object is damaged ({:?})", error.code()),
    }
}

pub(crate) fn fault(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::MirrorFault {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_leftovers_of_dead_processes_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("m");
        drop(Mirror::open(&folder).unwrap());
        std::fs::create_dir_all(folder.join("objects/ab")).unwrap();
        std::fs::create_dir_all(folder.join(incoming::FOLDER)).unwrap();
        for name in [
            "HEAD.lock",
            "config.lock",
            "shallow.lock",
            "shallow.new",
            "objects/ab/tmp_object_git2_x",
            "refs/x.lock",
        ] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        drop(Mirror::open(&folder).unwrap());
        for name in [
            "HEAD.lock",
            "config.lock",
            "shallow.lock",
            "shallow.new",
            "objects/ab/tmp_object_git2_x",
            "refs/x.lock",
            incoming::FOLDER,
        ] {
            assert!(!folder.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_broken_mirror_is_made_anew() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("m");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("HEAD"), "garbage").unwrap();
        let mirror = Mirror::open(&folder).unwrap();
        assert!(mirror.repository().is_bare());
    }

    #[test]
    fn shallow_commits_are_remembered() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("m");
        let mut mirror = Mirror::open(&folder).unwrap();
        mirror.add_shallow(&[CommitId::from([3; 20])]).unwrap();
        drop(mirror);
        assert_eq!(Mirror::open(&folder).unwrap().shallow(), vec![[3; 20]]);
    }
}
