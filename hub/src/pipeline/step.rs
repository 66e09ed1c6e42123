//! One commit, stage by stage.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::model::{Cluster, Fleet};
use countersign_ledger::identity::ObjectId;
use jiff::Timestamp;
use tracing::Instrument as _;

use crate::pipeline::cluster::{self, Outcome};
use crate::pipeline::read::Read;
use crate::pipeline::repeat::Unrepeated;
use crate::pipeline::stage::Ask;
use crate::pipeline::words::Paused;
use crate::pipeline::{Pipeline, PipelineError, permits};
use crate::track::tracker::Moved;

/// A cluster whose next state was worked out.
pub(super) struct Next {
    pub(super) cluster: String,
    pub(super) gone: BTreeSet<ObjectId>,
    pub(super) recipient: Option<String>,
    pub(super) paused: Paused,
    pub(super) outcome: Outcome,
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
        self.hear().await?;
        let now = self.parts.state.now();
        let given = self.parts.state.permits().standing();
        let new_permits: BTreeSet<String> = given.iter().map(|permit| permit.id.clone()).collect();
        // One that is used up or has ended changes nothing: only more can be done by more of them.
        let permits_changed = !new_permits.is_subset(&self.permits);
        let read = self.read(moved, permits::policies(&given, now)).await?;
        let removals = match &self.done {
            Some(done) => done.fleet.removals(),
            None => self.removals_before().await,
        };
        let deletions = permits::deletions(&given, now);
        let mut next = Vec::new();
        for cluster in read.fleet.clusters.values() {
            if !self.may_seal(&read.fleet, cluster)
                || !self.is_dirty(&read, cluster, permits_changed, now)
            {
                continue;
            }
            let paused = self.words.paused(&cluster.name, now);
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
                paused: &paused,
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
                paused,
                outcome,
            });
        }
        self.seal(moved, commit, &read, (&given, now), &mut next)
            .await?;
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

    fn is_dirty(
        &self,
        read: &Read,
        cluster: &Cluster,
        permits_changed: bool,
        now: Timestamp,
    ) -> bool {
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
            || self.words.paused(&cluster.name, now) != known.paused
            || !self.parts.state.gone(&cluster.name).is_empty()
            || self.parts.state.recipient(&cluster.name) != known.recipient
            || touched()
    }
}
