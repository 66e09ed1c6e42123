//! Rendering and admission by worker processes: [`Stage`] over [`countersign_fleet::desired`].

use std::path::Path;
use std::sync::Arc;

use countersign_fleet::admit::{self, Candidate, PolicySet, Verdict};
use countersign_fleet::desired::{
    self, AppOutcome, Desired, Fresh, RenderCache, Renderer, Sources,
};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::model::Cluster;
use countersign_fleet::object::Object;
use countersign_fleet::render::{
    Code, Config, Files, Launcher, RenderFailure, RenderRequest, Rendered, Trace, WorkerId, Workers,
};
use countersign_ledger::Digest;
use futures::future::BoxFuture;

use crate::config;
use crate::pipeline::policies::PolicyFiles;
use crate::pipeline::shelf::RenderShelf;
use crate::pipeline::sources;
use crate::pipeline::stage::{Ask, RenderedApp, RenderedApps, Stage};
use crate::pipeline::verdicts::Verdicts;

/// A renderer that can also judge.
pub trait Judge: Renderer + 'static {
    /// What the policies say to the candidates.
    fn judge(
        &self,
        set: &PolicySet,
        candidates: Vec<Candidate>,
    ) -> impl Future<Output = Result<Vec<Verdict>, RenderFailure>> + Send;
}

/// The stage.
pub struct Rendering<W, S> {
    desired: Desired<W, S>,
    verdicts: Verdicts,
}

impl<W, S> Rendering<W, S> {
    /// A stage that knows nothing yet.
    pub fn new(desired: Desired<W, S>) -> Self {
        Self {
            desired,
            verdicts: Verdicts::default(),
        }
    }
}

impl<W: Judge, S: Sources + 'static> Stage for Rendering<W, S> {
    fn version(&self) -> String {
        self.desired.renderer.version()
    }

    fn apps<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, RenderedApps> {
        Box::pin(async move {
            let outcomes = desired::render_cluster(
                &self.desired,
                ask.tree,
                ask.fleet,
                &ask.cluster.name,
                ask.change,
            )
            .await;
            let each = outcomes.into_iter().map(|outcome| {
                let AppOutcome {
                    app,
                    result,
                    warnings,
                    fresh,
                    workers,
                    kinds,
                } = outcome;
                (
                    app,
                    result.map(|objects| RenderedApp {
                        objects,
                        fresh,
                        workers,
                        warnings,
                        kinds,
                    }),
                )
            });
            each.collect()
        })
    }

    fn touched(&self, ask: Ask<'_>) -> bool {
        ask.change.is_none_or(|change| {
            desired::touched(&self.desired, ask.fleet, &ask.cluster.name, change)
        })
    }

    fn again<'a>(
        &'a self,
        ask: Ask<'a>,
        app: &'a str,
        first: &'a RenderedApp,
    ) -> BoxFuture<'a, Result<(), AppFailure>> {
        Box::pin(async move {
            let RenderedApp {
                objects,
                fresh,
                workers,
                kinds,
                ..
            } = first.clone();
            let first = AppOutcome {
                app: app.to_owned(),
                result: Ok(objects),
                warnings: Vec::new(),
                fresh,
                workers,
                kinds,
            };
            desired::confirm(
                &self.desired,
                ask.tree,
                ask.fleet,
                &ask.cluster.name,
                &first,
            )
            .await
        })
    }

    fn admit<'a>(
        &'a self,
        cluster: &'a Cluster,
        policies: &'a PolicyFiles,
        objects: &'a [&'a Object],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppFailure>> {
        Box::pin(async move {
            let broken =
                |error: serde_json::Error| AppFailure::new("RENDER_PROTOCOL", error.to_string());
            let candidate = |object: &&Object| {
                let resource = object.resource.clone();
                object
                    .json()
                    .map(|json| Candidate {
                        json,
                        namespaced: object.namespaced,
                        resource,
                    })
                    .map_err(broken)
            };
            let set = PolicySet {
                files: policies.files(),
                kubernetes_version: cluster.kubernetes.version.clone(),
            };
            let judging = self.verdicts.ask(&set, objects);
            let candidates = judging
                .unknown()
                .map(|object| candidate(&object))
                .collect::<Result<Vec<_>, _>>()?;
            let verdicts = if candidates.is_empty() {
                Vec::new()
            } else {
                self.desired
                    .renderer
                    .judge(&set, candidates)
                    .await
                    .map_err(|failure| AppFailure::from(&failure))?
            };
            self.verdicts.learn(judging, verdicts).ok_or_else(|| {
                AppFailure::new("RENDER_PROTOCOL", "a verdict about no object").as_fault()
            })
        })
    }

    fn renders(&self) -> u64 {
        self.desired.cache.renders()
    }
}

/// The pool of worker processes.
pub struct Pool(pub Workers);

impl Renderer for Pool {
    fn version(&self) -> String {
        self.0.version().to_owned()
    }

    async fn render(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
    ) -> Result<Fresh, RenderFailure> {
        self.0.render(&request, files).await.map(Fresh::from)
    }

    async fn render_again(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
        first: Option<WorkerId>,
    ) -> Result<Fresh, RenderFailure> {
        let again = match first {
            // Only the process that rendered first is looked at.
            Some(worker) => {
                let first = Rendered {
                    objects: Vec::new(),
                    trace: Trace::default(),
                    warnings: Vec::new(),
                    worker,
                };
                self.0.render_again(&first, &request, files).await
            }
            None => self.0.render(&request, files).await,
        };
        again.map(Fresh::from)
    }
}

impl Judge for Pool {
    async fn judge(
        &self,
        set: &PolicySet,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Verdict>, RenderFailure> {
        admit::admit(&self.0, set, &candidates).await
    }
}

/// Starts the workers behind `launcher`.
///
/// # Errors
/// [`RenderFailure`] if none starts, or sources can't be fetched with these options.
pub async fn start(
    options: &config::Config,
    launcher: Launcher,
) -> Result<Arc<dyn Stage>, RenderFailure> {
    let sources = sources::fetcher(options)
        .map_err(|error| RenderFailure::new(Code::SpecInvalid, error.to_string()))?;
    let config = &options.render;
    let pool = Config {
        workers: config.workers,
        time_max: config.time,
        memory_bytes_max: config.memory,
        ..Config::new(&config.program, launcher)
    };
    let workers = Workers::start(pool).await?;
    let (program, data) = (config.program.clone(), options.data.clone());
    let cache = tokio::task::spawn_blocking(move || kept(&program, &data))
        .await
        .unwrap_or_default();
    Ok(Arc::new(Rendering::new(Desired {
        renderer: Pool(workers),
        sources,
        cache,
    })))
}

/// What an earlier process rendered, with this very program; without it everything is rendered anew. Blocking.
fn kept(program: &Path, data: &Path) -> RenderCache {
    let open = || -> Result<RenderShelf, Box<dyn std::error::Error>> {
        let maker = Digest::of(&std::fs::read(program)?).to_string();
        let maker = Digest::of(format!("{} {maker}", env!("CARGO_PKG_VERSION")).as_bytes());
        std::fs::create_dir_all(data)?;
        Ok(RenderShelf::open(&data.join("renders.db"), &maker)?)
    };
    match open() {
        Ok(shelf) => RenderCache::with_shelf(Arc::new(shelf)),
        Err(error) => {
            tracing::warn!(%error, "renders are not kept for the next start");
            RenderCache::default()
        }
    }
}

/// This program with its hidden subcommand `sandbox`.
///
/// # Errors
/// [`RenderFailure`] if the system does not say which program runs.
pub fn confined() -> Result<Launcher, RenderFailure> {
    Launcher::this_program()
        .map_err(|error| RenderFailure::new(Code::RenderUnavailable, error.to_string()))
}
