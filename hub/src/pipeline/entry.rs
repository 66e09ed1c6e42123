//! What a commit puts into the log: its source, and the states that it changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::api::Permit;
use countersign_ledger::statement::Source;
use jiff::Timestamp;

use crate::pipeline::read::Read;
use crate::pipeline::step::Next;
use crate::pipeline::{Pipeline, PipelineError, permits};
use crate::seal::{SourceEntry, Unsealed};
use crate::sealed;
use crate::serve::heads::Head;
use crate::track::signer;
use crate::track::tracker::Moved;

impl Pipeline {
    /// Seals the states that changed, behind the commit's source.
    pub(super) async fn seal(
        &self,
        moved: &Moved,
        commit: &str,
        read: &Read,
        (given, now): (&[Arc<Permit>], Timestamp),
        next: &mut [Next],
    ) -> Result<(), PipelineError> {
        let root = &self.parts.root;
        let spent = self.parts.track.spent_permits();
        let heads = self.parts.sealer.heads().await;
        // Who let weaker admission policies come into force stands in a statement of each cluster, whatever else changes.
        let weakened = |next: &Next| {
            let judged = heads
                .get(&next.cluster)
                .and_then(|head| head.desired.admission.policies);
            read.judges.permit_used.is_some() && judged != next.outcome.admission.policies
        };
        let (mut states, mut signed) = (Vec::new(), BTreeSet::new());
        for next in next.iter_mut().filter(|next| {
            next.outcome.carried.changed || !self.has_head(&next.cluster) || weakened(next)
        }) {
            let (Ok(trust), Some(cluster)) = (
                root.cluster(&next.cluster),
                read.fleet.clusters.get(&next.cluster),
            ) else {
                continue;
            };
            let outcome = &mut next.outcome;
            let named = permits::used(
                given,
                now,
                &permits::Used {
                    deletions: &outcome.carried.permits,
                    rewrites: &spent,
                    policies: read.judges.permit_used,
                },
            );
            signed.extend(named.signed);
            states.push(Unsealed {
                cluster: next.cluster.clone(),
                environment: trust.environment.clone(),
                lines: outcome.carried.lines.clone(),
                apps: outcome.carried.apps.clone(),
                blobs: std::mem::take(&mut outcome.blobs),
                renderer: self.parts.stage.version(),
                admission: outcome.admission.clone(),
                ring: cluster.ring.clone().unwrap_or_default(),
                permits: named.permits,
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
        self.spend(&signed).await;
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
}
