//! Documents that were found → the fleet's apps, each name once, and the apps that clusters' folders are.
use std::collections::BTreeSet;

use super::{CLUSTERS, FoundApp, Loader, app, at};
use crate::mistake::{Mistake, Place, Problem};
use crate::model::{App, Render, Scope, Source};
use crate::path::RepoPath;
use crate::tree::TreeFault;

impl Loader<'_> {
    pub(super) fn take_apps(&mut self, found: Vec<FoundApp>) -> Result<(), TreeFault> {
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

    pub(super) fn implied_apps(&mut self) {
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
