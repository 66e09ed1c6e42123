//! One commit, stage by stage.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::carry::{Previous, removal};
use countersign_fleet::desired::Change;
use countersign_fleet::load;
use countersign_fleet::mistake::Mistake;
use countersign_fleet::model::{Cluster, Fleet};
use countersign_fleet::tree::{GitStore, SharedTree, changes::changes};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::statement::Source;
use jiff::Timestamp;
use tracing::Instrument as _;

use crate::pipeline::cluster::{self, Outcome};
use crate::pipeline::policies::{self, Judges, PolicyFiles};
use crate::pipeline::repeat::{Differed, Once, Unrepeated};
use crate::pipeline::stage::Ask;
use crate::pipeline::{Done, Known, Pipeline, PipelineError, permits};
use crate::seal::{SourceEntry, Unsealed};
use crate::sealed;
use crate::serve::heads::Head;
use crate::track::signer;
use crate::track::tracker::Moved;

/// A commit that was read.
struct Read {
    tree: SharedTree,
    tree_id: git2::Oid,
    fleet: Arc<Fleet>,
    mistakes: Vec<Mistake>,
    judges: Judges,
    /// `None` before the first commit of this process: everything may have changed.
    change: Option<Arc<Change>>,
    same_fleet: bool,
    same_judges: bool,
}

/// A cluster whose next state was worked out.
struct Next {
    cluster: String,
    gone: BTreeSet<ObjectId>,
    recipient: Option<String>,
    outcome: Outcome,
}

impl Pipeline {
    /// Takes a commit through all stages; one that went through already is looked at again for what has changed beside
    /// it (permits, reports, registrations).
    pub(super) async fn step(&mut self, moved: &Moved) -> Result<(), PipelineError> {
        let commit = moved.commit.to_string();
        let started = std::time::Instant::now();
        let span = tracing::info_span!("commit", %commit);
        let outcome = self.through(moved, &commit).instrument(span).await;
        self.parts
            .metrics
            .pipeline_seconds
            .observe(started.elapsed().as_secs_f64());
        outcome
    }

    async fn through(&mut self, moved: &Moved, commit: &str) -> Result<(), PipelineError> {
        let given = self.parts.state.permits().all();
        let new_permits: BTreeSet<String> = given.iter().map(|permit| permit.id.clone()).collect();
        let permits_changed = new_permits != self.permits;
        let read = self.read(moved, &given).await?;
        let removals = match &self.done {
            Some(done) => done.fleet.removals(),
            None => self.removals_before().await,
        };
        let deletions = permits::deletions(&given);
        let mut next = Vec::new();
        for cluster in read.fleet.clusters.values() {
            if !self.may_seal(&read.fleet, cluster)
                || !self.is_dirty(&read, cluster, permits_changed)
            {
                continue;
            }
            let known = self.clusters.entry(cluster.name.clone()).or_default();
            known.previous.removals.clone_from(&removals);
            let gone = self.parts.state.gone(&cluster.name);
            let recipient = self.parts.state.recipient(&cluster.name);
            let input = cluster::Input {
                commit,
                ask: Ask {
                    tree: &read.tree,
                    change: read.change.as_ref(),
                    fleet: &read.fleet,
                    cluster,
                },
                previous: &known.previous,
                judges: &read.judges.sets,
                gone: &gone,
                permits: &deletions,
                recipient: recipient.as_deref(),
                differing: &self.differing,
            };
            let span = tracing::info_span!("cluster", cluster = %cluster.name);
            let outcome = cluster::next(&*self.parts.stage, &self.parts.secrets, &input)
                .instrument(span)
                .await;
            next.push(Next {
                cluster: cluster.name.clone(),
                gone,
                recipient,
                outcome,
            });
        }
        self.seal(moved, commit, &read, &given, &mut next).await?;
        let (tree, fleet) = (Arc::clone(&read.tree), Arc::clone(&read.fleet));
        let renders = self.remember(commit, read, next, new_permits);
        self.repeats
            .add(Unrepeated {
                tree,
                fleet,
                renders,
            })
            .await;
        Ok(())
    }

    /// Reads what the commit changed, and no more.
    async fn read(
        &mut self,
        moved: &Moved,
        given: &[Arc<countersign_fleet::api::Permit>],
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
        let permitted = permits::policies(given);
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
    async fn removals_before(&self) -> BTreeSet<String> {
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

    fn last_sealed(&self) -> Option<String> {
        self.parts
            .sealer
            .last_source()
            .ok()
            .flatten()
            .map(|source| source.new)
    }

    /// Only clusters of the trust root, in the environment that it says (DECISIONS 5), whose documents can be read, and for
    /// whose environment there is a key.
    fn may_seal(&self, fleet: &Fleet, cluster: &Cluster) -> bool {
        let Ok(trust) = self.parts.root.cluster(&cluster.name) else {
            return false;
        };
        let said = cluster
            .labels
            .get("env")
            .map_or(trust.environment.as_str(), String::as_str);
        said == trust.environment
            && self.parts.sealer.seals(&trust.environment)
            && !fleet.broken_clusters.contains_key(&cluster.name)
    }

    fn is_dirty(&self, read: &Read, cluster: &Cluster, permits_changed: bool) -> bool {
        let Some(known) = self.clusters.get(&cluster.name) else {
            return true;
        };
        let touched = || {
            self.parts.stage.touched(Ask {
                tree: &read.tree,
                change: read.change.as_ref(),
                fleet: &read.fleet,
                cluster,
            })
        };
        !read.same_fleet
            || !read.same_judges
            || permits_changed
            || known.again
            || !self.parts.state.gone(&cluster.name).is_empty()
            || self.parts.state.recipient(&cluster.name) != known.recipient
            || touched()
    }

    async fn seal(
        &self,
        moved: &Moved,
        commit: &str,
        read: &Read,
        given: &[Arc<countersign_fleet::api::Permit>],
        next: &mut [Next],
    ) -> Result<(), PipelineError> {
        let root = &self.parts.root;
        let spent = self.parts.track.spent_permits();
        let mut states = Vec::new();
        for next in next
            .iter_mut()
            .filter(|next| next.outcome.carried.changed || !self.has_head(&next.cluster))
        {
            let (Ok(trust), Some(cluster)) = (
                root.cluster(&next.cluster),
                read.fleet.clusters.get(&next.cluster),
            ) else {
                continue;
            };
            let outcome = &mut next.outcome;
            states.push(Unsealed {
                cluster: next.cluster.clone(),
                environment: trust.environment.clone(),
                lines: outcome.carried.lines.clone(),
                apps: outcome.carried.apps.clone(),
                blobs: std::mem::take(&mut outcome.blobs),
                renderer: self.parts.stage.version(),
                admission: outcome.admission.clone(),
                ring: cluster.ring.clone().unwrap_or_default(),
                permits: permits::used(
                    given,
                    &permits::Used {
                        deletions: &outcome.carried.permits,
                        rewrites: &spent,
                        policies: read.judges.permit_used,
                    },
                ),
            });
        }
        let last = self.parts.sealer.last_source()?;
        let source = if last.as_ref().is_some_and(|last| last.new == commit) {
            SourceEntry::Known {
                commit: commit.to_owned(),
            }
        } else {
            SourceEntry::Moved(self.source(moved, last.map(|last| last.new).unwrap_or_default()))
        };
        let batch = self.parts.sealer.seal(source, states).await?;
        self.parts.track.forget_spent(&spent);
        for permit in &spent {
            self.rewritten(&permit.name.to_string(), &permit.commit.to_string())
                .await;
        }
        for sealed in batch.sealed {
            let cluster = sealed.head.desired.cluster.clone();
            tracing::info!(
                cluster,
                generation = sealed.head.desired.generation,
                "sealed"
            );
            self.parts.metrics.heads_sealed.inc();
            let head: Head = sealed::fresh(sealed);
            self.parts.state.publish(&cluster, head);
        }
        Ok(())
    }

    /// A rewrite is sealed: its permits allow nothing more.
    pub(super) async fn rewritten(&self, reference: &str, commit: &str) {
        let permits = self.parts.state.permits();
        if let Err(fault) = permits.used_by(reference, commit, Timestamp::now()).await {
            // The next start finds that this commit was sealed and tries again.
            tracing::warn!(%fault, %commit, "it is not kept that the permit of this rewrite is used");
        }
    }

    fn has_head(&self, cluster: &str) -> bool {
        self.clusters.get(cluster).is_some_and(|known| {
            !known.previous.lines.is_empty() || !known.previous.apps.is_empty()
        })
    }

    fn source(&self, moved: &Moved, old: String) -> Source {
        let track = self.parts.track.state();
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let (signer, verdict) =
            signer::verdict(&self.people, moved.commit, moved.signature.as_ref(), now);
        Source {
            fleet: self.parts.root.fleet().to_owned(),
            repository: track.source,
            reference: track.name.to_string(),
            old,
            new: moved.commit.to_string(),
            tree: moved.tree.to_string(),
            commit_sha256: moved.commit_sha256,
            author: moved.author.clone(),
            signer,
            verdict,
        }
    }

    /// Takes in what was sealed; returns the renders that are to be repeated.
    fn remember(
        &mut self,
        commit: &str,
        read: Read,
        next: Vec<Next>,
        permits: BTreeSet<String>,
    ) -> Vec<Once> {
        let mut unrepeated = Vec::new();
        for next in next {
            let Outcome {
                carried,
                unrepeated: apps,
                differed,
                known,
                ..
            } = next.outcome;
            self.parts.metrics.renders_kept.inc_by(known);
            self.parts.state.forget_gone(&next.cluster, &next.gone);
            for (app, digest) in differed {
                self.parts.state.alarm_on(
                    &next.cluster,
                    cluster::NOT_REPEATABLE,
                    format!("app {app}: two renders of one input differ"),
                );
                self.differing.insert((app, digest));
            }
            unrepeated.extend(apps.into_iter().map(|(app, first)| Once {
                cluster: next.cluster.clone(),
                app,
                first,
            }));
            let again = carried
                .reports
                .values()
                .filter_map(|report| report.kept.as_ref())
                .any(|failure| failure.fault);
            let waiting = removal::waiting(&next.cluster, &carried.lines);
            let previous = Previous {
                lines: carried.lines,
                apps: carried.apps,
                removals: BTreeSet::new(),
            };
            self.clusters.insert(
                next.cluster,
                Known {
                    previous,
                    reports: carried.reports,
                    recipient: next.recipient,
                    waiting,
                    again,
                },
            );
        }
        if self.done.as_ref().is_none_or(|done| done.commit != commit) {
            self.parts.metrics.commits.inc();
        }
        self.permits = permits;
        let Read {
            tree_id,
            fleet,
            mistakes,
            judges,
            ..
        } = read;
        self.done = Some(Done {
            commit: commit.to_owned(),
            tree: tree_id,
            fleet,
            mistakes,
            in_force: judges.in_force,
            judges: judges.sets,
            policy_permit: judges.permit_needed,
            at: Timestamp::now(),
        });
        unrepeated
    }

    /// A repeated render gave something else: the app is blocked from now on (DECISIONS 13).
    pub(super) fn differed(&mut self, differed: Differed) {
        let Differed { cluster, app, name } = differed;
        self.parts.state.alarm_on(
            &cluster,
            cluster::NOT_REPEATABLE,
            format!("app {app}: two renders of one input differ"),
        );
        if let Some(known) = self.clusters.get_mut(&cluster) {
            known.again = true;
        }
        self.differing.insert((app, name));
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
