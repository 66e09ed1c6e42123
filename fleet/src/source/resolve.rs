//! Writing a lock: every source from elsewhere that a fleet's Apps name → what it is pinned to.
//!
//! What is pinned stays pinned, until a person asks for it anew; what no App names any more goes. Nothing of an index or a
//! tag is read at any other time.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::archive::{self, ARCHIVE_BYTES_MAX, Unfit};
use super::dependency::{self, Dependency, Wrong};
use super::error::SourceError;
use super::fetch::{Fetcher, GitRefs};
use super::helm;
use super::lock::{ChartPin, Lock, LockedArtifact, LockedDependency, LockedRepository};
use super::oci::{self, Visit};
use super::web::Web;
use crate::document::GitSource;
use crate::model::{App, Fleet, Source};
use crate::path::RepoPath;
use crate::tree::{SharedTree, TreeFault};
use crate::yaml;

/// What a lock is written for.
pub struct Request<'a> {
    /// The fleet's files.
    pub tree: &'a SharedTree,
    /// What they say, with the lock that there is.
    pub fleet: &'a Fleet,
    /// Apps whose sources are looked up anew.
    pub update: &'a BTreeSet<String>,
    /// Only say what is not pinned; nothing is looked up.
    pub check: bool,
}

/// A new lock.
#[derive(Debug, Default)]
pub struct Resolved {
    /// All pins.
    pub lock: Lock,
    /// What can't be pinned; while there is any, the lock is not whole.
    pub problems: Vec<Unresolved>,
}

/// A source that could not be pinned, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unresolved {
    /// The file.
    pub file: RepoPath,
    /// Line in it; 0 if unknown.
    pub line: u32,
    /// Field in it.
    pub field: String,
    /// Stable.
    pub code: &'static str,
    /// For a person.
    pub why: String,
    /// Whether a later try may succeed.
    pub fault: bool,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}: {}", self.code, self.why)
    }
}

/// Where something was written.
#[derive(Debug, Clone)]
struct At {
    file: RepoPath,
    line: u32,
    field: String,
}

struct Resolver<'a, W, G> {
    fetcher: &'a Fetcher<W, G>,
    old: &'a Lock,
    check: bool,
    charts: BTreeMap<LockedDependency, Option<ChartPin>>,
    repositories: BTreeMap<(String, String), Option<LockedRepository>>,
    problems: BTreeSet<Unresolved>,
}

/// Pins every source that the fleet's Apps name.
///
/// # Errors
/// [`TreeFault`] if the fleet's own files can't be read.
/// # Cancel safety
/// May be dropped; nothing was written.
pub async fn resolve<W: Web, G: GitRefs>(
    fetcher: &Fetcher<W, G>,
    request: Request<'_>,
) -> Result<Resolved, TreeFault> {
    let mut resolver = Resolver {
        fetcher,
        old: &request.fleet.lock,
        check: request.check,
        charts: BTreeMap::new(),
        repositories: BTreeMap::new(),
        problems: BTreeSet::new(),
    };
    // Those to be looked up anew come first: a source that they share with others is pinned once.
    let apps = request.fleet.apps.values();
    let (first, then): (Vec<_>, Vec<_>) = apps.partition(|app| request.update.contains(&app.name));
    for (apps, anew) in [(first, true), (then, false)] {
        for app in apps {
            resolver.app(&request, app, anew).await?;
        }
    }
    let mut lock = Lock::default();
    for pin in resolver.charts.into_values().flatten() {
        match pin {
            ChartPin::Chart(pin) => lock.charts.push(pin),
            ChartPin::Artifact(pin) => lock.artifacts.push(pin),
        }
    }
    lock.repositories = resolver.repositories.into_values().flatten().collect();
    lock.charts.sort();
    lock.artifacts.sort();
    lock.repositories.sort();
    Ok(Resolved {
        lock,
        problems: resolver.problems.into_iter().collect(),
    })
}

impl<W: Web, G: GitRefs> Resolver<'_, W, G> {
    async fn app(&mut self, request: &Request<'_>, app: &App, anew: bool) -> Result<(), TreeFault> {
        match &app.source {
            Source::ClusterFolder { .. } => {}
            Source::Helm(source) => {
                let needed = LockedDependency {
                    repository: source.repository.clone(),
                    chart: source.chart.clone(),
                    version: source.version.clone(),
                };
                self.chart(&needed, &place(request, app, "spec.source.helm"), anew)
                    .await;
            }
            Source::Oci(source) => {
                let (repository, chart) = source.url.rsplit_once('/').unwrap_or((&source.url, ""));
                let needed = LockedDependency {
                    repository: repository.to_owned(),
                    chart: chart.to_owned(),
                    version: source.version.clone(),
                };
                self.chart(&needed, &place(request, app, "spec.source.oci"), anew)
                    .await;
            }
            Source::Git(source) => {
                let at = place(request, app, "spec.source.git");
                let Some(pin) = self.repository(source, &at, anew).await else {
                    return Ok(());
                };
                if !super::unpinned::may_be_chart(app) {
                    return Ok(());
                }
                match self.fetcher.git().tree(&pin).await {
                    Ok(tree) => {
                        let folder = source.path.clone().unwrap_or_default();
                        // Its files are another repository's: the place is where it is named here.
                        self.folder(&tree, &folder, Some(&at), anew).await?;
                    }
                    Err(error) => self.problem(&at, &error),
                }
            }
            Source::Path(_) => {
                for folder in super::unpinned::folders(request.fleet, app) {
                    self.folder(request.tree, &folder, None, anew).await?;
                }
            }
        }
        Ok(())
    }

    /// The dependencies of a chart in a tree.
    async fn folder(
        &mut self,
        tree: &SharedTree,
        folder: &RepoPath,
        at: Option<&At>,
        anew: bool,
    ) -> Result<(), TreeFault> {
        let (reader, path) = (tree.clone(), folder.clone());
        let read = tokio::task::spawn_blocking(move || dependency::of_folder(&reader, &path));
        let found = read.await.map_err(|error| TreeFault {
            path: folder.to_string(),
            why: error.to_string(),
        })??;
        let own = |file: &str, line: u32, field: &str| {
            at.cloned().unwrap_or_else(|| At {
                file: folder.child(file),
                line,
                field: field.to_owned(),
            })
        };
        match found {
            Ok(all) => {
                for one in all {
                    let at = own("Chart.yaml", one.line, &one.field);
                    if let Some(needed) = &one.needed {
                        self.chart(needed, &at, anew).await;
                    }
                }
            }
            Err(wrong) => {
                let at = own(wrong.file, wrong.line, &wrong.field);
                self.problem(&at, &unfit(wrong));
            }
        }
        Ok(())
    }

    /// Pins a chart and what it needs.
    async fn chart(&mut self, needed: &LockedDependency, at: &At, anew: bool) {
        if self.charts.contains_key(needed) {
            return;
        }
        let old = self.old.dependency(needed).filter(|_| !anew);
        let pin = match old {
            Some(pin) => Ok(Some(pin)),
            None if self.check => {
                self.missing(at);
                Ok(None)
            }
            None => self.look_up(needed).await.map(Some),
        };
        let pin = match pin {
            Ok(pin) => pin,
            Err(error) => {
                self.problem(at, &error);
                None
            }
        };
        let below = pin.as_ref().map(|pin| pin.dependencies().to_vec());
        self.charts.insert(needed.clone(), pin);
        for needed in below.unwrap_or_default() {
            self.below(&needed, at, anew).await;
        }
    }

    /// Pins what a packed chart needs. Helm fetches no further than that, and so do we.
    async fn below(&mut self, needed: &LockedDependency, at: &At, anew: bool) {
        Box::pin(self.chart(needed, at, anew)).await;
        let found = self.charts.get(needed).and_then(Option::as_ref);
        if found.is_some_and(|pin| !pin.dependencies().is_empty()) {
            let why = format!(
                "chart {} needs charts that it does not hold, and is itself one that another needs; use a version that holds them",
                needed.chart
            );
            self.problem(at, &chart_invalid(why));
        }
    }

    async fn look_up(&self, needed: &LockedDependency) -> Result<ChartPin, SourceError> {
        let mut pin = match needed.oci() {
            None => ChartPin::Chart(
                helm::look_up(
                    self.fetcher.web(),
                    &needed.repository,
                    &needed.chart,
                    &needed.version,
                )
                .await?,
            ),
            Some(url) => {
                let mut visit = Visit::new(self.fetcher.web(), &url)?;
                let (digest, manifest) = visit.tagged(&needed.version).await?;
                oci::chart_layer(&manifest, &url)?;
                self.fetcher.keep(&digest, manifest).await?;
                ChartPin::Artifact(LockedArtifact {
                    url,
                    version: needed.version.clone(),
                    digest,
                    resolved: None,
                    dependencies: Vec::new(),
                })
            }
        };
        let content = self.fetcher.archive(&pin).await?;
        let reading = tokio::task::spawn_blocking(move || archive::dependencies(&content));
        let found = reading.await.map_err(|error| SourceError::Cache {
            why: error.to_string(),
        })?;
        let all = found.map_err(|problem| match problem {
            Unfit::Damaged(why) => chart_invalid(format!("chart {} {why}", needed.chart)),
            Unfit::TooLarge => SourceError::SizeLimit {
                what: format!("chart {}, unpacked,", needed.chart),
                limit: ARCHIVE_BYTES_MAX,
            },
            Unfit::Wrong(wrong) => unfit(wrong),
        })?;
        let needs = all
            .into_iter()
            .filter_map(|one: Dependency| one.needed)
            .collect();
        match &mut pin {
            ChartPin::Chart(pin) => pin.dependencies = needs,
            ChartPin::Artifact(pin) => pin.dependencies = needs,
        }
        Ok(pin)
    }

    async fn repository(
        &mut self,
        source: &GitSource,
        at: &At,
        anew: bool,
    ) -> Option<LockedRepository> {
        let key = (source.url.clone(), source.r#ref.clone());
        if let Some(known) = self.repositories.get(&key) {
            return known.clone();
        }
        let pin = match self.old.repository(source).filter(|_| !anew) {
            Some(pin) => Some(pin.clone()),
            None if self.check => {
                self.missing(at);
                None
            }
            None => match self.fetcher.git().commit(&source.url, &source.r#ref).await {
                Ok(commit) => Some(LockedRepository {
                    url: source.url.clone(),
                    r#ref: source.r#ref.clone(),
                    commit,
                }),
                Err(error) => {
                    self.problem(at, &error);
                    None
                }
            },
        };
        self.repositories.insert(key, pin.clone());
        pin
    }

    fn missing(&mut self, at: &At) {
        let error = SourceError::Other {
            code: "LOCK_MISMATCH",
            message: "is not pinned in countersign.lock; run `countersign lock`".to_owned(),
            fault: false,
        };
        self.problem(at, &error);
    }

    fn problem(&mut self, at: &At, error: &SourceError) {
        self.problems.insert(Unresolved {
            file: at.file.clone(),
            line: at.line,
            field: at.field.clone(),
            code: error.code(),
            why: error.to_string(),
            fault: error.is_fault(),
        });
    }
}

fn unfit(wrong: Wrong) -> SourceError {
    let place = format!("{}:{}: {}", wrong.file, wrong.line, wrong.field);
    chart_invalid(format!(
        "{}: {}",
        place.trim_end_matches([':', ' ']),
        wrong.why
    ))
}

fn chart_invalid(message: String) -> SourceError {
    SourceError::Other {
        code: "CHART_INVALID",
        message,
        fault: false,
    }
}

/// The line of a field of the App's document.
fn place(request: &Request<'_>, app: &App, field: &str) -> At {
    let text = request.tree.read(&app.place.file).ok();
    let text = text.and_then(|content| String::from_utf8(content.to_vec()).ok());
    let documents = text
        .and_then(|text| yaml::parse(&text).ok())
        .unwrap_or_default();
    let name = |node: &yaml::Node| {
        node.at(&["metadata", "name"])
            .and_then(|n| n.text().map(str::to_owned))
    };
    let own = documents.iter().find(|node| {
        name(node).as_deref() == Some(&app.name)
            && node.at(&["kind"]).and_then(yaml::Node::text) == Some("App")
    });
    At {
        file: app.place.file.clone(),
        line: own.map_or(app.place.line, |node| node.line_of(field)),
        field: field.to_owned(),
    }
}

/// What differs between two locks, a line each, for people: `added redis 1.2.3 of https://…: sha256:…`.
pub fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let (had, has) = (pins(old), pins(new));
    let mut lines = Vec::new();
    for (what, to) in &has {
        match had.get(what) {
            None => lines.push(format!("added    {what}: {to}")),
            Some(from) if from == to => {}
            Some(from) => {
                let twice = if what.1 && from.split(' ').next() != to.split(' ').next() {
                    " (the same version, other content)"
                } else {
                    ""
                };
                lines.push(format!("changed  {what}: {from} → {to}{twice}"));
            }
        }
    }
    let gone = had.keys().filter(|what| !has.contains_key(what));
    lines.extend(gone.map(|what| format!("removed  {what}")));
    lines
}

/// What is pinned, and whether its version is exact, so that it should never change.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pinned(String, bool);

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn pins(lock: &Lock) -> BTreeMap<Pinned, String> {
    let more = |digest: String, resolved: &Option<String>, needs: &[LockedDependency]| {
        let mut text = digest;
        if let Some(version) = resolved {
            text.push_str(&format!(" ({version})"));
        }
        for need in needs {
            text.push_str(&format!(" + {} {}", need.chart, need.version));
        }
        text
    };
    let exact = |version: &str| semver::Version::parse(version).is_ok();
    let charts = lock.charts.iter().map(|pin| {
        let what = format!("{} {} of {}", pin.chart, pin.version, pin.repository);
        let to = more(pin.digest.to_string(), &pin.resolved, &pin.dependencies);
        (Pinned(what, exact(&pin.version)), to)
    });
    let artifacts = lock.artifacts.iter().map(|pin| {
        let to = more(pin.digest.to_string(), &pin.resolved, &pin.dependencies);
        (
            Pinned(format!("{} {}", pin.url, pin.version), exact(&pin.version)),
            to,
        )
    });
    let repositories = lock.repositories.iter().map(|pin| {
        let what = format!("{} of {}", pin.r#ref, pin.url);
        (Pinned(what, false), pin.commit.as_str().to_owned())
    });
    charts.chain(artifacts).chain(repositories).collect()
}
