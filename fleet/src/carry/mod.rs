//! What a cluster runs next, from what it ran before and what a commit renders (DECISIONS 3). Pure.
//!
//! A failed app keeps its lines, a moved object keeps its identity, a deletion is a tombstone that somebody can point
//! to, and everything else that nobody wants any more is an orphan that is left alone. Nothing is ever dropped by
//! silence: each object of the previous manifest is an object, a tombstone or an orphan of the next.
//!
//! Read first: [`Input`], [`carry`], [`Carried`]; then `next` (how the lines are put together) and [`removal`] (what
//! became of apps that left).
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::{AppEntry, Content, Line, ObjectLine};
use serde_json::Value as Json;

use crate::claims::{Owners, lost_claims};
use crate::failure::AppFailure;
use crate::guard::{self, DeletionPermits, Verdict};
use crate::model::PruneLimits;

mod next;
pub mod removal;

use next::Next;
pub use removal::OrphanReason;

/// What the cluster ran before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Previous {
    /// All lines of its newest manifest.
    pub lines: Vec<Line>,
    /// All apps of its newest manifest.
    pub apps: Vec<AppEntry>,
    /// Apps whose removal deletes their objects, as the commit of that manifest said: `Fleet::removals`.
    pub removals: BTreeSet<String>,
}

/// An object that an app wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLine {
    /// Its identity.
    pub id: ObjectId,
    /// Its wave.
    pub wave: i32,
    /// Bytes of its blob.
    pub bytes: u64,
    /// Its blob.
    pub content: Content,
}

/// An app that was rendered and admitted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WantedApp {
    /// What it wants, no identity twice.
    pub lines: Vec<WantedLine>,
    /// Apps that must be healthy first.
    pub depends_on: Vec<String>,
    /// Whether what others add is removed.
    pub exclusive: bool,
    /// Rules of its own for health.
    pub health_rules: Vec<Json>,
    /// How much may be deleted without a permit.
    pub limits: PruneLimits,
    /// Whether it is fine that it never had an object: a cluster's folder without any.
    pub may_be_empty: bool,
}

/// What became of an app that chooses the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// It was rendered and admitted.
    Rendered(WantedApp),
    /// It was not, or its document can't be used.
    Failed(AppFailure),
}

/// All that decides the next manifest.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The new commit, hex.
    pub commit: &'a str,
    /// What the cluster ran before.
    pub previous: &'a Previous,
    /// Apps that choose the cluster, and broken ones, by name.
    pub apps: &'a BTreeMap<String, Wanted>,
    /// Apps of the fleet that don't choose the cluster.
    pub elsewhere: &'a BTreeSet<String>,
    /// Why an app that is not found may still be there: a file that could not be read. `None` if all were.
    pub hidden: Option<&'a AppFailure>,
    /// Identities of tombstones and orphans that the cluster reported gone.
    pub gone: &'a BTreeSet<ObjectId>,
    /// Deletions that a person allowed.
    pub permits: &'a DeletionPermits,
}

/// What a cluster runs next.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// All lines, sorted by identity.
    pub lines: Vec<Line>,
    /// All apps with objects, sorted by name.
    pub apps: Vec<AppEntry>,
    /// What became of each app that chooses the cluster or keeps something on it.
    pub reports: BTreeMap<String, AppReport>,
    /// Permits that were needed and used, with their apps.
    pub permits: Vec<(String, Digest)>,
    /// Whether it differs from what the cluster ran before.
    pub changed: bool,
}

/// What became of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppReport {
    /// Commit of its objects.
    pub commit: String,
    /// Number of its objects.
    pub objects: usize,
    /// New identities.
    pub added: usize,
    /// Identities with other content, wave or owner.
    pub changed: usize,
    /// New tombstones; such a render is done twice before it is sealed (DECISIONS 13).
    pub removed: usize,
    /// Why an older commit is kept.
    pub kept: Option<AppFailure>,
}

/// The objects that the manifest before had, by app.
type Before<'a> = BTreeMap<&'a str, BTreeMap<&'a ObjectId, &'a ObjectLine>>;

/// What a cluster runs next.
pub fn carry(input: &Input<'_>) -> Carried {
    let mut before: Before<'_> = BTreeMap::new();
    for line in &input.previous.lines {
        if let Line::Object(line) = line {
            before
                .entry(line.app.as_str())
                .or_default()
                .insert(&line.id, line);
        }
    }
    let mut failed = failed_at_first(input, &before);
    let mut used = BTreeMap::new();
    // Each round some app fails for what another keeps; apps only ever fail, so it ends.
    loop {
        let wanted: BTreeMap<&str, &WantedApp> = input
            .apps
            .iter()
            .filter(|(name, _)| !failed.contains_key(name.as_str()))
            .filter_map(|(name, wanted)| match wanted {
                Wanted::Rendered(app) => Some((name.as_str(), app)),
                Wanted::Failed(_) => None,
            })
            .collect();
        let kept: BTreeMap<&ObjectId, &str> = failed
            .keys()
            .flat_map(|name| before.get(name.as_str()).into_iter().flatten())
            .map(|(id, line)| (*id, line.app.as_str()))
            .collect();
        let lost = claims(&before, kept.clone(), &wanted);
        if !lost.is_empty() {
            failed.extend(lost);
            continue;
        }
        used.clear();
        let refused = guards(input, &before, &kept, &wanted, &mut used);
        if !refused.is_empty() {
            failed.extend(refused);
            continue;
        }
        return Next::new(input, &before).finish(&wanted, &failed, used);
    }
}

fn failed_at_first(input: &Input<'_>, before: &Before<'_>) -> BTreeMap<String, AppFailure> {
    let mut failed = BTreeMap::new();
    for (name, wanted) in input.apps {
        match wanted {
            Wanted::Failed(failure) => {
                failed.insert(name.clone(), failure.clone());
            }
            Wanted::Rendered(app) => {
                let had = before.contains_key(name.as_str());
                if app.lines.is_empty() && !had && !app.may_be_empty {
                    let why = "it renders to no object at all";
                    failed.insert(name.clone(), AppFailure::new("EMPTY_RENDER", why));
                }
            }
        }
    }
    if let Some(hidden) = input.hidden {
        for name in before.keys() {
            if !input.apps.contains_key(*name) && !input.elsewhere.contains(*name) {
                failed.insert((*name).to_owned(), hidden.clone());
            }
        }
    }
    failed
}

fn claims(
    before: &Before<'_>,
    kept: BTreeMap<&ObjectId, &str>,
    wanted: &BTreeMap<&str, &WantedApp>,
) -> BTreeMap<String, AppFailure> {
    let owners = Owners {
        kept,
        before: before
            .values()
            .flatten()
            .map(|(id, line)| (*id, line.app.as_str()))
            .collect(),
    };
    let claims = wanted
        .iter()
        .flat_map(|(name, app)| app.lines.iter().map(move |line| (*name, &line.id)));
    lost_claims(&owners, claims)
        .into_iter()
        .map(|(name, failure)| (name.to_owned(), failure))
        .collect()
}

/// Objects that `name` had and that nobody has any more.
fn lost<'a>(
    name: &str,
    before: &Before<'a>,
    kept: &BTreeMap<&ObjectId, &str>,
    claimed: &BTreeSet<&ObjectId>,
) -> Vec<&'a ObjectId> {
    before
        .get(name)
        .into_iter()
        .flat_map(|lines| lines.keys().copied())
        .filter(|id| !claimed.contains(id) && !kept.contains_key(id))
        .collect()
}

fn claimed<'a>(wanted: &BTreeMap<&str, &'a WantedApp>) -> BTreeSet<&'a ObjectId> {
    wanted
        .values()
        .flat_map(|app| app.lines.iter().map(|line| &line.id))
        .collect()
}

fn guards(
    input: &Input<'_>,
    before: &Before<'_>,
    kept: &BTreeMap<&ObjectId, &str>,
    wanted: &BTreeMap<&str, &WantedApp>,
    used: &mut BTreeMap<String, Digest>,
) -> BTreeMap<String, AppFailure> {
    let claimed = claimed(wanted);
    let mut refused = BTreeMap::new();
    for (name, app) in wanted {
        let had = before.get(name).map_or(0, BTreeMap::len);
        let lost = lost(name, before, kept, &claimed);
        match guard::deletion(input.cluster, name, &app.limits, had, &lost, input.permits) {
            Verdict::Allowed => {}
            Verdict::Permitted(digest) => {
                used.insert((*name).to_owned(), digest);
            }
            Verdict::Refused(failure) => {
                refused.insert((*name).to_owned(), *failure);
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests;
