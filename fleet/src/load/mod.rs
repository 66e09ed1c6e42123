//! `tree → (Fleet, all mistakes at once)`. Pure but for reading the tree; never gives up at the first mistake.
//!
//! Where a file lies is its scope: `clusters/<name>/` is one cluster and the apps in it are its own; files directly in
//! `clusters/` and in the folders that `fleet.yaml` names hold apps that choose their clusters by label. What lies in a
//! cluster's folder and is no document of ours is that cluster's implied app (DECISIONS 16). Files in `policies/health/`
//! hold rules for the health of whatever runs anywhere.
//!
//! Read first: [`load`]; then `file` (one file → its documents), `app` (a document → an [`App`]), `graph` (what waits for
//! what).
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::document::{ClusterName, Defaults};
use crate::mistake::{Mistake, Place, Problem};
use crate::model::{App, Cluster, Fleet, Render, Scope, Source};
use crate::path::RepoPath;
use crate::source::lock::{LOCK_FILE, Lock};
use crate::tree::{Entry, ReadError, Stat, Tree, TreeFault};

mod app;
mod file;
mod graph;
mod health;

pub use file::DocumentCache;
use file::{FileDocuments, Found};

/// Folder of the clusters.
pub const CLUSTERS: &str = "clusters";
/// The fleet's own document.
pub const FLEET_FILE: &str = "fleet.yaml";
/// A cluster's own document, in its folder.
pub const CLUSTER_FILE: &str = "cluster.yaml";
/// Most files that are looked into.
const FILES_MAX: usize = 100_000;
/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 32;

/// Reads a fleet.
///
/// # Errors
/// [`TreeFault`] if the tree's store can't answer: then nothing is known, which is not the same as an empty fleet.
pub fn load(tree: &dyn Tree) -> Result<(Fleet, Vec<Mistake>), TreeFault> {
    load_with(tree, &DocumentCache::default())
}

/// [`load`], remembering what each file holds by its id, so that the next commit parses only what it changed.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    tree: &dyn Tree,
    cache: &DocumentCache,
) -> Result<(Fleet, Vec<Mistake>), TreeFault> {
    let mut loader = Loader {
        tree,
        cache,
        files: 0,
        fleet: Fleet::default(),
        mistakes: Vec::new(),
        app_places: BTreeMap::new(),
        defaults: Defaults::default(),
    };
    loader.run()?;
    let Loader {
        mut fleet,
        mut mistakes,
        ..
    } = loader;
    mistakes.sort();
    mistakes.dedup();
    fleet.unreadable.sort();
    Ok((fleet, mistakes))
}

struct Loader<'a> {
    tree: &'a dyn Tree,
    cache: &'a DocumentCache,
    files: usize,
    fleet: Fleet,
    mistakes: Vec<Mistake>,
    app_places: BTreeMap<String, Place>,
    defaults: Defaults,
}

/// An app's document that was found, with its scope.
struct FoundApp {
    found: Found<crate::document::AppDocument>,
    file: RepoPath,
    cluster: Option<String>,
}

fn at(file: &RepoPath, line: u32, field: &str, problem: Problem) -> Mistake {
    Mistake {
        file: file.clone(),
        line,
        field: field.to_owned(),
        problem,
    }
}

impl Loader<'_> {
    fn run(&mut self) -> Result<(), TreeFault> {
        let mut app_folders = Vec::new();
        self.fleet_file(&mut app_folders)?;
        self.lock_file()?;
        self.health_rules()?;
        let clusters = RepoPath::root().child(CLUSTERS);
        self.fleet.folders.insert(clusters.clone());
        let listing = self.tree.list(&clusters)?;
        if listing.entries.is_empty() && self.tree.stat(&clusters)? == Stat::Absent {
            let problem = Problem::NoSuchPath {
                what: "folder",
                path: clusters.clone(),
            };
            self.mistakes.push(at(&RepoPath::root(), 0, "", problem));
        }
        self.refused_names(&clusters, &listing.refused);
        let mut apps = Vec::new();
        for entry in &listing.entries {
            let path = clusters.child(&entry.name);
            match &entry.stat {
                Stat::Folder { .. } if entry.name.starts_with('.') => {}
                Stat::Folder { .. } => self.cluster_folder(&entry.name, &path, &mut apps)?,
                _ => self.app_file(entry, &path, None, &mut apps)?,
            }
        }
        for folder in app_folders {
            let mut files = Vec::new();
            self.walk(&folder, &mut files, 0)?;
            for (entry, path) in files {
                self.app_file(&entry, &path, None, &mut apps)?;
            }
        }
        self.take_apps(apps)?;
        self.implied_apps();
        let cycles = graph::check(&self.fleet.apps, &self.fleet.broken_apps);
        for (name, mistake) in cycles {
            self.mistakes.push(mistake.clone());
            self.fleet.apps.remove(&name);
            self.fleet
                .broken_apps
                .entry(name)
                .or_default()
                .push(mistake);
        }
        Ok(())
    }

    fn fleet_file(&mut self, app_folders: &mut Vec<RepoPath>) -> Result<(), TreeFault> {
        let path = RepoPath::root().child(FLEET_FILE);
        let stat = self.tree.stat(&path)?;
        let Some(documents) = self.documents(&stat, &path)? else {
            return Ok(());
        };
        let mut documents = documents.as_ref().clone();
        for broken in &documents.broken_apps {
            self.fleet.unreadable.extend(broken.mistakes.clone());
        }
        // Without the fleet's document, its folders and defaults are unknown: nothing found or missing is certain.
        self.fleet.unreadable.extend(documents.broken_other.clone());
        for found in documents.apps.drain(..) {
            let problem =
                Problem::Misplaced("an App stands below clusters/ or in a folder of appFolders");
            self.mistakes.push(at(&path, found.line, "", problem));
        }
        for found in documents.clusters.drain(..) {
            let problem = Problem::Misplaced("a Cluster stands in clusters/<name>/cluster.yaml");
            self.mistakes.push(at(&path, found.line, "", problem));
        }
        for found in documents.health.drain(..) {
            let problem = Problem::Misplaced("HealthRules stand in policies/health/");
            self.mistakes.push(at(&path, found.line, "", problem));
        }
        for (index, found) in documents.fleets.into_iter().enumerate() {
            if index > 0 {
                let problem = Problem::Misplaced("there is one Fleet");
                self.mistakes.push(at(&path, found.line, "", problem));
                continue;
            }
            self.fleet.name = Some(found.document.metadata.name.to_string());
            let spec = found.document.spec;
            self.fleet.levels = spec.levels;
            self.defaults = spec.defaults;
            for (index, folder) in spec.app_folders.into_iter().enumerate() {
                let field = format!("spec.appFolders[{index}]");
                let line = found.node.line_of(&field);
                self.fleet.folders.insert(folder.clone());
                match self.tree.stat(&folder)? {
                    Stat::Folder { .. } if folder.within(&RepoPath::root().child(CLUSTERS)) => {
                        let problem = Problem::Misplaced("clusters/ is always looked into");
                        self.mistakes.push(at(&path, line, &field, problem));
                    }
                    Stat::Folder { .. } => app_folders.push(folder),
                    _ => {
                        let problem = Problem::NoSuchPath {
                            what: "folder",
                            path: folder,
                        };
                        let mistake = at(&path, line, &field, problem);
                        self.fleet.unreadable.push(mistake.clone());
                        self.mistakes.push(mistake);
                    }
                }
            }
        }
        Ok(())
    }

    fn lock_file(&mut self) -> Result<(), TreeFault> {
        let path = RepoPath::root().child(LOCK_FILE);
        if self.tree.stat(&path)? == Stat::Absent {
            return Ok(());
        }
        match self.tree.read(&path) {
            Ok(content) => match std::str::from_utf8(&content) {
                Ok(text) => match Lock::parse(&path, text) {
                    Ok(lock) => self.fleet.lock = lock,
                    Err(mistakes) => self.mistakes.extend(mistakes),
                },
                Err(_) => self.mistakes.push(at(&path, 0, "", Problem::NotUtf8)),
            },
            Err(ReadError::Fault(fault)) => return Err(fault),
            Err(error) => {
                let problem = Problem::Other(error.to_string());
                self.mistakes.push(at(&path, 0, "", problem));
            }
        }
        Ok(())
    }

    fn cluster_folder(
        &mut self,
        name: &str,
        folder: &RepoPath,
        apps: &mut Vec<FoundApp>,
    ) -> Result<(), TreeFault> {
        if let Err(why) = ClusterName::new(name) {
            let found = name.to_owned();
            self.mistakes
                .push(at(folder, 0, "", Problem::Form { found, why }));
            return Ok(());
        }
        let mut cluster = Cluster {
            name: name.to_owned(),
            place: Place {
                file: folder.clone(),
                line: 0,
            },
            labels: BTreeMap::new(),
            ring: None,
            parameters: serde_json::Map::new(),
            kubernetes: Default::default(),
        };
        let mut broken = Vec::new();
        let mut files = Vec::new();
        self.walk(folder, &mut files, 0)?;
        let own = folder.child(CLUSTER_FILE);
        for (entry, path) in files {
            let before = self.mistakes.len();
            let documents = self.documents(&entry.stat, &path)?;
            let Some(documents) = documents else {
                if path == own {
                    broken.extend(self.mistakes.iter().skip(before).cloned());
                }
                continue;
            };
            if path == own {
                broken.extend(documents.broken_other.clone());
            }
            for found in &documents.clusters {
                if path != own {
                    let problem =
                        Problem::Misplaced("a Cluster stands in clusters/<name>/cluster.yaml");
                    self.mistakes.push(at(&path, found.line, "", problem));
                    continue;
                }
                if found.document.metadata.name.as_str() != name {
                    let line = found.node.line_of("metadata.name");
                    let problem = Problem::Form {
                        found: found.document.metadata.name.to_string(),
                        why: format!("must be {name}, the name of the folder"),
                    };
                    let mistake = at(&path, line, "metadata.name", problem);
                    self.mistakes.push(mistake.clone());
                    broken.push(mistake);
                }
                let spec = found.document.spec.clone();
                cluster.place = Place {
                    file: path.clone(),
                    line: found.line,
                };
                cluster.labels = spec.labels;
                cluster.ring = spec.ring.map(|ring| ring.to_string());
                cluster.parameters = spec.parameters;
                cluster.kubernetes = spec.kubernetes;
            }
            self.other_documents(&documents, &path, Some(name), apps);
        }
        cluster
            .labels
            .entry("name".to_owned())
            .or_insert_with(|| name.to_owned());
        if broken.is_empty() {
            self.fleet.clusters.insert(name.to_owned(), cluster);
        } else {
            self.fleet.broken_clusters.insert(name.to_owned(), broken);
        }
        Ok(())
    }

    fn app_file(
        &mut self,
        entry: &Entry,
        path: &RepoPath,
        cluster: Option<&str>,
        apps: &mut Vec<FoundApp>,
    ) -> Result<(), TreeFault> {
        if let Some(documents) = self.documents(&entry.stat, path)? {
            for found in &documents.clusters {
                let problem =
                    Problem::Misplaced("a Cluster stands in clusters/<name>/cluster.yaml");
                self.mistakes.push(at(path, found.line, "", problem));
            }
            self.other_documents(&documents, path, cluster, apps);
        }
        Ok(())
    }

    fn other_documents(
        &mut self,
        documents: &FileDocuments,
        path: &RepoPath,
        cluster: Option<&str>,
        apps: &mut Vec<FoundApp>,
    ) {
        for found in &documents.fleets {
            let problem = Problem::Misplaced("the Fleet stands in fleet.yaml at the root");
            self.mistakes.push(at(path, found.line, "", problem));
        }
        for found in &documents.health {
            let problem = Problem::Misplaced("HealthRules stand in policies/health/");
            self.mistakes.push(at(path, found.line, "", problem));
        }
        for broken in &documents.broken_apps {
            match &broken.name {
                Some(name) => self
                    .fleet
                    .broken_apps
                    .entry(name.clone())
                    .or_default()
                    .extend(broken.mistakes.clone()),
                None => self.fleet.unreadable.extend(broken.mistakes.clone()),
            }
        }
        apps.extend(documents.apps.iter().cloned().map(|found| FoundApp {
            found,
            file: path.clone(),
            cluster: cluster.map(str::to_owned),
        }));
    }

    /// The documents of a file; `None` if it has none or can't be read, which is then a mistake.
    fn documents(
        &mut self,
        stat: &Stat,
        path: &RepoPath,
    ) -> Result<Option<Arc<FileDocuments>>, TreeFault> {
        if !is_manifest(path.name()) {
            return Ok(None);
        }
        match stat {
            Stat::Absent | Stat::Folder { .. } => return Ok(None),
            Stat::Refused(refusal) => {
                let mistake = at(path, 0, "", Problem::Tree(refusal.clone()));
                self.fleet.unreadable.push(mistake.clone());
                self.mistakes.push(mistake);
                return Ok(None);
            }
            Stat::File { .. } => {}
        }
        self.files += 1;
        if self.files > FILES_MAX {
            let problem = Problem::TooMany {
                what: "files",
                max: FILES_MAX,
            };
            let mistake = at(&RepoPath::root(), 0, "", problem);
            if !self.fleet.unreadable.contains(&mistake) {
                self.fleet.unreadable.push(mistake.clone());
                self.mistakes.push(mistake);
            }
            return Ok(None);
        }
        let documents = self.cache.documents(self.tree, stat, path)?;
        self.mistakes.extend(documents.mistakes.iter().cloned());
        self.fleet.unreadable.extend(documents.unreadable.clone());
        if documents.is_ours() {
            self.fleet.document_files.insert(path.clone());
        }
        Ok(Some(documents))
    }

    fn refused_names(&mut self, folder: &RepoPath, names: &[(String, crate::tree::TreeRefusal)]) {
        for (name, refusal) in names {
            let problem = Problem::TreeName {
                name: name.clone(),
                refusal: refusal.clone(),
            };
            let mistake = at(folder, 0, "", problem);
            self.fleet.unreadable.push(mistake.clone());
            self.mistakes.push(mistake);
        }
    }

    fn walk(
        &mut self,
        folder: &RepoPath,
        out: &mut Vec<(Entry, RepoPath)>,
        depth: usize,
    ) -> Result<(), TreeFault> {
        if depth > DEPTH_MAX {
            let problem = Problem::TooMany {
                what: "folders in each other",
                max: DEPTH_MAX,
            };
            let mistake = at(folder, 0, "", problem);
            self.fleet.unreadable.push(mistake.clone());
            self.mistakes.push(mistake);
            return Ok(());
        }
        let listing = self.tree.list(folder)?;
        self.refused_names(folder, &listing.refused);
        for entry in listing.entries {
            let path = folder.child(&entry.name);
            if entry.name.starts_with('.') {
                continue;
            }
            if matches!(entry.stat, Stat::Folder { .. }) {
                self.walk(&path, out, depth + 1)?;
            } else {
                out.push((entry, path));
            }
        }
        Ok(())
    }

    fn take_apps(&mut self, found: Vec<FoundApp>) -> Result<(), TreeFault> {
        let mut twice = BTreeSet::new();
        for candidate in &found {
            let name = candidate.found.document.metadata.name.to_string();
            let place = Place {
                file: candidate.file.clone(),
                line: candidate.found.line,
            };
            let other = match self.app_places.get(&name) {
                Some(other) => Some(other.clone()),
                None => self.fleet.clusters.get(&name).map(|c| c.place.clone()),
            };
            match other {
                Some(other) => {
                    let line = candidate.found.node.line_of("metadata.name");
                    let problem = Problem::NameTaken {
                        name: name.clone(),
                        other,
                    };
                    let mistake = at(&candidate.file, line, "metadata.name", problem);
                    self.mistakes.push(mistake.clone());
                    // A cluster's own app keeps its name; of two documents nobody knows which is meant.
                    if !self.fleet.clusters.contains_key(&name) {
                        self.fleet
                            .broken_apps
                            .entry(name.clone())
                            .or_default()
                            .push(mistake);
                    }
                    twice.insert(name);
                }
                None => {
                    self.app_places.insert(name, place);
                }
            }
        }
        for candidate in found {
            let name = candidate.found.document.metadata.name.to_string();
            if twice.contains(&name) {
                continue;
            }
            let (app, mistakes) = app::read(
                self.tree,
                &candidate.found,
                &candidate.file,
                candidate.cluster.as_deref(),
                &self.defaults,
                &self.fleet,
            )?;
            let broken: Vec<Mistake> = mistakes
                .iter()
                .filter(|mistake| mistake.problem.breaks())
                .cloned()
                .collect();
            self.mistakes.extend(mistakes);
            match app {
                Some(app) if broken.is_empty() && !self.fleet.broken_apps.contains_key(&name) => {
                    self.fleet.apps.insert(name, app);
                }
                _ => self
                    .fleet
                    .broken_apps
                    .entry(name)
                    .or_default()
                    .extend(broken),
            }
        }
        Ok(())
    }

    fn implied_apps(&mut self) {
        for cluster in self.fleet.clusters.values() {
            let folder = RepoPath::root().child(CLUSTERS).child(&cluster.name);
            let except = self
                .fleet
                .apps
                .values()
                .filter_map(|app| match &app.source {
                    Source::Path(path) => RepoPath::parse(path).ok(),
                    _ => None,
                })
                .filter(|path| path.within(&folder) && *path != folder)
                .collect();
            let app = App {
                name: cluster.name.clone(),
                place: Place {
                    file: folder.clone(),
                    line: 0,
                },
                scope: Scope::Cluster(cluster.name.clone()),
                source: Source::ClusterFolder { folder, except },
                render: Render::Auto,
                ..app::implied(&self.defaults)
            };
            self.fleet.apps.insert(cluster.name.clone(), app);
        }
    }
}

/// Whether a file of this name may hold objects or documents.
pub fn is_manifest(name: &str) -> bool {
    !name.starts_with('.')
        && [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.len() > end.len() && name.ends_with(end))
}

#[cfg(test)]
mod tests;
