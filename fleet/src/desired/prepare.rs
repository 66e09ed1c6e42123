//! An app on a cluster → what has to be rendered, or what is known of it already.
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_proto::limits::RENDERER_FRAME_BYTES_MAX;

use super::cache::{Change, Key, Known, RenderCache};
use super::reads::Reads;
use crate::failure::AppFailure;
use crate::load::is_manifest;
use crate::model::{App, Cluster, Fleet, Render, Source};
use crate::path::RepoPath;
use crate::render::{Chart, Files, Helm, How, RenderRequest, Values};
use crate::source::dependency;
use crate::source::lock::{
    ChartPin, LOCK_FILE, Lock, LockedArtifact, LockedChart, LockedDependency, LockedRepository,
};
use crate::source::unpinned::not_pinned;
use crate::template::{fill, fill_map};
use crate::tree::overlay::OverlayTree;
use crate::tree::{SharedTree, Stat, TreeFault, TreeFiles};

/// Most files of one plain app.
const PLAIN_FILES_MAX: usize = 20_000;
/// Bytes of all archives of one render: a frame to the renderer, less what else stands in it.
const ARCHIVES_BYTES_MAX: usize = RENDERER_FRAME_BYTES_MAX - (4 << 20);
/// Names of a kustomization's file.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Where another repository's chart is mounted beside the fleet's own files.
const MOUNT: &str = "@source";

/// Brings what is pinned in the lock file.
pub trait Sources: Send + Sync {
    /// A chart's archive, whose digest was checked.
    fn chart(&self, pin: &LockedChart) -> impl Future<Output = Result<Bytes, AppFailure>> + Send;

    /// A chart's archive from an OCI registry, whose digests were checked.
    fn artifact(
        &self,
        pin: &LockedArtifact,
    ) -> impl Future<Output = Result<Bytes, AppFailure>> + Send;

    /// The tree of a repository's commit.
    fn repository(
        &self,
        pin: &LockedRepository,
    ) -> impl Future<Output = Result<SharedTree, AppFailure>> + Send;
}

/// The tree of another repository.
pub(super) type Outside = Result<SharedTree, AppFailure>;

fn not_locked(app: &App) -> AppFailure {
    let why = "the source is not pinned in countersign.lock; run `countersign lock`";
    AppFailure::new("LOCK_MISMATCH", why).at(app.place.file.to_string(), app.place.line)
}

/// Fetches the repository that an app's files lie in; `None` if they lie in none. An archive is fetched only if what it
/// renders to is not known.
pub(super) async fn fetch<S: Sources>(
    sources: &S,
    app: &App,
    fleet: &Fleet,
) -> Option<(String, Outside)> {
    let Source::Git(source) = &app.source else {
        return None;
    };
    let fetched = match fleet.lock.repository(source) {
        None => Err(not_locked(app)),
        Some(pin) => sources.repository(pin).await,
    };
    Some((app.name.clone(), fetched))
}

/// Archives that a render needs, fetched just before it.
#[derive(Default)]
pub(super) struct Wanted {
    chart: Option<ChartPin>,
    dependencies: Vec<(String, ChartPin)>,
}

impl Wanted {
    /// Names all of it, by digest.
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, pin) in &self.dependencies {
            text.push_str(&format!("{name}={}\n", pin.digest()));
        }
        if let Some(pin) = &self.chart {
            text.push_str(&pin.digest().to_string());
        }
        text
    }

    /// Puts the archives into the request.
    pub(super) async fn bring<S: Sources>(
        self,
        sources: &S,
        request: &mut RenderRequest,
    ) -> Result<(), AppFailure> {
        let How::Helm(helm) = &mut request.how else {
            return Ok(());
        };
        if let Some(pin) = &self.chart {
            helm.chart = Chart::Archive(archive(sources, pin).await?);
        }
        for (name, pin) in self.dependencies {
            let content = archive(sources, &pin).await?;
            helm.dependencies.push((name, content));
        }
        let chart = match &helm.chart {
            Chart::Archive(content) => content.len(),
            Chart::Folder(_) => 0,
        };
        let all = helm.dependencies.iter().map(|(_, content)| content.len());
        if chart + all.sum::<usize>() > ARCHIVES_BYTES_MAX {
            let why =
                format!("the chart's archives have more than {ARCHIVES_BYTES_MAX} bytes together");
            return Err(AppFailure::new("SIZE_LIMIT", why));
        }
        Ok(())
    }
}

async fn archive<S: Sources>(sources: &S, pin: &ChartPin) -> Result<Bytes, AppFailure> {
    match pin {
        ChartPin::Chart(pin) => sources.chart(pin).await,
        ChartPin::Artifact(pin) => sources.artifact(pin).await,
    }
}

/// What decides a render beside the app and its files.
pub(super) struct Versions {
    pub(super) renderer: String,
    pub(super) kubernetes: String,
    pub(super) apis: Vec<String>,
}

/// What is to be done for an app.
pub(super) struct Prepared {
    pub(super) files: Arc<dyn Files>,
    pub(super) from_git: bool,
    pub(super) chart: bool,
    pub(super) work: Work,
}

pub(super) enum Work {
    Known(Known, Arc<Reads>),
    /// Files as they are; those that nobody has parsed yet are asked for.
    Plain {
        files: Vec<(String, String)>,
        missing: Vec<(String, String)>,
        request: Option<RenderRequest>,
    },
    /// A build whose reads are traced.
    Traced {
        key: Key,
        request: RenderRequest,
        wanted: Wanted,
    },
}

/// Looks an app up in one tree.
pub(super) struct Look<'a> {
    pub(super) tree: &'a SharedTree,
    pub(super) lock: &'a Lock,
    pub(super) cluster: &'a Cluster,
    pub(super) versions: &'a Versions,
    pub(super) cache: &'a RenderCache,
    pub(super) change: Option<&'a Change>,
}

impl From<TreeFault> for AppFailure {
    fn from(fault: TreeFault) -> Self {
        AppFailure::new("FILES_FAULT", fault.to_string()).as_fault()
    }
}

fn spec(field: &str, why: impl Into<String>, app: &App) -> AppFailure {
    let mut failure = AppFailure::new("SPEC_INVALID", why);
    failure.field = field.to_owned();
    failure.at(app.place.file.to_string(), app.place.line)
}

impl Look<'_> {
    /// What is to be done; into `reads` goes what decided that.
    pub(super) fn prepare(
        &self,
        app: &App,
        outside: Option<Outside>,
        reads: &mut Reads,
    ) -> Result<Prepared, AppFailure> {
        let outside = outside.transpose()?;
        match &app.source {
            Source::ClusterFolder { folder, except } => self.implied(folder, except, reads),
            Source::Path(path) => {
                let at = self.path(app, "spec.source.path", path, &RepoPath::root())?;
                self.folder(app, self.tree, &at, None, reads)
            }
            Source::Git(git) => {
                let tree = outside
                    .ok_or_else(|| spec("spec.source", "was not fetched", app).as_fault())?;
                let at = git.path.clone().unwrap_or_default();
                let id = tree.id().to_owned();
                self.folder(app, &tree, &at, Some(&id), reads)
            }
            Source::Helm(source) => {
                let pin = self.lock.chart(source).ok_or_else(|| not_locked(app))?;
                self.packed(app, ChartPin::Chart(pin.clone()))
            }
            Source::Oci(source) => {
                let pin = self.lock.artifact(source).ok_or_else(|| not_locked(app))?;
                self.packed(app, ChartPin::Artifact(pin.clone()))
            }
        }
    }

    /// A chart that comes as an archive.
    fn packed(&self, app: &App, pin: ChartPin) -> Result<Prepared, AppFailure> {
        let needs = pin.dependencies().iter();
        let dependencies = needs
            .map(|needed| self.dependency(needed, LOCK_FILE, 0, ""))
            .collect::<Result<_, _>>()?;
        let helm = self.helm(app, Chart::Archive(Bytes::new()))?;
        let wanted = Wanted {
            chart: Some(pin),
            dependencies,
        };
        self.traced(self.tree.clone(), How::Helm(helm), "", wanted)
    }

    fn dependency(
        &self,
        needed: &LockedDependency,
        file: &str,
        line: u32,
        field: &str,
    ) -> Result<(String, ChartPin), AppFailure> {
        let Some(pin) = self.lock.dependency(needed) else {
            let why = not_pinned(needed);
            let mut failure = AppFailure::new("LOCK_MISMATCH", why).at(file, line);
            failure.field = field.to_owned();
            return Err(failure);
        };
        Ok((pin.file_name(), pin))
    }

    /// What a chart in a folder needs from elsewhere. A description that can't be read is the renderer's to refuse.
    fn dependencies(
        &self,
        tree: &SharedTree,
        at: &RepoPath,
    ) -> Result<Vec<(String, ChartPin)>, AppFailure> {
        let all = dependency::of_folder(tree, at)?.unwrap_or_default();
        let file = at.child("Chart.yaml");
        all.iter()
            .filter_map(|one| Some((one, one.needed.as_ref()?)))
            .map(|(one, needed)| self.dependency(needed, file.as_str(), one.line, &one.field))
            .collect()
    }

    fn path(
        &self,
        app: &App,
        field: &str,
        text: &str,
        base: &RepoPath,
    ) -> Result<RepoPath, AppFailure> {
        let filled = fill(text, self.cluster).map_err(|why| spec(field, why.to_string(), app))?;
        base.join(&filled).map_err(|why| {
            let mut failure = spec(field, format!("{filled:?} {why}"), app);
            "PATH_ESCAPE".clone_into(&mut failure.code);
            failure
        })
    }

    fn folder(
        &self,
        app: &App,
        tree: &SharedTree,
        at: &RepoPath,
        elsewhere: Option<&str>,
        reads: &mut Reads,
    ) -> Result<Prepared, AppFailure> {
        if elsewhere.is_none() {
            reads.add(at, &tree.links(at)?);
        }
        let kind = match tree.stat(at)? {
            Stat::Absent => {
                let why = format!("there is no file or folder {at}");
                return Err(spec("spec.source.path", why, app));
            }
            Stat::Refused(refusal) => {
                return Err(AppFailure::new(refusal.code(), format!("{at} {refusal}"))
                    .at(at.to_string(), 0));
            }
            kind => kind,
        };
        let is_folder = matches!(kind, Stat::Folder { .. });
        match &app.render {
            Render::Helm { .. } => self.chart(app, tree, at, elsewhere),
            Render::Kustomize(path) => {
                let at = match path {
                    Some(path) => self.path(app, "spec.render.kustomize.path", path, at)?,
                    None => at.clone(),
                };
                self.kustomize(tree, &at, elsewhere)
            }
            Render::Auto if is_folder && has_file(tree, &at.child("Chart.yaml"))? => {
                self.chart(app, tree, at, elsewhere)
            }
            Render::Auto if is_folder && is_kustomization(tree, at)? => {
                self.kustomize(tree, at, elsewhere)
            }
            Render::Auto | Render::Plain => {
                let mut files = Vec::new();
                if let Stat::File { oid, .. } = kind {
                    files.push((at.as_str().to_owned(), oid));
                } else {
                    collect(tree, at, &[], true, &mut files, reads)?;
                }
                Ok(self.plain(tree, files))
            }
        }
    }

    fn implied(
        &self,
        folder: &RepoPath,
        except: &[RepoPath],
        reads: &mut Reads,
    ) -> Result<Prepared, AppFailure> {
        reads.add(folder, &self.tree.links(folder)?);
        if is_kustomization(self.tree, folder)? {
            return self.kustomize(self.tree, folder, None);
        }
        let mut files = Vec::new();
        collect(self.tree, folder, except, true, &mut files, reads)?;
        Ok(self.plain(self.tree, files))
    }

    fn plain(&self, tree: &SharedTree, files: Vec<(String, String)>) -> Prepared {
        let missing = self.cache.missing(&self.versions.renderer, &files);
        let request = (!missing.is_empty()).then(|| {
            self.request(How::Plain {
                files: missing.iter().map(|(path, _)| path.clone()).collect(),
            })
        });
        Prepared {
            files: Arc::new(TreeFiles(tree.clone())),
            from_git: true,
            chart: false,
            work: Work::Plain {
                files,
                missing,
                request,
            },
        }
    }

    fn kustomize(
        &self,
        tree: &SharedTree,
        at: &RepoPath,
        elsewhere: Option<&str>,
    ) -> Result<Prepared, AppFailure> {
        let how = How::Kustomize {
            folder: at.as_str().to_owned(),
        };
        let outside = elsewhere.unwrap_or_default();
        self.traced(tree.clone(), how, outside, Wanted::default())
    }

    fn chart(
        &self,
        app: &App,
        tree: &SharedTree,
        at: &RepoPath,
        elsewhere: Option<&str>,
    ) -> Result<Prepared, AppFailure> {
        let wanted = Wanted {
            chart: None,
            dependencies: self.dependencies(tree, at)?,
        };
        // Values are always the fleet's own files: another repository's chart is mounted beside them.
        let (tree, folder): (SharedTree, String) = match elsewhere {
            None => (tree.clone(), at.as_str().to_owned()),
            Some(_) => {
                let mount = RepoPath::root().child(MOUNT);
                let folder = match at.as_str() {
                    "" => MOUNT.to_owned(),
                    path => format!("{MOUNT}/{path}"),
                };
                let overlay = OverlayTree::new(self.tree.clone(), mount, tree.clone());
                (Arc::new(overlay), folder)
            }
        };
        let helm = self.helm(app, Chart::Folder(folder))?;
        let outside = elsewhere.unwrap_or_default();
        self.traced(tree, How::Helm(helm), outside, wanted)
    }

    fn helm(&self, app: &App, chart: Chart) -> Result<Helm, AppFailure> {
        let mut all = Vec::new();
        if let Render::Helm {
            value_files,
            ignore_missing,
            values,
        } = &app.render
        {
            for (index, file) in value_files.iter().enumerate() {
                let field = format!("spec.render.helm.valueFiles[{index}]");
                let path = self.path(app, &field, file, &RepoPath::root())?;
                all.push(Values::File {
                    path: path.as_str().to_owned(),
                    optional: *ignore_missing,
                });
            }
            if !values.is_empty() {
                let filled = fill_map(values, self.cluster)
                    .map_err(|why| spec("spec.render.helm.values", why.to_string(), app))?;
                all.push(Values::Inline(filled));
            }
        }
        Ok(Helm {
            chart,
            values: all,
            release_name: app.name.clone(),
            namespace: app.namespace.clone(),
            dependencies: Vec::new(),
        })
    }

    fn traced(
        &self,
        tree: SharedTree,
        how: How,
        outside: &str,
        wanted: Wanted,
    ) -> Result<Prepared, AppFailure> {
        let chart = matches!(how, How::Helm(_));
        let request = self.request(how);
        let key = Key(Digest::of(
            self.key_text(&request, outside, &wanted).as_bytes(),
        ));
        let files: Arc<dyn Files> = Arc::new(TreeFiles(tree));
        let known = self
            .cache
            .look_up(key, files.as_ref(), self.tree.id(), self.change)
            .map_err(|fault| AppFailure::new("FILES_FAULT", fault.to_string()).as_fault())?;
        Ok(Prepared {
            files,
            from_git: !chart,
            chart,
            work: match known {
                Some((known, reads)) => Work::Known(known, reads),
                None => Work::Traced {
                    key,
                    request,
                    wanted,
                },
            },
        })
    }

    fn request(&self, how: How) -> RenderRequest {
        // Plain files and builds do not depend on what the cluster knows.
        let apis = matches!(how, How::Helm(_));
        RenderRequest {
            how,
            kubernetes_version: self.versions.kubernetes.clone(),
            api_versions: if apis {
                self.versions.apis.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// All that decides a render beside the files that it will turn out to read. Archives stand for themselves by the
    /// digests that they are fetched by; they are not in the request yet.
    fn key_text(&self, request: &RenderRequest, outside: &str, wanted: &Wanted) -> String {
        format!(
            "{}\n{outside}\n{}\n{}\n{:?}\n{:?}",
            self.versions.renderer,
            wanted.text(),
            request.kubernetes_version,
            request.api_versions,
            request.how
        )
    }
}

fn has_file(tree: &SharedTree, path: &RepoPath) -> Result<bool, TreeFault> {
    Ok(matches!(tree.stat(path)?, Stat::File { .. }))
}

fn is_kustomization(tree: &SharedTree, folder: &RepoPath) -> Result<bool, TreeFault> {
    for name in KUSTOMIZATIONS {
        if has_file(tree, &folder.child(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every manifest below a folder but dot-files, folders with their own kustomization, and what is excepted.
fn collect(
    tree: &SharedTree,
    folder: &RepoPath,
    except: &[RepoPath],
    top: bool,
    out: &mut Vec<(String, String)>,
    reads: &mut Reads,
) -> Result<(), AppFailure> {
    if !top && is_kustomization(tree, folder)? {
        return Ok(());
    }
    let listing = tree.list(folder)?;
    if let Some((name, refusal)) = listing.refused.first() {
        let why = format!("{name:?} {refusal}");
        return Err(AppFailure::new(refusal.code(), why).at(folder.to_string(), 0));
    }
    for entry in listing.entries {
        let path = folder.child(&entry.name);
        if entry.name.starts_with('.') || except.contains(&path) {
            continue;
        }
        if !entry.links.is_empty() {
            reads.add(&path, &entry.links);
        }
        match entry.stat {
            Stat::Folder { .. } => collect(tree, &path, except, false, out, reads)?,
            Stat::File { oid, .. } if is_manifest(&entry.name) => {
                out.push((path.as_str().to_owned(), oid));
                if out.len() > PLAIN_FILES_MAX {
                    let why = format!("has more than {PLAIN_FILES_MAX} files");
                    return Err(AppFailure::new("SIZE_LIMIT", why).at(folder.to_string(), 0));
                }
            }
            // A manifest that must not be read is not a manifest that is not there.
            Stat::Refused(refusal)
                if is_manifest(&entry.name) || refusal == crate::tree::TreeRefusal::Submodule =>
            {
                let why = format!("{path} {refusal}");
                return Err(AppFailure::new(refusal.code(), why).at(path.to_string(), 0));
            }
            Stat::File { .. } | Stat::Refused(_) | Stat::Absent => {}
        }
    }
    Ok(())
}
