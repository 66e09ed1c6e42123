//! Rendering and admission by worker processes: [`Stage`] over [`countersign_fleet::desired`].

use std::sync::Arc;

use countersign_fleet::desired::{self, Desired, Once, Renderer, Sources};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::object::Object;
use countersign_fleet::render::{Files, RenderFailure, RenderRequest, Rendered};
use countersign_fleet::admit::{Candidate, PolicySet, Verdict};
use countersign_fleet::model::Cluster;
use futures::future::BoxFuture;

use crate::pipeline::policies::PolicyFiles;
use crate::pipeline::stage::{Ask, RenderedApp, RenderedApps, Repeated, Stage};

/// A renderer that can also repeat and judge.
pub trait Works: Renderer + 'static {
    /// The same render by another process than the one that gave `first`.
    fn render_again(
        &self,
        first: &Rendered,
        request: &RenderRequest,
        files: Arc<dyn Files>,
    ) -> impl Future<Output = Result<Rendered, RenderFailure>> + Send;

    /// What the policies say to the candidates.
    fn judge(&self, set: &PolicySet, candidates: Vec<Candidate>) -> impl Future<Output = Result<Vec<Verdict>, RenderFailure>> + Send;
}

/// The stage.
pub struct Rendering<W, S>(pub Desired<W, S>);

impl<W: Works, S: Sources + 'static> Stage for Rendering<W, S> {
    fn version(&self) -> String {
        self.0.renderer.version()
    }

    fn apps<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, RenderedApps> {
        Box::pin(async move {
            let outcomes = desired::render_cluster(&self.0, ask.tree, ask.fleet, &ask.cluster.name, ask.change).await;
            let each = outcomes.into_iter().map(|outcome| {
                let rendered = outcome.result.map(|objects| RenderedApp { objects, once: outcome.once, warnings: outcome.warnings });
                (outcome.app, rendered)
            });
            each.collect()
        })
    }

    fn again<'a>(&'a self, once: &'a Once) -> BoxFuture<'a, Result<Repeated, AppFailure>> {
        Box::pin(async move {
            let second = self.0.renderer.render_again(&once.first, &once.request, Arc::clone(&once.files)).await;
            let second = second.map_err(|failure| AppFailure::from(&failure))?;
            Ok(if second.objects == once.first.objects { Repeated::Same } else { Repeated::Differs })
        })
    }

    fn admit<'a>(
        &'a self,
        cluster: &'a Cluster,
        policies: &'a PolicyFiles,
        objects: &'a [&'a Object],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppFailure>> {
        Box::pin(async move {
            let broken = |error: serde_json::Error| AppFailure::new("RENDER_PROTOCOL", error.to_string());
            let candidate = |object: &&Object| {
                let resource = object.resource.clone();
                object.json().map(|json| Candidate { json, namespaced: object.namespaced, resource }).map_err(broken)
            };
            let candidates = objects.iter().map(candidate).collect::<Result<Vec<_>, _>>()?;
            let set = PolicySet { files: policies.files(), kubernetes_version: cluster.kubernetes.version.clone() };
            self.0.renderer.judge(&set, candidates).await.map_err(|failure| AppFailure::from(&failure))
        })
    }

    fn renders(&self) -> u64 {
        self.0.cache.renders()
    }
}
