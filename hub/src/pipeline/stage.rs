//! What the pipeline asks of rendering and admission. One real answer, over the renderer's worker processes, and one for
//! tests; the pipeline itself knows neither processes nor files.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_fleet::admit::Verdict;
use countersign_fleet::desired::Change;
use countersign_fleet::failure::AppFailure;
use countersign_fleet::kinds::Kinds;
use countersign_fleet::model::{Cluster, Fleet};
use countersign_fleet::object::Object;
use countersign_fleet::render::WorkerId;
use countersign_fleet::tree::SharedTree;
use futures::future::BoxFuture;

use crate::pipeline::policies::PolicyFiles;

/// One cluster at one commit.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The commit's tree.
    pub tree: &'a SharedTree,
    /// What differs from the commit that went through before, if one did.
    pub change: Option<&'a Arc<Change>>,
    /// The commit's fleet.
    pub fleet: &'a Arc<Fleet>,
    /// The cluster.
    pub cluster: &'a Cluster,
}

/// What an app renders to.
#[derive(Debug, Clone)]
pub struct RenderedApp {
    /// Its objects, no identity twice.
    pub objects: Arc<Vec<Object>>,
    /// Rendered now, once; else all of it was known.
    pub fresh: bool,
    /// Which workers rendered it.
    pub workers: Vec<WorkerId>,
    /// The kinds that it was rendered with.
    pub kinds: Arc<Kinds>,
    /// For people.
    pub warnings: Vec<String>,
}

/// What became of each app that chooses a cluster, by name.
pub type RenderedApps = BTreeMap<String, Result<RenderedApp, AppFailure>>;

/// Rendering and admission.
pub trait Stage: Send + Sync + 'static {
    /// What renders, for statements.
    fn version(&self) -> String;

    /// The objects of all apps that choose the cluster; from memory while nothing that they read has changed.
    fn apps<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, RenderedApps>;

    /// Whether what [`Ask::change`] says can matter to the cluster at all. If not, [`Self::apps`] would give what it
    /// gave for the commit before.
    fn touched(&self, ask: Ask<'_>) -> bool;

    /// An app once more, by another worker and never from memory: the same objects must come.
    fn again<'a>(
        &'a self,
        ask: Ask<'a>,
        app: &'a str,
        first: &'a RenderedApp,
    ) -> BoxFuture<'a, Result<(), AppFailure>>;

    /// What a set of policies says to objects of all apps; an index counts `objects`.
    fn admit<'a>(
        &'a self,
        cluster: &'a Cluster,
        policies: &'a PolicyFiles,
        objects: &'a [&'a Object],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppFailure>>;

    /// Renders asked of workers since the start.
    fn renders(&self) -> u64;
}
