//! An app on a cluster → what has to be rendered, or what is known of it already.
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;

use super::cache::{Change, Key, Known, RenderCache};
use super::reads::Reads;
use crate::failure::AppFailure;
use crate::load::is_manifest;
use crate::model::{App, Cluster, Fleet, Render, Source};
use crate::path::RepoPath;
use crate::render::{Chart, Files, Helm, How, RenderRequest, Values};
use crate::source::lock::{LockedArtifact, LockedChart, LockedRepository};
use crate::template::{fill, fill_map};
use crate::tree::overlay::OverlayTree;
use crate::tree::{SharedTree, Stat, TreeFault, TreeFiles};

/// Most files of one plain app.
const PLAIN_FILES_MAX: usize = 20_000;
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

/// What came from elsewhere.
pub(super) enum Outside {
    Archive(String, Bytes),
    Tree(SharedTree),
}

pub(super) type Fetched = Result<Outside, AppFailure>;

/// Fetches what an app needs from elsewhere; `None` if it needs nothing.
pub(super) async fn fetch<S: Sources>(sources: &S, app: &App, fleet: &Fleet) -> Option<Fetched> {
    let not_locked = || {
        let why = "the source is not pinned in countersign.lock; run `countersign lock`";
        AppFailure::new("LOCK_MISMATCH", why).at(app.place.file.to_string(), app.place.line)
    };
    Some(match &app.source {
        Source::Path(_) | Source::ClusterFolder { .. } => return None,
        Source::Helm(source) => match fleet.lock.chart(source) {
            None => Err(not_locked()),
            Some(pin) => sources
                .chart(pin)
                .await
                .map(|archive| Outside::Archive(pin.digest.to_string(), archive)),
        },
        Source::Oci(source) => match fleet.lock.artifact(source) {
            None => Err(not_locked()),
            Some(pin) => sources
                .artifact(pin)
                .await
                .map(|archive| Outside::Archive(pin.digest.to_string(), archive)),
        },
        Source::Git(source) => match fleet.lock.repository(source) {
            None => Err(not_locked()),
            Some(pin) => sources.repository(pin).await.map(Outside::Tree),
        },
    })
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
    },
}

/// Looks an app up in one tree.
pub(super) struct Look<'a> {
    pub(super) tree: &'a SharedTree,
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
        outside: Option<Fetched>,
        reads: &mut Reads,
    ) -> Result<Prepared, AppFailure> {
        match outside.transpose()? {
            Some(Outside::Archive(digest, archive)) => {
                let helm = self.helm(app, Chart::Archive(archive))?;
                self.traced(app, self.tree.clone(), How::Helm(helm), &digest)
            }
            Some(Outside::Tree(tree)) => {
                let at = match &app.source {
                    Source::Git(git) => git.path.clone().unwrap_or_default(),
                    _ => RepoPath::root(),
                };
                let id = tree.id().to_owned();
                self.folder(app, &tree, &at, Some(&id), reads)
            }
            None => match &app.source {
                Source::ClusterFolder { folder, except } => {
                    self.implied(app, folder, except, reads)
                }
                Source::Path(path) => {
                    let at = self.path(app, "spec.source.path", path, &RepoPath::root())?;
                    self.folder(app, self.tree, &at, None, reads)
                }
                Source::Git(_) | Source::Helm(_) | Source::Oci(_) => {
                    Err(spec("spec.source", "was not fetched", app).as_fault())
                }
            },
        }
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
                self.kustomize(app, tree, &at, elsewhere)
            }
            Render::Auto if is_folder && has_file(tree, &at.child("Chart.yaml"))? => {
                self.chart(app, tree, at, elsewhere)
            }
            Render::Auto if is_folder && is_kustomization(tree, at)? => {
                self.kustomize(app, tree, at, elsewhere)
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
        app: &App,
        folder: &RepoPath,
        except: &[RepoPath],
        reads: &mut Reads,
    ) -> Result<Prepared, AppFailure> {
        reads.add(folder, &self.tree.links(folder)?);
        if is_kustomization(self.tree, folder)? {
            return self.kustomize(app, self.tree, folder, None);
        }
        let mut files = Vec::new();
        collect(self.tree, folder, except, true, &mut files, reads)?;
        Ok(self.plain(self.tree, files))
    }

    fn plain(&self, tree: &SharedTree, files: Vec<(String, String)>) -> Prepared {
        let missing = self.cache.missing(&files);
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
        app: &App,
        tree: &SharedTree,
        at: &RepoPath,
        elsewhere: Option<&str>,
    ) -> Result<Prepared, AppFailure> {
        let how = How::Kustomize {
            folder: at.as_str().to_owned(),
        };
        self.traced(app, tree.clone(), how, elsewhere.unwrap_or_default())
    }

    fn chart(
        &self,
        app: &App,
        tree: &SharedTree,
        at: &RepoPath,
        elsewhere: Option<&str>,
    ) -> Result<Prepared, AppFailure> {
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
        self.traced(app, tree, How::Helm(helm), elsewhere.unwrap_or_default())
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
        app: &App,
        tree: SharedTree,
        how: How,
        outside: &str,
    ) -> Result<Prepared, AppFailure> {
        let _ = app;
        let chart = matches!(how, How::Helm(_));
        let request = self.request(how);
        let key = Key(Digest::of(self.key_text(&request, outside).as_bytes()));
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
                None => Work::Traced { key, request },
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

    /// All that decides a render beside the files that it will turn out to read. An archive stands for itself by the
    /// digest that it was fetched by.
    fn key_text(&self, request: &RenderRequest, outside: &str) -> String {
        let how = match &request.how {
            How::Helm(helm) => {
                let mut helm = helm.clone();
                if let Chart::Archive(archive) = &mut helm.chart {
                    *archive = Bytes::new();
                }
                How::Helm(helm)
            }
            other => other.clone(),
        };
        format!(
            "{}\n{outside}\n{}\n{:?}\n{how:?}",
            self.versions.renderer, request.kubernetes_version, request.api_versions
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
