//! Charts and repositories from elsewhere, on this machine: fetched by their pins into the user's cache folder.
//!
//! Repositories are fetched with the user's own `git`, so that whatever gives it access to them gives it to us.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use countersign_fleet::source::cache::Cache;
use countersign_fleet::source::lock::{CommitHex, LockedRepository};
use countersign_fleet::source::{Access, Fetcher, GitRefs, GitSources, Http, SourceError};
use countersign_fleet::tree::{GitStore, SharedTree};
use countersign_ledger::digest::Digest;

use crate::exit::Failure;

/// Longest run of git.
const GIT_MAX: Duration = Duration::from_secs(600);

/// What fetches on this machine.
pub type LocalFetcher = Fetcher<Http, GitProgram>;

/// How charts and repositories from elsewhere are fetched.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Charts and repositories from elsewhere")]
pub struct SourceArgs {
    /// File with the credentials of their hosts.
    #[arg(long, env = "COUNTERSIGN_SOURCE_CREDENTIALS_FILE", value_name = "FILE")]
    pub source_credentials_file: Option<PathBuf>,
    /// Folder that keeps what was fetched [default: countersign/sources in the user's cache folder].
    #[arg(long, env = "COUNTERSIGN_SOURCES", value_name = "DIR")]
    pub sources: Option<PathBuf>,
}

impl SourceArgs {
    /// Nothing is fetched yet.
    pub fn fetcher(&self) -> Result<LocalFetcher, Failure> {
        let access = Access::from_file(self.source_credentials_file.as_deref())
            .map_err(|error| Failure::Mistake(format!("source-credentials-file: {error}")))?;
        let http = Http::new(&access).map_err(|error| Failure::Mistake(error.to_string()))?;
        let folder = self.sources.clone().unwrap_or_else(cache_folder);
        let git = GitProgram {
            folder: folder.join("git"),
        };
        Ok(Fetcher::new(http, git, Cache::new(folder)))
    }
}

fn cache_folder() -> PathBuf {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = set.filter(|path| path.is_absolute());
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    cache
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir)
        .join("countersign/sources")
}

/// The user's `git`.
pub struct GitProgram {
    folder: PathBuf,
}

impl GitProgram {
    async fn run(&self, url: &str, arguments: &[&str]) -> Result<String, SourceError> {
        let other = |code, message, fault| SourceError::Other {
            code,
            message,
            fault,
        };
        let mut command = tokio::process::Command::new("git");
        command
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let Ok(ended) = tokio::time::timeout(GIT_MAX, command.output()).await else {
            let message = format!("{url}: git gave no answer in {} s", GIT_MAX.as_secs());
            return Err(other("SOURCE_UNREACHABLE", message, true));
        };
        let output = ended.map_err(|error| other("SOURCE_GIT", format!("git: {error}"), false))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            let message = format!("{url}: git says: {}", last.unwrap_or("nothing"));
            return Err(other("SOURCE_UNREACHABLE", message, true));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn open(&self, folder: &Path, commit: git2::Oid) -> Result<Option<SharedTree>, String> {
        let folder = folder.to_owned();
        let open = move || -> Option<SharedTree> {
            let store = GitStore::open(&folder).ok()?;
            Some(Arc::new(store.commit(commit).ok()?))
        };
        tokio::task::spawn_blocking(open)
            .await
            .map_err(|error| error.to_string())
    }
}

impl GitSources for GitProgram {
    async fn tree(&self, pin: &LockedRepository) -> Result<SharedTree, SourceError> {
        let cache = |why: String| SourceError::Cache { why };
        let folder = self.folder.join(Digest::of(pin.url.as_bytes()).to_string());
        let commit =
            git2::Oid::from_str(pin.commit.as_str()).map_err(|error| SourceError::Invalid {
                what: pin.url.clone(),
                why: error.message().to_owned(),
            })?;
        if let Some(tree) = self.open(&folder, commit).await.map_err(cache)? {
            return Ok(tree);
        }
        let path = folder.display().to_string();
        let made = git2::Repository::init_bare(&folder);
        made.map_err(|error| cache(error.message().to_owned()))?;
        let arguments = [
            "-C",
            &path,
            "fetch",
            "--quiet",
            "--no-tags",
            "--depth=1",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--",
            &pin.url,
            pin.commit.as_str(),
        ];
        self.run(&pin.url, &arguments).await?;
        let tree = self.open(&folder, commit).await.map_err(cache)?;
        tree.ok_or_else(|| SourceError::NotFound {
            what: format!("commit {} in {}", pin.commit.as_str(), pin.url),
        })
    }
}

impl GitRefs for GitProgram {
    async fn commit(&self, url: &str, reference: &str) -> Result<CommitHex, SourceError> {
        let full = |kind: &str| match reference {
            full if full.starts_with("refs/") => full.to_owned(),
            short => format!("refs/{kind}/{short}"),
        };
        let (branch, tag) = (full("heads"), full("tags"));
        let peeled = format!("{tag}^{{}}");
        let arguments = ["ls-remote", "--", url, &branch, &tag, &peeled];
        let answer = self.run(url, &arguments).await?;
        let id = |name: &str| {
            let line = answer.lines().find_map(|line| {
                let (id, found) = line.split_once('\t')?;
                (found == name).then_some(id)
            });
            line.and_then(CommitHex::new)
        };
        // An annotated tag names an object of its own; the peeled line names the commit.
        let tagged = id(&peeled).or_else(|| id(&tag));
        match (id(&branch).filter(|_| branch != tag), tagged) {
            (Some(commit), None) | (None, Some(commit)) => Ok(commit),
            (None, None) => Err(SourceError::NotFound {
                what: format!("branch or tag {reference} in {url}"),
            }),
            (Some(_), Some(_)) => Err(SourceError::Invalid {
                what: format!("{reference} of {url}"),
                why: format!("is a branch and a tag; write {branch} or {tag}"),
            }),
        }
    }
}
