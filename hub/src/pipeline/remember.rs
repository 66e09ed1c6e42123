//! What the pipeline keeps of a commit that went through, to compare the next with.

use std::collections::BTreeSet;

use countersign_fleet::carry::{Previous, removal};
use jiff::Timestamp;

use crate::pipeline::cluster::{self, Outcome};
use crate::pipeline::read::Read;
use crate::pipeline::repeat::{Differed, Once};
use crate::pipeline::step::Next;
use crate::pipeline::{Done, Known, Pipeline};

impl Pipeline {
    /// Takes in what was sealed; returns the renders that are to be repeated.
    pub(super) fn remember(
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
                    paused: next.paused,
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
