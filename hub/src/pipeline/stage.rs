//! What the pipeline asks of rendering and admission. One real answer, over the renderer's worker processes, and one for
//! tests; the pipeline itself knows neither processes nor files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use countersign_fleet::admit::Verdict;
use countersign_fleet::failure::AppFailure;
use countersign_fleet::model::{Cluster, Fleet};
use countersign_fleet::tree::SharedTree;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::pipeline::policies::PolicyFiles;

/// An object as it will be applied.
#[derive(Clone, PartialEq)]
pub struct ReadyObject {
    /// Its identity.
    pub id: ObjectId,
    /// Its wave.
    pub wave: i32,
    /// Canonical JSON.
    pub json: Bytes,
    /// The same, to be judged.
    pub value: Arc<Value>,
    /// SHA-256 of `json`. Of a Secret it never leaves the process.
    pub sha256: Digest,
}

impl ReadyObject {
    /// Whether it is a Secret, whose content leaves the hub encrypted only.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.id.group.is_empty() && self.id.kind == "Secret"
    }
}

impl std::fmt::Debug for ReadyObject {
    /// Never its content: it may be a Secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadyObject").field("id", &self.id).field("wave", &self.wave).finish_non_exhaustive()
    }
}

/// What an app renders to on one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct AppObjects {
    /// No identity twice.
    pub objects: Vec<ReadyObject>,
    /// Names the objects: equal digests mean equal objects.
    pub digest: Digest,
    /// For people.
    pub warnings: Vec<String>,
}

/// One cluster at one commit.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The commit's tree.
    pub tree: &'a SharedTree,
    /// The commit's fleet.
    pub fleet: &'a Fleet,
    /// The cluster.
    pub cluster: &'a Cluster,
}

/// An app's objects, and whether they were rendered now or are known because nothing that was read has changed.
#[derive(Debug, Clone)]
pub struct RenderedApp {
    /// The objects.
    pub objects: Arc<AppObjects>,
    /// Rendered now, once.
    pub fresh: bool,
}

/// What became of each app that chooses a cluster, by name.
pub type RenderedApps = BTreeMap<String, Result<RenderedApp, AppFailure>>;

/// Rendering and admission.
pub trait Stage: Send + Sync + 'static {
    /// What renders, for statements.
    fn version(&self) -> String;

    /// The objects of all apps that choose the cluster; from memory while nothing that they read has changed.
    fn apps<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, RenderedApps>;

    /// One app's objects once more, by another worker and never from memory.
    fn again<'a>(&'a self, ask: Ask<'a>, app: &'a str) -> BoxFuture<'a, Result<Arc<AppObjects>, AppFailure>>;

    /// What a set of policies says to objects of all apps; an index counts `objects`.
    fn admit<'a>(
        &'a self,
        ask: Ask<'a>,
        policies: &'a PolicyFiles,
        objects: &'a [ReadyObject],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppFailure>>;

    /// Whether a change of these files can change what any app renders to on a cluster.
    fn affected(&self, cluster: &str, changed: &BTreeSet<String>) -> bool;
}
