//! The second renderer's own clone: what it renders comes from here, never from the hub.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use countersign_fleet::model::Fleet;
use countersign_fleet::tree::GitStore;

use crate::exit::Failure;
use crate::local::Local;
use crate::output::safe;

/// First parents of a commit that are looked at for what they say of removed apps.
const PARENTS_MAX: usize = 64;

/// A clone.
pub struct Clone {
    path: PathBuf,
    /// Where it is fetched from; none if somebody else keeps it current.
    url: Option<String>,
}

/// Why a commit can't be rendered.
pub enum Missing {
    /// The clone does not have it.
    Commit(String),
    /// It can't be read.
    Failed(Failure),
}

impl Clone {
    /// The repository at `place`: a folder is read as it is, a URL is fetched into a bare repository in `folder`.
    pub fn open(place: &str, folder: &Path) -> Result<Self, Failure> {
        let path = Path::new(place);
        if path.is_dir() {
            GitStore::open(path).map_err(|e| Failure::Mistake(safe(&e.to_string())))?;
            return Ok(Self {
                path: path.to_owned(),
                url: None,
            });
        }
        if place.starts_with('-') || !(place.contains("://") || place.contains(':')) {
            return Err(Failure::Mistake(format!(
                "--repo {}: is no folder, and no URL",
                safe(place)
            )));
        }
        let path = folder.join("repo.git");
        git2::Repository::init_bare(&path)
            .map_err(|error| Failure::Fault(format!("{}: {error}", path.display())))?;
        Ok(Self {
            path,
            url: Some(place.to_owned()),
        })
    }

    /// Fetches all branches and tags, with the user's own `git`.
    fn fetch(&self, url: &str) -> Result<(), Failure> {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.path)
            .args(["fetch", "--quiet", "--no-write-fetch-head"])
            .args(["--no-recurse-submodules", "--", url])
            .args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::Fault(format!("git: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        Err(Failure::Fault(format!(
            "{}: git says: {}",
            safe(url),
            safe(last.unwrap_or("nothing"))
        )))
    }

    /// The fleet at a commit, fetched if it is not there.
    pub fn fleet(&self, commit: &str) -> Result<Local, Missing> {
        if !self.has(commit) {
            match &self.url {
                Some(url) => self.fetch(url).map_err(Missing::Failed)?,
                None => return Err(self.lacks(commit)),
            }
            if !self.has(commit) {
                return Err(self.lacks(commit));
            }
        }
        Local::open(&self.path, Some(commit)).map_err(Missing::Failed)
    }

    fn lacks(&self, commit: &str) -> Missing {
        Missing::Commit(format!(
            "{} has no commit {}",
            self.path.display(),
            safe(commit)
        ))
    }

    fn has(&self, commit: &str) -> bool {
        let found = || {
            let repository = git2::Repository::open(&self.path).ok()?;
            let id = git2::Oid::from_str(commit).ok()?;
            repository.find_commit(id).ok().map(drop)
        };
        found().is_some()
    }

    /// Fleets of the commits before `commit`, by first parents, newest first, up to `last` and with it.
    pub fn before(&self, commit: &str, last: Option<&str>) -> Vec<Arc<Fleet>> {
        let mut fleets = Vec::new();
        let mut at = commit.to_owned();
        for _ in 0..PARENTS_MAX {
            let Some(parent) = self.first_parent(&at) else {
                break;
            };
            if let Ok(local) = Local::open(&self.path, Some(&parent)) {
                fleets.push(local.fleet);
            }
            if last == Some(parent.as_str()) {
                break;
            }
            at = parent;
        }
        fleets
    }

    fn first_parent(&self, commit: &str) -> Option<String> {
        let repository = git2::Repository::open(&self.path).ok()?;
        let commit = repository
            .find_commit(git2::Oid::from_str(commit).ok()?)
            .ok()?;
        commit.parent_id(0).ok().map(|id| id.to_string())
    }

    /// SHA-256 of the raw commit, as the `source` entry names it.
    pub fn commit_sha256(&self, commit: &str) -> Option<countersign_ledger::digest::Digest> {
        let repository = git2::Repository::open(&self.path).ok()?;
        let odb = repository.odb().ok()?;
        let object = odb.read(git2::Oid::from_str(commit).ok()?).ok()?;
        (object.kind() == git2::ObjectType::Commit)
            .then(|| countersign_ledger::digest::Digest::of(object.data()))
    }
}
