//! A work tree with commits, and bare repositories that it pushes to.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use git2::{
    Commit, IndexAddOption, Oid, Repository, RepositoryInitOptions, ResetType, Signature, Time,
};
use tempfile::TempDir;

use super::SshSigner;

/// The branch of every repository here.
const BRANCH: &str = "main";
/// When the first commit is made, in seconds since 1970; each later one is a second younger. So equal commits get equal ids.
const EPOCH: i64 = 1_767_225_600;

/// A repository with a work tree, in a folder that goes when this is dropped.
pub struct GitRepo {
    folder: TempDir,
    repository: Repository,
    commits: Cell<i64>,
}

impl std::fmt::Debug for GitRepo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GitRepo").field(&self.path()).finish()
    }
}

impl GitRepo {
    /// An empty repository on branch `main`.
    ///
    /// # Errors
    /// If the folder can't be written, as everywhere in this file.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("countersign-repo-")
            .tempdir()?;
        let repository = Repository::init_opts(
            folder.path(),
            RepositoryInitOptions::new().initial_head(BRANCH),
        )?;
        Ok(Self {
            folder,
            repository,
            commits: Cell::new(0),
        })
    }

    /// The work tree's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one file of the work tree, with the folders that it needs.
    ///
    /// # Errors
    /// If it can't.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> anyhow::Result<&Self> {
        let path = self.path().join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(self)
    }

    /// Copies a folder's files into the work tree.
    ///
    /// # Errors
    /// If it can't.
    pub fn copy_in(&self, from: &Path, to: &str) -> anyhow::Result<&Self> {
        for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
            let entry = entry?;
            let inside = format!("{to}/{}", entry.file_name().to_string_lossy());
            let inside = inside.trim_start_matches('/');
            if entry.file_type()?.is_dir() {
                self.copy_in(&entry.path(), inside)?;
            } else {
                self.write(inside, std::fs::read(entry.path())?)?;
            }
        }
        Ok(self)
    }

    /// Deletes one file or folder of the work tree.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn remove(&self, path: &str) -> anyhow::Result<&Self> {
        let path = self.path().join(path);
        if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        }
        .with_context(|| format!("remove {}", path.display()))?;
        Ok(self)
    }

    /// Commits the work tree as it is and returns the commit's id.
    ///
    /// # Errors
    /// If it can't.
    pub fn commit(&self, message: &str) -> anyhow::Result<String> {
        let parent = self
            .tip()
            .ok()
            .map(|oid| self.repository.find_commit(oid))
            .transpose()?;
        let parents: Vec<&Commit<'_>> = parent.iter().collect();
        let oid = self.repository.commit(
            Some("HEAD"),
            &self.author()?,
            &self.author()?,
            message,
            &self.repository.find_tree(self.stage()?)?,
            &parents,
        )?;
        self.commits.set(self.commits.get() + 1);
        Ok(oid.to_string())
    }

    /// Writes the files, then commits.
    ///
    /// # Errors
    /// If it can't.
    pub fn commit_files(&self, files: &[(&str, &str)], message: &str) -> anyhow::Result<String> {
        for (path, content) in files {
            self.write(path, content)?;
        }
        self.commit(message)
    }

    /// Commits the work tree with an SSH signature, as `git commit -S` with `gpg.format=ssh` does.
    ///
    /// # Errors
    /// If it can't.
    pub fn commit_signed(&self, message: &str, signer: &SshSigner) -> anyhow::Result<String> {
        self.commit_with(message, |raw| signer.sign("git", raw.as_bytes()))
    }

    /// Commits the work tree with whatever `sign` makes of the raw commit: a forged or broken signature, too.
    ///
    /// # Errors
    /// If it can't.
    pub fn commit_with(
        &self,
        message: &str,
        sign: impl FnOnce(&str) -> String,
    ) -> anyhow::Result<String> {
        let tip = self.tip().ok().map(|oid| oid.to_string());
        let parents: Vec<&str> = tip.as_deref().into_iter().collect();
        self.commit_onto(&parents, message, sign)
    }

    /// [`GitRepo::commit_with`] onto any commits: a merge has two parents.
    ///
    /// # Errors
    /// If it can't.
    pub fn commit_onto(
        &self,
        parents: &[&str],
        message: &str,
        sign: impl FnOnce(&str) -> String,
    ) -> anyhow::Result<String> {
        let parents = parents
            .iter()
            .map(|id| Ok(self.repository.find_commit(id.parse()?)?))
            .collect::<anyhow::Result<Vec<Commit<'_>>>>()?;
        let parents: Vec<&Commit<'_>> = parents.iter().collect();
        let tree = self.repository.find_tree(self.stage()?)?;
        let author = self.author()?;
        let raw = self
            .repository
            .commit_create_buffer(&author, &author, message, &tree, &parents)?;
        let raw = std::str::from_utf8(&raw).context("the commit is not UTF-8")?;
        let oid = self.repository.commit_signed(raw, &sign(raw), None)?;
        self.repository
            .reference(&format!("refs/heads/{BRANCH}"), oid, true, message)?;
        self.commits.set(self.commits.get() + 1);
        Ok(oid.to_string())
    }

    /// Makes the branch and the work tree what they were at `revision` (`HEAD~1`, an id). What comes next rewrites
    /// history.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn reset(&self, revision: &str) -> anyhow::Result<&Self> {
        let object = self.repository.revparse_single(revision)?;
        self.repository.reset(&object, ResetType::Hard, None)?;
        Ok(self)
    }

    /// The id of the newest commit.
    ///
    /// # Errors
    /// If there is none.
    pub fn head(&self) -> anyhow::Result<String> {
        Ok(self.tip()?.to_string())
    }

    /// A new bare repository `<name>.git` in a folder of its own.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub fn bare(name: &str) -> anyhow::Result<Bare> {
        let folder = tempfile::Builder::new()
            .prefix("countersign-bare-")
            .tempdir()?;
        let path = folder.path().join(format!("{name}.git"));
        Repository::init_opts(
            &path,
            RepositoryInitOptions::new().bare(true).initial_head(BRANCH),
        )?;
        Ok(Bare { folder, path })
    }

    /// Pushes the branch.
    ///
    /// # Errors
    /// If the other side refuses: history that was rewritten needs [`GitRepo::push_force`].
    pub fn push(&self, to: &Bare) -> anyhow::Result<()> {
        self.push_to(&to.path.display().to_string(), false)
    }

    /// Pushes the branch, whatever was there.
    ///
    /// # Errors
    /// If the other side refuses.
    pub fn push_force(&self, to: &Bare) -> anyhow::Result<()> {
        self.push_to(&to.path.display().to_string(), true)
    }

    /// Pushes to any address that git knows, with git itself.
    ///
    /// # Errors
    /// If it fails; the error holds git's words.
    pub fn push_to(&self, address: &str, force: bool) -> anyhow::Result<()> {
        let refspec = format!(
            "{}refs/heads/{BRANCH}:refs/heads/{BRANCH}",
            if force { "+" } else { "" }
        );
        let output = Command::new("git")
            .args(["push", "--quiet", address, &refspec])
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(self.path())
            .output()
            .context("run git")?;
        if !output.status.success() {
            bail!(
                "git push to {address}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    fn tip(&self) -> Result<Oid, git2::Error> {
        self.repository
            .refname_to_id(&format!("refs/heads/{BRANCH}"))
    }

    fn stage(&self) -> anyhow::Result<Oid> {
        let mut index = self.repository.index()?;
        index.add_all(["*"], IndexAddOption::FORCE, None)?;
        index.update_all(["*"], None)?; // what was deleted
        index.write()?;
        Ok(index.write_tree()?)
    }

    fn author(&self) -> Result<Signature<'static>, git2::Error> {
        Signature::new(
            "Ada",
            "ada@example.org",
            &Time::new(EPOCH + self.commits.get(), 0),
        )
    }
}

/// A bare repository; its folder goes when this is dropped.
#[derive(Debug)]
pub struct Bare {
    folder: TempDir,
    path: PathBuf,
}

impl Bare {
    /// The repository's own folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder around it: what [`super::GitServer`] serves.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_commits_have_equal_ids() {
        let commit = || {
            let repo = GitRepo::new().unwrap();
            repo.commit_files(&[("clusters/a/x.yaml", "1")], "one")
                .unwrap()
        };
        assert_eq!(commit(), commit());
    }

    #[test]
    fn a_deleted_file_is_gone_from_the_next_commit() {
        let repo = GitRepo::new().unwrap();
        repo.commit_files(&[("a", "1"), ("b", "1")], "one").unwrap();
        repo.remove("a").unwrap().commit("two").unwrap();
        let tree = repo.repository.head().unwrap().peel_to_tree().unwrap();
        assert_eq!(
            tree.iter()
                .map(|entry| entry.name().unwrap().to_owned())
                .collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn rewritten_history_needs_force() {
        let repo = GitRepo::new().unwrap();
        let bare = GitRepo::bare("fleet").unwrap();
        repo.commit_files(&[("a", "1")], "one").unwrap();
        repo.commit_files(&[("a", "2")], "two").unwrap();
        repo.push(&bare).unwrap();
        repo.reset("HEAD~1")
            .unwrap()
            .commit_files(&[("a", "3")], "other")
            .unwrap();
        assert!(
            repo.push(&bare)
                .unwrap_err()
                .to_string()
                .contains("rejected")
        );
        repo.push_force(&bare).unwrap();
        let there = Repository::open_bare(bare.path())
            .unwrap()
            .refname_to_id("refs/heads/main")
            .unwrap();
        assert_eq!(there.to_string(), repo.head().unwrap());
    }
}
