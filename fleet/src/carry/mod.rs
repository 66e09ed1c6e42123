//! What a cluster runs next, from what it ran before and what a commit renders (DECISIONS 3). Pure.
//!
//! A failed app keeps its lines, a moved object keeps its identity, a deletion is a tombstone that somebody can point
//! to, and everything else that nobody wants any more is an orphan that is left alone. Nothing is ever dropped by
//! silence: each object of the previous manifest is an object, a tombstone or an orphan of the next.
//!
//! Read first: [`Input`], [`carry`], [`Carried`].
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::{
    AppEntry, Content, Line, ObjectLine, OrphanLine, TombstoneLine,
};
use serde_json::Value as Json;

use crate::claims::{Owners, lost_claims};
use crate::failure::AppFailure;
use crate::guard::{self, DeletionPermits, Verdict};
use crate::model::PruneLimits;
use crate::permit::deletion_digest;

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

/// Why an orphan is one, as its line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanReason {
    /// The App's document is gone.
    AppRemoved,
    /// The App no longer chooses the cluster.
    Unselected,
    /// The App's document is gone and asked for deletion, which is above the limit or of a protected kind.
    RemovalNeedsPermit,
}

impl OrphanReason {
    /// As the line says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppRemoved => "APP_REMOVED",
            Self::Unselected => "UNSELECTED",
            Self::RemovalNeedsPermit => "REMOVAL_NEEDS_PERMIT",
        }
    }
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

/// The next manifest while it is put together.
struct Next<'a> {
    input: &'a Input<'a>,
    before: &'a Before<'a>,
    owned: BTreeSet<&'a ObjectId>,
    lines: BTreeMap<ObjectId, Line>,
    apps: Vec<AppEntry>,
    reports: BTreeMap<String, AppReport>,
}

impl<'a> Next<'a> {
    fn new(input: &'a Input<'a>, before: &'a Before<'a>) -> Self {
        Self {
            input,
            before,
            owned: before.values().flat_map(BTreeMap::keys).copied().collect(),
            lines: BTreeMap::new(),
            apps: Vec::new(),
            reports: BTreeMap::new(),
        }
    }

    fn finish(
        mut self,
        wanted: &BTreeMap<&str, &WantedApp>,
        failed: &BTreeMap<String, AppFailure>,
        mut used: BTreeMap<String, Digest>,
    ) -> Carried {
        for (name, failure) in failed {
            self.keep(name, failure);
        }
        // Names to wait for: apps that have objects here. Others would be waited for without end.
        let here: BTreeSet<String> = wanted
            .iter()
            .filter(|(_, app)| !app.lines.is_empty())
            .map(|(name, _)| (*name).to_owned())
            .chain(self.apps.iter().map(|app| app.name.clone()))
            .collect();
        for (name, app) in wanted {
            self.take(name, app, &here);
        }
        for name in wanted.keys() {
            self.bury(name);
        }
        self.leave();
        self.carry_on();
        self.delete_permitted_orphans(&mut used);
        let lines: Vec<Line> = self.lines.into_values().collect();
        self.apps.sort_by(|a, b| a.name.cmp(&b.name));
        let same_lines = lines.len() == self.input.previous.lines.len()
            && self
                .input
                .previous
                .lines
                .iter()
                .all(|old| find(&lines, old.id()) == Some(old));
        let mut old_apps: Vec<&AppEntry> = self.input.previous.apps.iter().collect();
        old_apps.sort_by(|a, b| a.name.cmp(&b.name));
        let same_apps = old_apps.into_iter().eq(self.apps.iter());
        Carried {
            changed: !(same_lines && same_apps),
            lines,
            apps: self.apps,
            reports: self.reports,
            permits: used.into_iter().collect(),
        }
    }

    fn entry_before(&self, name: &str) -> Option<&'a AppEntry> {
        self.input.previous.apps.iter().find(|app| app.name == name)
    }

    /// A failed app's lines, as they are.
    fn keep(&mut self, name: &str, failure: &AppFailure) {
        let lines = self.before.get(name);
        let entry = self.entry_before(name);
        self.reports.insert(
            name.to_owned(),
            AppReport {
                commit: entry.map(|entry| entry.commit.clone()).unwrap_or_default(),
                objects: lines.map_or(0, BTreeMap::len),
                kept: Some(failure.clone()),
                ..AppReport::default()
            },
        );
        let Some(lines) = lines else { return };
        for (id, line) in lines {
            self.lines
                .insert((*id).clone(), Line::Object((*line).clone()));
        }
        self.apps.extend(entry.cloned());
    }

    /// A rendered app's lines: an unchanged one keeps its commit, so that it keeps its bytes.
    fn take(&mut self, name: &str, app: &WantedApp, here: &BTreeSet<String>) {
        let mut report = AppReport {
            objects: app.lines.len(),
            ..AppReport::default()
        };
        let had = self.before.get(name);
        for wanted in &app.lines {
            let mine = had.and_then(|lines| lines.get(&wanted.id));
            let same = mine.filter(|old| {
                old.wave == wanted.wave
                    && old.bytes == wanted.bytes
                    && old.content == wanted.content
            });
            let line = match same {
                Some(old) => (*old).clone(),
                None => {
                    if self.owned.contains(&wanted.id) {
                        report.changed += 1;
                    } else {
                        report.added += 1;
                    }
                    ObjectLine {
                        id: wanted.id.clone(),
                        app: name.to_owned(),
                        commit: self.input.commit.to_owned(),
                        wave: wanted.wave,
                        bytes: wanted.bytes,
                        content: wanted.content,
                    }
                }
            };
            self.lines.insert(wanted.id.clone(), Line::Object(line));
        }
        let lost_any = had.is_some_and(|lines| {
            let now: BTreeSet<&ObjectId> = app.lines.iter().map(|line| &line.id).collect();
            lines.keys().any(|id| !now.contains(id))
        });
        if !app.lines.is_empty() {
            let mut entry = AppEntry {
                name: name.to_owned(),
                commit: self.input.commit.to_owned(),
                depends_on: app
                    .depends_on
                    .iter()
                    .filter(|other| here.contains(*other))
                    .cloned()
                    .collect(),
                exclusive: app.exclusive,
                health_rules: app.health_rules.clone(),
            };
            if let Some(old) = self.entry_before(name)
                && report.added + report.changed == 0
                && !lost_any
            {
                let new = std::mem::replace(&mut entry.commit, old.commit.clone());
                if entry != *old {
                    entry.commit = new;
                }
            }
            report.commit.clone_from(&entry.commit);
            self.apps.push(entry);
        }
        self.reports.insert(name.to_owned(), report);
    }

    /// What a rendered app had and nobody has any more is deleted.
    fn bury(&mut self, name: &str) {
        let mut removed = 0;
        for id in self.before.get(name).into_iter().flat_map(BTreeMap::keys) {
            if !self.lines.contains_key(*id) {
                removed += 1;
                self.tombstone(id, name);
            }
        }
        if let Some(report) = self.reports.get_mut(name) {
            report.removed = removed;
        }
    }

    fn tombstone(&mut self, id: &ObjectId, app: &str) {
        let line = TombstoneLine {
            id: id.clone(),
            app: app.to_owned(),
            commit: self.input.commit.to_owned(),
        };
        self.lines.insert(id.clone(), Line::Tombstone(line));
    }

    /// What an app had that is not here any more.
    fn leave(&mut self) {
        for (name, lines) in self.before {
            if self.reports.contains_key(*name) {
                continue;
            }
            let left: Vec<&ObjectId> = lines
                .keys()
                .copied()
                .filter(|id| !self.lines.contains_key(*id))
                .collect();
            let limits = PruneLimits::default();
            let reason = if self.input.elsewhere.contains(*name) {
                OrphanReason::Unselected
            } else if !self.input.previous.removals.contains(*name) {
                OrphanReason::AppRemoved
            } else if left.len() > limits.max_objects as usize
                || left.iter().any(|id| guard::is_protected(&limits, id))
            {
                OrphanReason::RemovalNeedsPermit
            } else {
                // `onRemoval: delete` is the word that all of it goes.
                left.iter().for_each(|id| self.tombstone(id, name));
                continue;
            };
            for id in left {
                let line = OrphanLine {
                    id: id.clone(),
                    app: (*name).to_owned(),
                    commit: self.input.commit.to_owned(),
                    reason: reason.as_str().to_owned(),
                };
                self.lines.insert(id.clone(), Line::Orphan(line));
            }
        }
    }

    /// Earlier tombstones and orphans, until the identity is wanted again or reported gone.
    fn carry_on(&mut self) {
        for line in &self.input.previous.lines {
            let past = matches!(line, Line::Tombstone(_) | Line::Orphan(_));
            if past && !self.input.gone.contains(line.id()) {
                self.lines
                    .entry(line.id().clone())
                    .or_insert_with(|| line.clone());
            }
        }
    }

    fn delete_permitted_orphans(&mut self, used: &mut BTreeMap<String, Digest>) {
        let mut orphans: BTreeMap<String, Vec<ObjectId>> = BTreeMap::new();
        for line in self.lines.values() {
            if let Line::Orphan(line) = line {
                orphans
                    .entry(line.app.clone())
                    .or_default()
                    .push(line.id.clone());
            }
        }
        for (app, ids) in orphans {
            let digest = deletion_digest(self.input.cluster, &app, &ids);
            if self.input.permits.contains(&(app.clone(), digest)) {
                ids.iter().for_each(|id| self.tombstone(id, &app));
                used.insert(app, digest);
            }
        }
    }
}

fn find<'a>(lines: &'a [Line], id: &ObjectId) -> Option<&'a Line> {
    lines
        .binary_search_by(|line| line.id().cmp(id))
        .ok()
        .and_then(|index| lines.get(index))
}

#[cfg(test)]
mod tests;
