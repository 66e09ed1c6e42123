//! What the pipeline asks of rendering and admission. One real answer, over the renderer's worker processes, and one for
//! tests; the pipeline itself knows neither processes nor files.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_fleet::admit::Verdict;
use countersign_fleet::desired::{Change, Once};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::model::{Cluster, Fleet};
use countersign_fleet::object::Object;
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
    /// Renders done now, once; none if all of it was known.
    pub once: Vec<Once>,
    /// For people.
    pub warnings: Vec<String>,
}

/// What became of each app that chooses a cluster, by name.
pub type RenderedApps = BTreeMap<String, Result<RenderedApp, AppFailure>>;

/// Whether a render gave the same objects twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// It did.
    Same,
    /// It did not.
    Differs,
}

/// Rendering and admission.
pub trait Stage: Send + Sync + 'static {
    /// What renders, for statements.
    fn version(&self) -> String;

    /// The objects of all apps that choose the cluster; from memory while nothing that they read has changed.
    fn apps<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, RenderedApps>;

    /// A render once more, by another worker and never from memory.
    fn again<'a>(&'a self, once: &'a Once) -> BoxFuture<'a, Result<Repeated, AppFailure>>;

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
