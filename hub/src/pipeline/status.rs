//! What operators see of the newest commit: apps on clusters, mistakes, permits that are waited for.

use countersign_fleet::api;
use countersign_fleet::carry::AppReport;
use countersign_fleet::carry::removal::Waiting;
use countersign_fleet::failure::AppFailure;

use crate::pipeline::{Pipeline, view};
use crate::serve::FleetStatus;
use crate::track::tracker::{Moved, TrackState};

impl Pipeline {
    /// All of it.
    pub(super) fn status(&self, track: &TrackState, newest: Option<&Moved>) -> FleetStatus {
        let done = self
            .done
            .as_ref()
            .map(|done| (done.commit.as_str(), done.at));
        let source = view::source(track, newest, done);
        let mut apps = Vec::new();
        let mut needed = Vec::new();
        for (cluster, known) in &self.clusters {
            for (app, report) in &known.reports {
                let broken = self
                    .done
                    .as_ref()
                    .is_some_and(|done| done.fleet.broken_apps.contains_key(app));
                if broken && report.objects == 0 {
                    // Whether it would choose this cluster nobody knows; its mistakes are listed.
                    continue;
                }
                apps.push(wants(app, cluster, report, &source));
                needed.extend(
                    report
                        .kept
                        .as_ref()
                        .and_then(|failure| permit_needed(app, cluster, failure)),
                );
            }
        }
        for (cluster, known) in &self.clusters {
            needed.extend(
                known
                    .waiting
                    .iter()
                    .map(|waiting| removal(cluster, waiting)),
            );
        }
        let mut mistakes = view::notices(track);
        if let Some(done) = &self.done {
            mistakes.extend(
                done.mistakes
                    .iter()
                    .map(|mistake| view::mistake(mistake, "", "")),
            );
            mistakes.extend(self.refused_clusters(&done.fleet));
            needed.extend(done.policy_permit.map(|digest| api::PermitNeeded {
                permit: api::PermitKind::Policies { set: digest.to_string() },
                cluster: String::new(),
                message: "the commit removes or changes admission policies; until that is permitted the ones before judge too".into(),
            }));
        }
        FleetStatus {
            source,
            apps,
            mistakes,
            permits_needed: needed,
        }
    }

    /// Clusters that are not sealed because Git and the trust root disagree.
    fn refused_clusters(&self, fleet: &countersign_fleet::model::Fleet) -> Vec<api::Mistake> {
        let mut mistakes = Vec::new();
        for cluster in fleet.clusters.values() {
            let (code, field, message) = match self.parts.root.cluster(&cluster.name) {
                Err(_) => (
                    "CLUSTER_UNKNOWN",
                    "",
                    "the trust root does not list this cluster; nothing is sealed for it until a new trust root does".to_owned(),
                ),
                Ok(trust) => match cluster.labels.get("env") {
                    Some(said) if *said != trust.environment => (
                        "ENVIRONMENT_WRONG",
                        "spec.labels.env",
                        format!("is {said:?}, the trust root says {:?}; the cluster keeps its head until they agree", trust.environment),
                    ),
                    Some(_) | None if !self.parts.sealer.seals(&trust.environment) => (
                        "SEALER_KEY_MISSING",
                        "",
                        format!("the hub has no sealer key of environment {:?} that the trust root lists; the cluster keeps its head until it has", trust.environment),
                    ),
                    Some(_) | None => continue,
                },
            };
            mistakes.push(api::Mistake {
                code: code.into(),
                file: cluster.place.file.to_string(),
                line: cluster.place.line,
                field: field.into(),
                message,
                app: String::new(),
                cluster: cluster.name.clone(),
            });
        }
        mistakes
    }
}

fn wants(app: &str, cluster: &str, report: &AppReport, source: &api::Source) -> api::AppWants {
    let refused = source
        .commit
        .as_ref()
        .map(|commit| commit.id.clone())
        .unwrap_or_default();
    api::AppWants {
        app: app.to_owned(),
        cluster: cluster.to_owned(),
        commit: report.commit.clone(),
        objects: u32::try_from(report.objects).unwrap_or(u32::MAX),
        kept: report.kept.as_ref().map(|failure| api::Kept {
            refused_commit: refused,
            code: failure.code.clone(),
            message: failure.to_string(),
        }),
    }
}

/// A failure that a person can permit away.
fn permit_needed(app: &str, cluster: &str, failure: &AppFailure) -> Option<api::PermitNeeded> {
    if failure.permit.is_empty() {
        return None;
    }
    let manifest = failure.permit.clone();
    let permit = api::PermitKind::Deletion {
        app: app.to_owned(),
        manifest,
    };
    Some(api::PermitNeeded {
        permit,
        cluster: cluster.to_owned(),
        message: failure.message.clone(),
    })
}

/// An app that left and asked that its objects go with it.
fn removal(cluster: &str, waiting: &Waiting) -> api::PermitNeeded {
    api::PermitNeeded {
        permit: api::PermitKind::Deletion {
            app: waiting.app.clone(),
            manifest: waiting.digest.to_string(),
        },
        cluster: cluster.to_owned(),
        message: format!(
            "REMOVAL_NEEDS_PERMIT: the app is gone and {} objects that it left wait to be deleted",
            waiting.objects
        ),
    }
}
