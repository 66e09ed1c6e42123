//! A repository that a test pushes to, made with git2 alone.

use std::path::{Path, PathBuf};

use countersign_hub::track::CommitId;
use git2::{Oid, Repository, Signature, Time};

/// A bare repository in a temporary folder.
pub struct Repo {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl Repo {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path().join("fleet.git")).unwrap();
        Self { folder, repository }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("fleet.git")
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn git(&self) -> &Repository {
        &self.repository
    }

    /// A commit of exactly these files on top of `parents`; no ref moves.
    pub fn commit(&self, parents: &[CommitId], files: &[(&str, &str)]) -> CommitId {
        let tree = self.tree(files);
        self.commit_tree(parents, tree)
    }

    pub fn commit_tree(&self, parents: &[CommitId], tree: Oid) -> CommitId {
        let who = Signature::new(
            "A U Thor",
            "author@example.org",
            &Time::new(1_700_000_000, 60),
        )
        .unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let parents: Vec<_> = parents
            .iter()
            .map(|parent| self.repository.find_commit(parent.oid().unwrap()).unwrap())
            .collect();
        let parents: Vec<_> = parents.iter().collect();
        self.repository
            .commit(None, &who, &who, "change", &tree, &parents)
            .unwrap()
            .into()
    }

    /// A tree of these files; a name may hold folders.
    pub fn tree(&self, files: &[(&str, &str)]) -> Oid {
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, content) in files {
            let blob = self.repository.blob(content.as_bytes()).unwrap();
            update.upsert(*path, blob, git2::FileMode::Blob);
        }
        let empty = self.repository.treebuilder(None).unwrap().write().unwrap();
        update
            .create_updated(&self.repository, &self.repository.find_tree(empty).unwrap())
            .unwrap()
    }

    /// A raw tree, for what no honest tool writes.
    pub fn raw_tree(&self, entries: &[(&str, &[u8], Oid)]) -> Oid {
        let raw: Vec<u8> = entries
            .iter()
            .flat_map(|(mode, name, id)| {
                [mode.as_bytes(), b" ", name, b"\0", id.as_bytes()].concat()
            })
            .collect();
        self.repository
            .odb()
            .unwrap()
            .write(git2::ObjectType::Tree, &raw)
            .unwrap()
    }

    pub fn raw_commit(&self, raw: &str) -> CommitId {
        self.repository
            .odb()
            .unwrap()
            .write(git2::ObjectType::Commit, raw.as_bytes())
            .unwrap()
            .into()
    }

    pub fn set(&self, name: &str, commit: CommitId) {
        self.repository
            .reference(name, commit.oid().unwrap(), true, "test")
            .unwrap();
    }

    pub fn delete(&self, name: &str) {
        self.repository
            .find_reference(name)
            .unwrap()
            .delete()
            .unwrap();
    }

    /// Commits on top of the branch's tip and moves it.
    pub fn push(&self, files: &[(&str, &str)]) -> CommitId {
        let parents: Vec<CommitId> = self
            .repository
            .refname_to_id("refs/heads/main")
            .ok()
            .map(Into::into)
            .into_iter()
            .collect();
        let commit = self.commit(&parents, files);
        self.set("refs/heads/main", commit);
        commit
    }
}
