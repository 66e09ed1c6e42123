//! One folder of `clusters/` → one cluster, and the apps that lie in it.
use std::collections::BTreeMap;

use super::{CLUSTER_FILE, FoundApp, Loader, at};
use crate::document::ClusterName;
use crate::mistake::{Place, Problem};
use crate::model::Cluster;
use crate::path::RepoPath;
use crate::tree::TreeFault;

impl Loader<'_> {
    pub(super) fn cluster_folder(
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
}
