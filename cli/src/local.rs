//! A fleet on this machine: a working directory or a revision, and the renderer beside this program. No hub is asked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_fleet::carry::{Carried, Previous};
use countersign_fleet::desired::{
    AppOutcome, Desired, EncryptedSecrets, RenderCache, render_cluster,
};
use countersign_fleet::load::load;
use countersign_fleet::mistake::Mistake;
use countersign_fleet::model::Fleet;
use countersign_fleet::plan::{Step, local_content, plan};
use countersign_fleet::render::{Config, Launcher, Workers};
use countersign_fleet::tree::{GitStore, SharedTree, WorkTree};

use crate::exit::Failure;
use crate::sources::{LocalFetcher, SourceArgs};

/// Name of the renderer beside this program.
const RENDERER: &str = "countersign-renderer";

/// Where the fleet and its renderer are.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where the fleet is")]
pub struct FleetArgs {
    /// The fleet's repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub repo: PathBuf,
}

/// Where the renderer is.
#[derive(Debug, Clone, clap::Args)]
pub struct RendererArgs {
    /// The renderer's program [default: countersign-renderer beside this one].
    #[arg(long, env = "COUNTERSIGN_RENDERER", value_name = "FILE")]
    renderer: Option<PathBuf>,
    #[command(flatten)]
    sources: SourceArgs,
}

/// A fleet that was read, with the tree that it was read from.
pub struct Local {
    /// Its files.
    pub tree: SharedTree,
    /// What they say.
    pub fleet: Arc<Fleet>,
    /// What is wrong with them.
    pub mistakes: Vec<Mistake>,
}

impl Local {
    /// Reads the working directory, or a revision if one is given.
    pub fn open(repo: &Path, revision: Option<&str>) -> Result<Self, Failure> {
        let tree: SharedTree = match revision {
            None => Arc::new(WorkTree::open(repo).map_err(|e| Failure::Mistake(e.to_string()))?),
            Some(revision) => {
                let store = GitStore::open(repo).map_err(|e| Failure::Mistake(e.to_string()))?;
                let commit = store
                    .resolve(revision)
                    .map_err(|e| Failure::Mistake(e.to_string()))?;
                let tree = store
                    .commit(commit)
                    .map_err(|e| Failure::Fault(e.to_string()))?;
                Arc::new(tree)
            }
        };
        let (fleet, mistakes) = load(tree.as_ref()).map_err(|e| Failure::Fault(e.to_string()))?;
        Ok(Self {
            tree,
            fleet: Arc::new(fleet),
            mistakes,
        })
    }
}

/// Renders on this machine.
pub type Renderer = Desired<Workers, LocalFetcher>;

impl RendererArgs {
    /// Starts the renderer.
    pub async fn start(&self) -> Result<Renderer, Failure> {
        let program = match &self.renderer {
            Some(program) => program.clone(),
            None => std::env::current_exe()
                .map_err(|e| Failure::Fault(format!("this program: {e}")))?
                .with_file_name(RENDERER),
        };
        if !program.is_file() {
            return Err(Failure::Mistake(format!(
                "there is no renderer at {}; name it with --renderer",
                program.display()
            )));
        }
        let launcher = Launcher::this_program().map_err(|e| Failure::Fault(e.to_string()))?;
        let workers = Workers::start(Config::new(program, launcher))
            .await
            .map_err(|e| Failure::Fault(e.to_string()))?;
        Ok(Desired {
            renderer: workers,
            sources: self.sources.fetcher()?,
            cache: RenderCache::default(),
            secrets: EncryptedSecrets::Shown,
        })
    }
}

/// What a cluster's apps render to, and what the cluster would run after `previous`.
pub async fn next(
    renderer: &Renderer,
    local: &Local,
    cluster: &str,
    commit: &str,
    previous: &Previous,
) -> (Vec<AppOutcome>, Option<Carried>) {
    let outcomes = render_cluster(renderer, &local.tree, &local.fleet, cluster, None).await;
    let step = Step {
        fleet: &local.fleet,
        cluster,
        commit,
        previous,
        gone: &BTreeSet::new(),
        permits: &BTreeSet::new(),
    };
    let carried = plan(&step, &outcomes, local_content);
    (outcomes, carried)
}
