//! A whole fleet in one handle: a repository, a hub, and clusters with their agents.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use countersign_fleet::api::{Fleet, HealthState, SyncState};

use crate::{
    InVain,
    agent::{self, Agent},
    cli::{Cli, Trust},
    cluster::Cluster,
    git::{Bare, GitRepo},
    hub::{self, Hub},
    operator::Operator,
    wait,
};

/// How long a fleet may take to do what a commit says, on a machine with much else to do.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// The fleet's name.
pub const FLEET: &str = "test";

/// A repository that operators push to, and the hub that tracks it.
#[derive(Debug)]
pub struct World {
    /// The operator's clone.
    pub repo: GitRepo,
    /// What the hub tracks.
    pub bare: Bare,
    /// The trust root and its keys.
    pub trust: Trust,
    /// The hub.
    pub hub: Hub,
    /// What the hub tells operators.
    pub operator: Operator,
}

impl World {
    /// Pushes `repo` and starts a hub that tracks it. A cluster is `NAME=ENVIRONMENT`.
    ///
    /// # Errors
    /// If a program can't be built or started.
    pub async fn start(repo: GitRepo, clusters: &[&str]) -> anyhow::Result<World> {
        Self::start_with(repo, clusters, |options| options).await
    }

    /// [`World::start`] with further options of the hub.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_with(
        repo: GitRepo,
        clusters: &[&str],
        options: impl FnOnce(hub::Options) -> hub::Options,
    ) -> anyhow::Result<World> {
        Self::start_under(Trust::init(FLEET, clusters)?, repo, options).await
    }

    /// [`World::start_with`] under a trust root that stands.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_under(
        trust: Trust,
        repo: GitRepo,
        options: impl FnOnce(hub::Options) -> hub::Options,
    ) -> anyhow::Result<World> {
        let bare = GitRepo::bare("fleet")?;
        repo.push(&bare)?;
        let tracked = bare.path().to_string_lossy().into_owned();
        let hub = Hub::start(options(hub::Options::new(tracked, &trust))).await?;
        let operator = Operator::of(&hub)?;
        Ok(World {
            repo,
            bare,
            trust,
            hub,
            operator,
        })
    }

    /// Makes the next trust root of `changes`, puts it into the hub's store and starts the hub again, as an operator does.
    ///
    /// # Errors
    /// If a command fails or the hub does not come back.
    pub async fn succeed(&mut self, changes: &[&[&str]]) -> anyhow::Result<()> {
        let next = self.trust.next(changes)?;
        let (data, trust) = (self.hub.data(), self.trust.document());
        Cli::new().ok([
            "trust".as_ref(),
            "publish".as_ref(),
            next.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
            "--trust".as_ref(),
            trust.as_os_str(),
        ])?;
        self.trust.published(&next)?;
        self.hub.restart().await
    }

    /// Starts an agent that joins `cluster` under the fleet's `name` for it.
    ///
    /// # Errors
    /// If the hub gives no token or the program can't be started.
    pub async fn join(&self, name: &str, cluster: &Cluster) -> anyhow::Result<Agent> {
        self.join_with(name, cluster, &[]).await
    }

    /// [`World::join`] with further arguments.
    ///
    /// # Errors
    /// As [`World::join`].
    pub async fn join_with(
        &self,
        name: &str,
        cluster: &Cluster,
        args: &[&str],
    ) -> anyhow::Result<Agent> {
        let data = self.hub.data();
        let cluster_name = name.to_owned();
        // As an operator does it.
        let token = tokio::task::spawn_blocking(move || {
            let data = data.as_os_str();
            let args = [
                "cluster",
                "add",
                &cluster_name,
                "--join-token-file",
                "-",
                "--data",
            ];
            Cli::new().ok(args.iter().map(OsStr::new).chain([data]))
        })
        .await??;
        let token = token.trim().to_owned();
        let mut options = agent::Options::new(
            self.hub.agents_url(),
            name,
            self.trust.document(),
            &token,
            cluster,
        );
        options.args = args.iter().map(OsString::from).collect();
        Agent::start(options).await
    }

    /// Commits the files and pushes; returns the commit.
    ///
    /// # Errors
    /// If git refuses.
    pub fn push_files(&self, files: &[(&str, &str)], message: &str) -> anyhow::Result<String> {
        let commit = self.repo.commit_files(files, message)?;
        self.repo.push(&self.bare)?;
        Ok(commit)
    }

    /// Commits the work tree as it is and pushes; returns the commit.
    ///
    /// # Errors
    /// If git refuses.
    pub fn push(&self, message: &str) -> anyhow::Result<String> {
        let commit = self.repo.commit(message)?;
        self.repo.push(&self.bare)?;
        Ok(commit)
    }

    /// Waits until the hub has processed `commit` and each of `clusters` has applied its newest state and is synced and
    /// healthy.
    ///
    /// # Errors
    /// [`InVain`], with what was seen last.
    pub async fn settled(&self, commit: &str, clusters: &[&str]) -> Result<Fleet, InVain> {
        let what = format!("{} on {}", short(commit), clusters.join(", "));
        wait(&what, SETTLE_LIMIT, async || {
            let fleet = self.operator.fleet().await?;
            settled(&fleet, commit, clusters)?;
            anyhow::Ok(fleet)
        })
        .await
    }
}

/// Whether the fleet is where `commit` wants it; the error says what is not.
fn settled(fleet: &Fleet, commit: &str, clusters: &[&str]) -> anyhow::Result<()> {
    let seen = fleet.source.commit.as_ref().map(|seen| seen.id.as_str());
    anyhow::ensure!(
        seen == Some(commit) && fleet.source.processed.is_some(),
        "the hub is at {seen:?}: {:?} {} {}; mistakes {:?}",
        fleet.source.state,
        fleet.source.code,
        fleet.source.message,
        fleet.mistakes
    );
    for name in clusters {
        let cluster = fleet
            .clusters
            .iter()
            .find(|cluster| cluster.name == **name)
            .with_context(|| format!("no cluster {name}"))?;
        anyhow::ensure!(
            cluster.generation_applied == cluster.generation_sealed
                && cluster.generation_sealed > 0
                && cluster.sync == SyncState::Synced
                && cluster.health == HealthState::Healthy,
            "{cluster:?}; mistakes {:?}",
            fleet.mistakes
        );
    }
    Ok(())
}

/// The first characters of a commit's id.
#[must_use]
pub fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// A repository with a folder's content, committed.
///
/// # Errors
/// If it can't be read or written.
pub fn repo_with(folders: &[(&Path, &str)]) -> anyhow::Result<GitRepo> {
    let repo = GitRepo::new()?;
    for (from, to) in folders {
        repo.copy_in(from, to)?;
    }
    repo.commit("the fleet")?;
    Ok(repo)
}
