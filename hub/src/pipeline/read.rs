//! What a commit changed, and what was in force before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::desired::Change;
use countersign_fleet::load;
use countersign_fleet::mistake::Mistake;
use countersign_fleet::model::Fleet;
use countersign_fleet::tree::{GitStore, SharedTree, changes::changes};
use countersign_ledger::Digest;

use crate::pipeline::policies::{self, Judges, PolicyFiles};
use crate::pipeline::{Pipeline, PipelineError};
use crate::track::tracker::Moved;

/// A commit that was read.
pub(super) struct Read {
    pub(super) tree: SharedTree,
    pub(super) tree_id: git2::Oid,
    pub(super) fleet: Arc<Fleet>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) judges: Judges,
    /// `None` before the first commit of this process: everything may have changed.
    pub(super) change: Option<Arc<Change>>,
    pub(super) same_fleet: bool,
    pub(super) same_judges: bool,
}

impl Pipeline {
    /// Reads what the commit changed, and no more. `permitted` are sets of admission policies that a person allowed.
    pub(super) async fn read(
        &mut self,
        moved: &Moved,
        permitted: BTreeSet<Digest>,
    ) -> Result<Read, PipelineError> {
        let mirror = self.parts.track.mirror().to_owned();
        let tree_id = moved.tree.oid().map_err(|_| PipelineError::Cut)?;
        let before = self
            .done
            .as_ref()
            .map(|done| (done.tree, done.fleet.clone(), done.mistakes.clone()));
        let policies_before = match &self.done {
            Some(done) => Some(done.in_force.clone()),
            None => self.policies_before().await,
        };
        let documents = Arc::clone(&self.documents);
        let sets_before = self.done.as_ref().map(|done| done.judges.clone());
        let open = self.store.clone();
        let read = move || -> Result<(Read, GitStore), PipelineError> {
            let store = match open {
                Some(store) => store,
                None => GitStore::open(&mirror)?,
            };
            let tree: SharedTree = Arc::new(store.tree(tree_id));
            let change = |old: git2::Oid| -> Result<Change, PipelineError> {
                let paths = changes(&store, Some(old), tree_id)?;
                Ok(Change {
                    from: old.to_string(),
                    to: tree_id.to_string(),
                    paths,
                })
            };
            let change = before
                .as_ref()
                .map(|(old, _, _)| change(*old))
                .transpose()?;
            let reusable = before.filter(|(_, fleet, _)| {
                change
                    .as_ref()
                    .is_some_and(|change| !may_change_fleet(fleet, &change.paths))
            });
            let (fleet, mistakes, same_fleet) = match reusable {
                Some((_, fleet, mistakes)) => (fleet, mistakes, true),
                None => {
                    let (fleet, mistakes) = load::load_with(&*tree, &documents)?;
                    (Arc::new(fleet), mistakes, false)
                }
            };
            let judges = policies::judges(policies_before, PolicyFiles::read(&*tree)?, |digest| {
                permitted.contains(digest)
            });
            let same_judges = sets_before.as_ref() == Some(&judges.sets);
            let change = change.map(Arc::new);
            let read = Read {
                tree,
                tree_id,
                fleet,
                mistakes,
                judges,
                change,
                same_fleet,
                same_judges,
            };
            Ok((read, store))
        };
        let (mut read, store) = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| PipelineError::Cut)??;
        self.store = Some(store);
        if let Some(done) = self.done.as_ref().filter(|done| done.fleet == read.fleet) {
            // The same one, so that what is known of it counts.
            read.fleet = Arc::clone(&done.fleet);
            read.same_fleet = true;
        }
        Ok(read)
    }

    /// Apps whose removal deletes, as the commit said that was sealed before this process started.
    pub(super) async fn removals_before(&self) -> BTreeSet<String> {
        let Some(commit) = self.last_sealed() else {
            return BTreeSet::new();
        };
        let (mirror, documents) = (
            self.parts.track.mirror().to_owned(),
            Arc::clone(&self.documents),
        );
        let load = move || {
            let tree = GitStore::open(&mirror)
                .ok()?
                .commit(git2::Oid::from_str(&commit).ok()?)
                .ok()?;
            Some(load::load_with(&tree, &documents).ok()?.0.removals())
        };
        // If it can't be read, what was removed is an orphan instead of a tombstone: kept and listed.
        tokio::task::spawn_blocking(load)
            .await
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Policies in force before this process started: those that last judged, and those of the last commit.
    async fn policies_before(&self) -> Option<PolicyFiles> {
        let heads = self.parts.sealer.heads().await;
        let commit = self.last_sealed()?;
        let newest = heads
            .values()
            .max_by_key(|head| (head.desired.commit == commit, head.desired.generation))?;
        let judged = match newest.desired.admission.policies {
            Some(digest) => self
                .parts
                .sealer
                .blob(&digest)
                .await
                .ok()
                .flatten()
                .and_then(|bytes| PolicyFiles::parse(&bytes)),
            None => Some(PolicyFiles::default()),
        };
        let mirror = self.parts.track.mirror().to_owned();
        let read = move || {
            let tree = GitStore::open(&mirror)
                .ok()?
                .commit(git2::Oid::from_str(&commit).ok()?)
                .ok()?;
            PolicyFiles::read(&tree).ok()
        };
        let last = tokio::task::spawn_blocking(read).await.ok().flatten();
        match (judged, last) {
            (Some(judged), Some(last)) => {
                Some(policies::judges(Some(judged), last, |_| false).in_force)
            }
            (judged, last) => judged.or(last),
        }
    }

    pub(super) fn last_sealed(&self) -> Option<String> {
        self.parts
            .sealer
            .last_source()
            .ok()
            .flatten()
            .map(|source| source.new)
    }
}

/// Whether files that changed can change the documents: all below the folders that were looked into or above one of
/// them, all at the root, and every file that holds one.
fn may_change_fleet(fleet: &Fleet, changed: &BTreeSet<String>) -> bool {
    let known: BTreeSet<&str> = fleet
        .document_files
        .iter()
        .map(|path| path.as_str())
        .collect();
    let below = |path: &str, folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    changed.iter().any(|path| {
        fleet
            .folders
            .iter()
            .any(|folder| below(path, folder.as_str()) || below(folder.as_str(), path))
            || !path.contains('/')
            || known.contains(path.as_str())
            || !fleet.unreadable.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use countersign_fleet::load::load;
    use countersign_fleet::tree::MemoryTree;

    use super::*;

    #[test]
    fn whatever_may_hold_a_document_is_read_again_when_it_changes() {
        let tree = MemoryTree::new([
            (
                "fleet.yaml",
                "apiVersion: countersign.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec: {appFolders: [teams/a]}\n",
            ),
            ("clusters/one/x.yaml", "kind: ConfigMap"),
            ("teams/a/keep.yaml", "kind: ConfigMap"),
        ]);
        let (fleet, mistakes) = load(&tree).unwrap();
        assert_eq!(mistakes, []);
        for (path, may) in [
            ("clusters/new.yaml", true),
            ("clusters", true),
            ("fleet.yaml", true),
            ("teams/a/new.yaml", true),
            ("teams/a", true),
            ("teams", true),
            ("policies/health/new.yaml", true),
            ("policies", true),
            ("policies/new.yaml", false),
            ("teams/ab/new.yaml", false),
            ("teams/b/new.yaml", false),
            ("manifests/apps/x.yaml", false),
        ] {
            let changed = BTreeSet::from([path.to_owned()]);
            assert_eq!(may_change_fleet(&fleet, &changed), may, "{path}");
        }
    }
}
