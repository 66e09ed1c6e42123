//! An app on a cluster → what has to be rendered, or what is known of it already.
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;

use super::cache::{Change, Key, Known, RenderCache};
use super::collect::{collect, has_file, is_kustomization};
use super::fetch::{Outside, Wanted, not_locked};
use super::reads::Reads;
use crate::failure::AppFailure;
use crate::model::{App, Cluster, Render, Source};
use crate::path::RepoPath;
use crate::render::{Chart, Files, Helm, How, RenderRequest, Values};
use crate::source::dependency;
use crate::source::lock::{ChartPin, LOCK_FILE, Lock, LockedDependency};
use crate::source::unpinned::not_pinned;
use crate::template::{fill, fill_map};
use crate::tree::overlay::OverlayTree;
use crate::tree::{SharedTree, Stat, TreeFault, TreeFiles};

/// Where another repository's chart is mounted beside the fleet's own files.
const MOUNT: &str = "@source";

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
