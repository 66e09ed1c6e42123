//! `(tree, cluster) → objects`: what each app of a cluster renders to, rendering only what changed.
//!
//! Used alike by the hub and by the CLI. First everything is looked up (`prepare`, [`cache`]), in one blocking task;
//! then only what no cache holds is rendered, side by side. An app that fails is an outcome like any other.
//!
//! Read first: [`render_cluster`], [`AppOutcome`]; then `prepare` (an app → what to render), [`cache`] (what is known).
use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_ledger::digest::Digest;
use futures::stream::{self, StreamExt as _};

use crate::failure::AppFailure;
use crate::kinds::Kinds;
use crate::model::{App, Cluster, Fleet};
use crate::object::{Context, Object, normalise};
use crate::render::{
    Files, How, RenderFailure, RenderRequest, Rendered, RenderedObject, Trace, WorkerId,
};
use crate::tree::SharedTree;

pub mod cache;
mod prepare;
mod reads;
mod shelf;
mod standing;
mod workers;

pub use cache::{Change, RenderCache};
use cache::{Known, RenderedSet, is_passing};
pub use prepare::Sources;
use prepare::{Prepared, Work};
use reads::Reads;
pub use shelf::Shelf;
use standing::{Recorder, Standing};

/// Renders asked for at once; the workers queue what they can't take.
const RENDERS_AT_ONCE: usize = 8;

/// Renders a request; the pool of worker processes, or a stand-in in tests.
pub trait Renderer: Send + Sync {
    /// What renders, with the versions of its libraries: part of every cache key.
    fn version(&self) -> String;

    /// Renders.
    ///
    /// # Cancel safety
    /// May be dropped; the render is given up.
    fn render(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
    ) -> impl Future<Output = Result<Fresh, RenderFailure>> + Send;

    /// Renders once more, in another process than `first` where there is one: the same must come out.
    ///
    /// # Cancel safety
    /// May be dropped; the render is given up.
    fn render_again(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
        first: Option<WorkerId>,
    ) -> impl Future<Output = Result<Fresh, RenderFailure>> + Send;
}

/// What a renderer gave.
#[derive(Debug, Clone, Default)]
pub struct Fresh {
    /// In the engine's order.
    pub objects: Vec<RenderedObject>,
    /// What was read.
    pub trace: Trace,
    /// For people.
    pub warnings: Vec<String>,
    /// Which process rendered.
    pub worker: Option<WorkerId>,
}

impl From<Rendered> for Fresh {
    fn from(rendered: Rendered) -> Self {
        Self {
            objects: rendered.objects,
            trace: rendered.trace,
            warnings: rendered.warnings,
            worker: Some(rendered.worker),
        }
    }
}

/// What became of one app.
#[derive(Debug, Clone)]
pub struct AppOutcome {
    /// The app.
    pub app: String,
    /// Its objects, or why there are none.
    pub result: Result<Arc<Vec<Object>>, AppFailure>,
    /// For people.
    pub warnings: Vec<String>,
    /// Whether it was rendered now; else all of it was known.
    pub fresh: bool,
    /// Which workers rendered it; a second render of the same goes to another (DECISIONS 13).
    pub workers: Vec<WorkerId>,
    /// The kinds that it was rendered with: those of the cluster and those that the fleet's own definitions bring.
    pub kinds: Arc<Kinds>,
}

/// What a cluster is rendered with.
#[derive(Debug)]
pub struct Desired<R, S> {
    /// Renders.
    pub renderer: R,
    /// Brings charts and repositories from elsewhere.
    pub sources: S,
    /// What is known.
    pub cache: RenderCache,
}

/// What each app of a cluster renders to, by name.
///
/// `change` says what differs from a tree that was rendered before; with it the cost of a commit is that of its change.
///
/// # Cancel safety
/// May be dropped; what was rendered by then stays known.
pub async fn render_cluster<R: Renderer, S: Sources>(
    desired: &Desired<R, S>,
    tree: &SharedTree,
    fleet: &Arc<Fleet>,
    cluster: &str,
    change: Option<&Arc<Change>>,
) -> Vec<AppOutcome> {
    let Some(here) = fleet.clusters.get(cluster) else {
        return Vec::new();
    };
    let mut kinds = Kinds::of(&here.kubernetes);
    let names: Vec<String> = fleet.apps_on(here).map(|app| app.name.clone()).collect();
    let renderer = desired.renderer.version();
    let before = change
        .filter(|change| change.to == tree.id())
        .and_then(|change| desired.cache.standing(cluster, fleet, &renderer, change));
    let round = Round {
        desired,
        cache: desired.cache.clone(),
        again: None,
        tree,
        fleet,
        cluster: here,
        change,
        before,
        now: Recorder::new(tree.id(), fleet, renderer),
    };
    let (sets, kinds) = round.with_charts(names, &mut kinds).await;
    drop(round.before);
    round.cache.stands(cluster, round.now.end());
    finish_all(round.cache, fleet, cluster, kinds, sets).await
}

/// Whether a change can matter to what a cluster renders to. If not, nothing needs to be rendered, and what is known of
/// the older tree is known of the newer one.
#[must_use]
pub fn touched<R: Renderer, S>(
    desired: &Desired<R, S>,
    fleet: &Arc<Fleet>,
    cluster: &str,
    change: &Change,
) -> bool {
    let renderer = desired.renderer.version();
    desired.cache.touched(cluster, fleet, &renderer, change)
}

/// Renders an app a second time, with nothing known and in another process, and compares (DECISIONS 13): before a
/// deletion is sealed, and after every other new render. What came out equal is kept for the next process.
///
/// # Errors
/// `NONDETERMINISTIC` if other objects came out; else why nothing did.
/// # Cancel safety
/// May be dropped.
pub async fn confirm<R: Renderer, S: Sources>(
    desired: &Desired<R, S>,
    tree: &SharedTree,
    fleet: &Arc<Fleet>,
    cluster: &str,
    first: &AppOutcome,
) -> Result<(), AppFailure> {
    let (Some(here), Ok(objects)) = (fleet.clusters.get(cluster), &first.result) else {
        return Ok(());
    };
    let round = Round {
        desired,
        cache: RenderCache::default(),
        again: Some(first.workers.first().copied()),
        tree,
        fleet,
        cluster: here,
        change: None,
        before: None,
        now: Recorder::new(tree.id(), fleet, desired.renderer.version()),
    };
    // The kinds that other apps define are part of the input.
    let kinds = &first.kinds;
    let sets = round.run(vec![first.app.clone()], kinds).await;
    let known = round.cache.clone();
    let second = finish_all(round.cache, fleet, cluster, Kinds::clone(kinds), sets).await;
    let Some(second) = second.first() else {
        return Err(AppFailure::new("RENDER_UNAVAILABLE", "was not rendered again").as_fault());
    };
    let again = second.result.as_ref().map_err(Clone::clone)?;
    let differs = objects
        .iter()
        .map(|object| (&object.id, &object.sha256))
        .ne(again.iter().map(|object| (&object.id, &object.sha256)));
    if differs {
        let why =
            "two renders of the same input differ; the app is not signed until its files change";
        return Err(AppFailure::new("NONDETERMINISTIC", why));
    }
    let (cache, renderer) = (desired.cache.clone(), desired.renderer.version());
    let shelved = tokio::task::spawn_blocking(move || cache.shelve(&known, &renderer));
    if shelved.await.is_err() {
        tracing::warn!(app = first.app, "its render is not kept for the next start");
    }
    Ok(())
}

async fn finish_all(
    cache: RenderCache,
    fleet: &Arc<Fleet>,
    cluster: &str,
    kinds: Kinds,
    sets: BTreeMap<String, AppSet>,
) -> Vec<AppOutcome> {
    let (fleet, cluster) = (fleet.clone(), cluster.to_owned());
    let finished = tokio::task::spawn_blocking(move || {
        let (made_with, kinds) = (kinds.fingerprint(), Arc::new(kinds));
        sets.into_iter()
            .filter_map(|(name, set)| {
                let app = fleet.apps.get(&name)?;
                Some(finish(
                    &cache,
                    &fleet,
                    &cluster,
                    app,
                    (&kinds, made_with),
                    set,
                ))
            })
            .collect()
    });
    // Only a bug ends the task early; an app without an outcome keeps what it has.
    finished.await.unwrap_or_default()
}

/// What an app rendered to, before it is made canonical.
#[derive(Debug, Clone)]
struct AppSet {
    set: Result<Arc<RenderedSet>, AppFailure>,
    from_git: bool,
    chart: bool,
    fresh: bool,
    /// Which paths decided it.
    reads: Vec<Arc<Reads>>,
    /// Whether another day may bring something else: then `reads` says nothing.
    passing: bool,
}

/// An app, what is to be done for it, and which paths decided that.
type LookedUp = (String, Result<Prepared, AppFailure>, Reads);

struct Round<'a, R, S> {
    desired: &'a Desired<R, S>,
    cache: RenderCache,
    /// Set for a second render, with the process that gave the first.
    again: Option<Option<WorkerId>>,
    tree: &'a SharedTree,
    fleet: &'a Arc<Fleet>,
    cluster: &'a Cluster,
    change: Option<&'a Arc<Change>>,
    /// What stood in the tree before the change.
    before: Option<Arc<Standing>>,
    now: Recorder,
}

impl<R: Renderer, S: Sources> Round<'_, R, S> {
    /// Renders all; charts once more if the fleet's own definitions bring kinds that they may ask for.
    async fn with_charts(
        &self,
        names: Vec<String>,
        kinds: &mut Kinds,
    ) -> (BTreeMap<String, AppSet>, Kinds) {
        let mut sets = self.run(names, kinds).await;
        let mut learned = false;
        for set in sets
            .values()
            .filter_map(|outcome| outcome.set.as_ref().ok())
        {
            for object in set.objects() {
                learned |= kinds.learn(&object.json);
            }
        }
        let charts: Vec<String> = sets
            .iter()
            .filter(|(_, outcome)| learned && outcome.chart)
            .map(|(name, _)| name.clone())
            .collect();
        if !charts.is_empty() {
            sets.extend(self.run(charts, kinds).await);
        }
        (sets, kinds.clone())
    }

    async fn run(&self, names: Vec<String>, kinds: &Kinds) -> BTreeMap<String, AppSet> {
        let with = kinds.fingerprint();
        let mut sets = BTreeMap::new();
        let mut rest = Vec::new();
        for name in names {
            let standing = match (&self.before, self.change) {
                (Some(before), Some(change)) => before.app(&name, with, change),
                _ => None,
            };
            match standing {
                Some(set) => {
                    sets.insert(name, set);
                }
                None => rest.push(name),
            }
        }
        let prepared = self.prepare(rest, kinds).await;
        let rendered = stream::iter(prepared)
            .map(
                |(name, prepared, reads)| async move { (name, self.render(prepared, reads).await) },
            )
            .buffer_unordered(RENDERS_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        sets.extend(rendered);
        for (name, set) in &sets {
            self.now.note(name, with, set);
        }
        sets
    }

    /// All look-ups of all apps, in one blocking task.
    async fn prepare(&self, names: Vec<String>, kinds: &Kinds) -> Vec<LookedUp> {
        if names.is_empty() {
            return Vec::new();
        }
        let mut asked = Vec::new();
        for app in names.iter().filter_map(|name| self.fleet.apps.get(name)) {
            asked.push(prepare::fetch(&self.desired.sources, app, self.fleet));
        }
        let fetched: Vec<_> = stream::iter(asked)
            .buffer_unordered(RENDERS_AT_ONCE)
            .collect()
            .await;
        let mut outside: BTreeMap<String, _> = fetched.into_iter().flatten().collect();
        let versions = prepare::Versions {
            renderer: self.desired.renderer.version(),
            kubernetes: self.cluster.kubernetes.version.clone(),
            apis: kinds.api_versions(),
        };
        let (tree, fleet, cluster) = (self.tree.clone(), self.fleet.clone(), self.cluster.clone());
        let (cache, change) = (self.cache.clone(), self.change.cloned());
        let all = names.clone();
        let task = tokio::task::spawn_blocking(move || {
            let look = prepare::Look {
                tree: &tree,
                lock: &fleet.lock,
                cluster: &cluster,
                versions: &versions,
                cache: &cache,
                change: change.as_deref(),
            };
            names
                .into_iter()
                .filter_map(|name| {
                    let app = fleet.apps.get(&name)?;
                    let mut reads = Reads::default();
                    let prepared = look.prepare(app, outside.remove(&name), &mut reads);
                    Some((name, prepared, reads))
                })
                .collect()
        });
        // Only a bug ends the task early; then every app keeps what it has.
        task.await.unwrap_or_else(|_| {
            all.into_iter()
                .map(|name| {
                    let failure = AppFailure::new("INTERNAL", "the look-up ended early").as_fault();
                    (name, Err(failure), Reads::default())
                })
                .collect()
        })
    }

    async fn render(&self, prepared: Result<Prepared, AppFailure>, reads: Reads) -> AppSet {
        let reads = Arc::new(reads);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                return AppSet {
                    passing: is_passing(&failure),
                    set: Err(failure),
                    from_git: true,
                    chart: false,
                    fresh: false,
                    reads: vec![reads],
                };
            }
        };
        let (from_git, chart) = (prepared.from_git, prepared.chart);
        let outcome = |set: Result<_, AppFailure>, fresh, traced: Option<Arc<Reads>>| AppSet {
            passing: set.as_ref().is_err_and(is_passing),
            set,
            from_git,
            chart,
            fresh,
            reads: std::iter::once(reads).chain(traced).collect(),
        };
        let cache = &self.cache;
        match prepared.work {
            Work::Known(Known::Set(set), traced) => outcome(Ok(set), false, Some(traced)),
            Work::Known(Known::Failure(failure), traced) => {
                outcome(Err(*failure), false, Some(traced))
            }
            Work::Plain {
                files,
                missing,
                request,
            } => {
                let rendered = match request {
                    None => Ok(None),
                    Some(request) => self.ask(prepared.files.clone(), request).await.map(Some),
                };
                let fresh = !missing.is_empty();
                let set = rendered
                    .map_err(|failure| AppFailure::from(&failure))
                    .and_then(|rendered| cache.plain(&files, &missing, rendered));
                outcome(set, fresh, None)
            }
            Work::Traced {
                key,
                mut request,
                wanted,
            } => {
                if let Err(failure) = wanted.bring(&self.desired.sources, &mut request).await {
                    return outcome(Err(failure), false, None);
                }
                let rendered = self.ask(prepared.files.clone(), request).await;
                let (set, traced) = cache.traced(key, self.tree.id(), rendered);
                outcome(set, true, traced)
            }
        }
    }

    async fn ask(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
    ) -> Result<Fresh, RenderFailure> {
        self.cache.count(match &request.how {
            How::Plain { files } => files.len(),
            How::Kustomize { .. } | How::Helm(_) => 1,
        });
        match self.again {
            None => self.desired.renderer.render(files, request).await,
            Some(first) => {
                self.desired
                    .renderer
                    .render_again(files, request, first)
                    .await
            }
        }
    }
}

fn finish(
    cache: &RenderCache,
    fleet: &Fleet,
    cluster: &str,
    app: &App,
    (kinds, made_with): (&Arc<Kinds>, Digest),
    outcome: AppSet,
) -> AppOutcome {
    let (warnings, workers) = match &outcome.set {
        Ok(set) => (set.warnings.clone(), set.workers.clone()),
        Err(_) => (Vec::new(), Vec::new()),
    };
    let from_git = outcome.from_git;
    let make = |rendered: &RenderedObject| {
        let ours = crate::path::RepoPath::parse(&rendered.file)
            .is_ok_and(|path| fleet.document_files.contains(&path));
        let context = Context {
            app: &app.name,
            namespace: &app.namespace,
            project: app.project.as_ref(),
            kinds,
            from_git,
            skip_documents: ours,
        };
        normalise(&rendered.json, &rendered.file, rendered.line, &context)
    };
    let result = outcome
        .set
        .and_then(|set| cache.objects(cluster, app, made_with, &set, make));
    AppOutcome {
        app: app.name.clone(),
        result,
        warnings,
        fresh: outcome.fresh,
        workers,
        kinds: Arc::clone(kinds),
    }
}

#[cfg(test)]
mod tests;
