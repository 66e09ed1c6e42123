//! The outcomes of a cluster's apps → what it runs next. Pure; the hub and the CLI both come through here.
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::Content;

use crate::carry::{Carried, Input, Previous, Wanted, WantedApp, WantedLine, carry};
use crate::desired::AppOutcome;
use crate::failure::AppFailure;
use crate::guard::DeletionPermits;
use crate::model::{App, Fleet, Source};
use crate::object::Object;

/// All that decides what a cluster runs next.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The fleet of the new commit.
    pub fleet: &'a Fleet,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The new commit, hex.
    pub commit: &'a str,
    /// What the cluster ran before.
    pub previous: &'a Previous,
    /// Identities of tombstones and orphans that the cluster reported gone.
    pub gone: &'a BTreeSet<ObjectId>,
    /// Deletions that a person allowed.
    pub permits: &'a DeletionPermits,
}

/// Why a cluster keeps its head whatever its apps render to.
pub fn holds_back(fleet: &Fleet, cluster: &str) -> Option<AppFailure> {
    if let Some(mistakes) = fleet.broken_clusters.get(cluster) {
        return Some(AppFailure::of_mistakes(mistakes));
    }
    let known = fleet.clusters.contains_key(cluster);
    (!known && !fleet.unreadable.is_empty()).then(|| AppFailure::of_mistakes(&fleet.unreadable))
}

/// What a cluster runs next. `content` gives an object's blob: its digest, or for a Secret what it is encrypted to.
/// An app one of whose objects has none fails by name. `None` if the cluster keeps its head: [`holds_back`].
pub fn plan(
    step: &Step<'_>,
    outcomes: &[AppOutcome],
    mut content: impl FnMut(&Object) -> Result<Content, AppFailure>,
) -> Option<Carried> {
    let mut apps: BTreeMap<String, Wanted> = BTreeMap::new();
    for outcome in outcomes {
        let Some(app) = step.fleet.apps.get(&outcome.app) else {
            continue;
        };
        let wanted = match &outcome.result {
            Ok(objects) => wanted(step.fleet, app, objects, &mut content),
            Err(failure) => Wanted::Failed(failure.clone()),
        };
        apps.insert(outcome.app.clone(), wanted);
    }
    carried(step, apps)
}

/// [`plan`], once it is known what each app wants. Apps that were not asked, and broken ones, keep what they have.
pub(crate) fn carried(step: &Step<'_>, mut apps: BTreeMap<String, Wanted>) -> Option<Carried> {
    if holds_back(step.fleet, step.cluster).is_some() {
        return None;
    }
    let had: BTreeSet<&str> = step
        .previous
        .apps
        .iter()
        .map(|app| app.name.as_str())
        .collect();
    for (name, mistakes) in &step.fleet.broken_apps {
        // Where a broken app would run nobody knows; where it ran, it stays.
        if had.contains(name.as_str()) {
            apps.insert(
                name.clone(),
                Wanted::Failed(AppFailure::of_mistakes(mistakes)),
            );
        }
    }
    let here = step.fleet.clusters.get(step.cluster);
    for app in here.into_iter().flat_map(|here| step.fleet.apps_on(here)) {
        // An app without an outcome was not asked, which is not the same as rendering to nothing.
        apps.entry(app.name.clone()).or_insert_with(|| {
            Wanted::Failed(AppFailure::new("RENDER_UNAVAILABLE", "was not rendered").as_fault())
        });
    }
    let elsewhere = step
        .fleet
        .apps
        .keys()
        .filter(|name| !apps.contains_key(*name))
        .cloned()
        .collect();
    let hidden = (!step.fleet.unreadable.is_empty())
        .then(|| AppFailure::of_mistakes(&step.fleet.unreadable));
    Some(carry(&Input {
        cluster: step.cluster,
        commit: step.commit,
        previous: step.previous,
        apps: &apps,
        elsewhere: &elsewhere,
        hidden: hidden.as_ref(),
        gone: step.gone,
        permits: step.permits,
    }))
}

fn wanted(
    fleet: &Fleet,
    app: &App,
    objects: &[Object],
    content: &mut impl FnMut(&Object) -> Result<Content, AppFailure>,
) -> Wanted {
    let mut lines = Vec::with_capacity(objects.len());
    for object in objects {
        match content(object) {
            Ok(content) => lines.push(WantedLine {
                id: object.id.clone(),
                wave: object.wave,
                bytes: object.bytes.len() as u64,
                content,
            }),
            Err(failure) => return Wanted::Failed(failure),
        }
    }
    let ids = objects.iter().map(|object| &object.id);
    Wanted::Rendered(wanted_app(fleet, app, ids, lines))
}

/// An app that renders to `lines`, with what its document says of it.
pub(crate) fn wanted_app<'a>(
    fleet: &Fleet,
    app: &App,
    ids: impl Iterator<Item = &'a ObjectId>,
    lines: Vec<WantedLine>,
) -> WantedApp {
    WantedApp {
        lines,
        depends_on: app.depends_on.clone(),
        exclusive: app.exclusive,
        health_rules: fleet.health_rules_of(app, ids),
        limits: app.prune.clone(),
        may_be_empty: matches!(app.source, Source::ClusterFolder { .. }),
    }
}

/// The content of an object where nothing leaves the process: for showing, never for sealing, because the digest of a
/// Secret could be guessed.
///
/// # Errors
/// Never; the signature is that of a sealer's.
pub fn local_content(object: &Object) -> Result<Content, AppFailure> {
    Ok(Content::Plain {
        sha256: object.sha256,
    })
}
