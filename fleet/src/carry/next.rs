//! The next manifest, line by line, once it is decided which apps move and which keep what they have. Pure.
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::{AppEntry, Line, ObjectLine, OrphanLine, TombstoneLine};

use super::removal::{self, OrphanReason};
use super::{AppReport, Before, Carried, Input, WantedApp};
use crate::failure::AppFailure;
use crate::guard;
use crate::model::PruneLimits;
use crate::permit::deletion_digest;

/// The next manifest while it is put together.
pub(super) struct Next<'a> {
    input: &'a Input<'a>,
    before: &'a Before<'a>,
    owned: BTreeSet<&'a ObjectId>,
    lines: BTreeMap<ObjectId, Line>,
    apps: Vec<AppEntry>,
    reports: BTreeMap<String, AppReport>,
}

impl<'a> Next<'a> {
    pub(super) fn new(input: &'a Input<'a>, before: &'a Before<'a>) -> Self {
        Self {
            input,
            before,
            owned: before.values().flat_map(BTreeMap::keys).copied().collect(),
            lines: BTreeMap::new(),
            apps: Vec::new(),
            reports: BTreeMap::new(),
        }
    }

    pub(super) fn finish(
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
        for (app, ids) in removal::orphans(self.lines.values()) {
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
