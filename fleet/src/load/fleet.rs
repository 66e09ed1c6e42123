//! What stands at the root: `fleet.yaml` and the lock file.
use super::{CLUSTERS, FLEET_FILE, Loader, at};
use crate::mistake::Problem;
use crate::path::RepoPath;
use crate::source::lock::{LOCK_FILE, Lock};
use crate::tree::{ReadError, Stat, TreeFault};

impl Loader<'_> {
    pub(super) fn fleet_file(&mut self, app_folders: &mut Vec<RepoPath>) -> Result<(), TreeFault> {
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

    pub(super) fn lock_file(&mut self) -> Result<(), TreeFault> {
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
}
