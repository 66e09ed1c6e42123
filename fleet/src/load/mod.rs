//! `tree → (Fleet, all mistakes at once)`. Pure but for reading the tree; never gives up at the first mistake.
//!
//! Where a file lies is its scope: `clusters/<name>/` is one cluster and the apps in it are its own; files directly in
//! `clusters/` and in the folders that `fleet.yaml` names hold apps that choose their clusters by label. What lies in a
//! cluster's folder and is no document of ours is that cluster's implied app (DECISIONS 16). Files in `policies/health/`
//! hold rules for the health of whatever runs anywhere.
//!
//! Read first: [`load`]; then `file` (one file → its documents), `app` (a document → an [`App`]), `graph` (what waits for
//! what).
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::Defaults;
use crate::mistake::{Mistake, Place, Problem};
use crate::model::Fleet;
use crate::path::RepoPath;
use crate::tree::{Entry, Stat, Tree, TreeFault};

mod app;
mod cluster;
mod file;
mod fleet;
mod graph;
mod health;
mod take;

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
