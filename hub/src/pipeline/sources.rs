//! Charts and repositories from elsewhere, for the render stage: fetched by their pins into the data folder.
//!
//! Another repository's commit is fetched with the tracker's own means, into a mirror of its own; the same checks of packs
//! and trees hold. A repository is asked for its pinned commit alone: its branches mean nothing here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_fleet::source::cache::Cache;
use countersign_fleet::source::evict;
use countersign_fleet::source::lock::LockedRepository;
use countersign_fleet::source::web::WebUrl;
use countersign_fleet::source::{Access, Fetcher, GitSources, Http, SourceError};
use countersign_fleet::tree::{GitStore, SharedTree};
use countersign_ledger::digest::Digest;

use crate::config::Config;
use crate::pipeline::limits::SOURCE_MIRRORS_BYTES_MAX;
use crate::track::limits::FetchLimits;
use crate::track::mirror::incoming::Incoming;
use crate::track::mirror::{Mirror, Stores, copy};
use crate::track::protocol::Want;
use crate::track::remote::http::HttpAuth;
use crate::track::remote::ssh::SshAuth;
use crate::track::remote::{HttpWire, Remote, SshWire, Wire};
use crate::track::treecheck::{self, Stopped};
use crate::track::url::{HttpUrl, SshUrl};
use crate::track::{CommitId, RefName, Source, Trouble, signer};

/// Folder below the data folder.
const FOLDER: &str = "sources";
/// Opened commits that are kept; a fleet names a few.
const TREES_KEPT: usize = 1_000;

/// What the render stage asks.
///
/// # Errors
/// [`SourceError`] for roots that can't be used.
pub fn fetcher(config: &Config) -> Result<Fetcher<Http, Repositories>, SourceError> {
    let folder = config.data.join(FOLDER);
    // Before anybody opens one of them.
    evict::evict(&folder.join("git"), SOURCE_MIRRORS_BYTES_MAX, None);
    let repositories = Repositories {
        folder: folder.join("git"),
        limits: config.track.limits,
        access: config.access.clone(),
        ssh: config.track.ssh.clone(),
        known: Mutex::default(),
        turns: Mutex::default(),
    };
    let http = Http::new(&config.access)?;
    Ok(Fetcher::new(http, repositories, Cache::new(folder)))
}

/// Other repositories, each in its own mirror.
pub struct Repositories {
    folder: PathBuf,
    limits: FetchLimits,
    access: Access,
    ssh: Option<SshAuth>,
    /// By URL and commit.
    known: Mutex<BTreeMap<(String, CommitId), SharedTree>>,
    /// One fetch a mirror at a time.
    turns: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl GitSources for Repositories {
    async fn tree(&self, pin: &LockedRepository) -> Result<SharedTree, SourceError> {
        let commit: CommitId = pin
            .commit
            .as_str()
            .parse()
            .map_err(|_| SourceError::Invalid {
                what: pin.url.clone(),
                why: "only repositories whose object ids are SHA-1 are fetched".to_owned(),
            })?;
        let key = (pin.url.clone(), commit);
        if let Some(tree) = lock(&self.known).get(&key) {
            return Ok(Arc::clone(tree));
        }
        let fetch = self
            .prepare(pin, commit)
            .map_err(|trouble| failed(&pin.url, &trouble))?;
        let turn = Arc::clone(lock(&self.turns).entry(fetch.folder.clone()).or_default());
        let _turn = turn.lock().await;
        // Whoever had the turn before may have fetched it.
        if let Some(tree) = lock(&self.known).get(&key) {
            return Ok(Arc::clone(tree));
        }
        let task = tokio::task::spawn_blocking(move || fetch.run());
        let fetched = task.await.map_err(|error| SourceError::Cache {
            why: error.to_string(),
        })?;
        let tree = fetched.map_err(|trouble| failed(&pin.url, &trouble))?;
        let mut known = lock(&self.known);
        if known.len() >= TREES_KEPT {
            known.clear();
        }
        known.insert(key, Arc::clone(&tree));
        Ok(tree)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One commit on its way here.
struct Fetch {
    via: Via,
    folder: PathBuf,
    name: RefName,
    commit: CommitId,
    limits: FetchLimits,
}

/// How. A connection is opened and dropped where it may block.
enum Via {
    Http(HttpUrl, HttpAuth),
    Ssh(SshUrl, SshAuth),
}

impl Repositories {
    fn prepare(&self, pin: &LockedRepository, commit: CommitId) -> Result<Fetch, Trouble> {
        let source = Source::parse(&pin.url, Path::new("/"))?;
        let folder = self
            .folder
            .join(Digest::of(source.display().as_bytes()).to_string());
        let via = match source {
            Source::Http(url) => {
                let address = WebUrl::parse(&url.to_string());
                let host = address.map(|url| url.authority()).unwrap_or_default();
                let (user, token) = match self.access.credentials.password(&host) {
                    Some((user, token)) => (user, Some(token)),
                    None => (String::new(), None),
                };
                let auth = HttpAuth {
                    user,
                    token,
                    roots: self.access.roots.iter().cloned().collect(),
                };
                Via::Http(url, auth)
            }
            Source::Ssh(url) => {
                let auth = self.ssh.clone().ok_or_else(|| Trouble::SourceInvalid {
                    field: "ssh-key-file",
                    problem: "is needed for an SSH repository, with known-hosts-file".to_owned(),
                })?;
                Via::Ssh(url, auth)
            }
            Source::Local(_) => {
                return Err(Trouble::SourceInvalid {
                    field: "spec.source.git.url",
                    problem: "must be https or ssh".to_owned(),
                });
            }
        };
        Ok(Fetch {
            via,
            folder,
            name: RefName::parse(&pin.r#ref)?,
            commit,
            limits: self.limits,
        })
    }
}

impl Fetch {
    /// Blocking.
    fn run(self) -> Result<SharedTree, Trouble> {
        let mut mirror = Mirror::open(&self.folder)?;
        let mark = self.folder.join(evict::USED);
        if let Err(error) = std::fs::write(&mark, b"") {
            tracing::debug!(%error, "it is not noted that a repository is used");
        }
        let commit = self.commit;
        if !mirror.has(commit) {
            self.fetch(&mut mirror)?;
        }
        let fault = |error: String| Trouble::MirrorFault { reason: error };
        let store = GitStore::open(mirror.path()).map_err(|error| fault(error.to_string()))?;
        let id = commit.oid().map_err(|error| fault(error.to_string()))?;
        let tree = store.commit(id).map_err(|error| fault(error.to_string()))?;
        Ok(Arc::new(tree))
    }

    fn fetch(self, mirror: &mut Mirror) -> Result<(), Trouble> {
        let wire: Box<dyn Wire> = match self.via {
            Via::Http(url, auth) => Box::new(HttpWire::new(url, &auth)?),
            Via::Ssh(url, auth) => Box::new(SshWire::new(url, auth)),
        };
        let mut remote = Remote::new(wire);
        // Only for the greeting; where the ref is by now doesn't matter.
        remote.resolve(&self.name, &self.limits)?;
        let mut incoming = Incoming::begin(mirror.path())?;
        let want = Want {
            tip: *self.commit.bytes(),
            have: Vec::new(),
            shallow: Vec::new(),
            depth_one: true,
        };
        remote.fetch(want, &self.limits, &mut incoming)?;
        let fetched = incoming.finish()?;
        let from = Stores::of(&[&fetched])?;
        let id = self.commit.oid().map_err(|error| Trouble::MirrorFault {
            reason: error.to_string(),
        })?;
        let raw = from.commit(id)?.ok_or_else(|| Trouble::PackBroken {
            reason: format!("commit {} is missing", self.commit),
        })?;
        let read = signer::read(self.commit, &raw)?;
        treecheck::scan(&from, None, *read.tree.bytes()).map_err(|stopped| match stopped {
            Stopped::Unsafe { path, defect } => Trouble::TreeUnsafe {
                commit: self.commit,
                path,
                defect: defect.to_owned(),
            },
            Stopped::Trouble(trouble) => trouble,
        })?;
        copy::commit(&from, mirror, self.commit, &self.limits)
    }
}

fn failed(url: &str, trouble: &Trouble) -> SourceError {
    let (code, fault) = match trouble {
        Trouble::Unreachable { .. } => ("SOURCE_UNREACHABLE", true),
        Trouble::AccessDenied { .. } => ("SOURCE_DENIED", true),
        Trouble::HostUntrusted { .. }
        | Trouble::ProtocolBroken { .. }
        | Trouble::PackBroken { .. }
        | Trouble::MirrorFault { .. } => (trouble.code(), true),
        _ => (trouble.code(), false),
    };
    let message = match trouble {
        Trouble::CredentialScope { from, to } => {
            format!("{from} sends to {to}; name that address in the App if it is right")
        }
        other => format!("{url}: {other}"),
    };
    SourceError::Other {
        code,
        message,
        fault,
    }
}
