//! One's own state beside the one that was sealed. Pure.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::{AppEntry, Line, ObjectLine};

use super::{Carried, Input, Judged, render_digest};

/// Where a sealed state is not what its commit renders to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It has an object that the commit does not render.
    Foreign(ObjectId),
    /// It lacks an object that the commit renders.
    Lacking(ObjectId),
    /// It has an object with other content, app, wave or commit.
    Other(ObjectId),
    /// It deletes what neither the commit nor an earlier state gives up.
    Deletes(ObjectId),
    /// It says something else of an app: commit, dependencies, health rules, what is removed beside it.
    App(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(id) => write!(f, "{id}: sealed, and not rendered"),
            Self::Lacking(id) => write!(f, "{id}: rendered, and not sealed"),
            Self::Other(id) => write!(f, "{id}: sealed with another content"),
            Self::Deletes(id) => write!(f, "{id}: deleted, and nothing gave it up"),
            Self::App(app) => write!(f, "app {app}: sealed with another entry"),
        }
    }
}

pub(super) fn compare(input: &Input<'_>, own: Carried, held: &[String]) -> Judged {
    let mut lines = own.lines;
    adopt_commits(input, &mut lines);
    let mut differences = objects(&input.sealed.lines, &lines);
    differences.extend(deletions(input, &lines));
    differences.extend(apps(input, &own.apps));
    differences.sort();
    Judged {
        own: render_digest(&lines),
        sealed: render_digest(&input.sealed.lines),
        differences,
        held: held.to_vec(),
        dropped: dropped(input),
    }
}

fn of(lines: &[Line]) -> BTreeMap<&ObjectId, &ObjectLine> {
    let objects = lines.iter().filter_map(|line| match line {
        Line::Object(object) => Some((&object.id, object)),
        Line::Tombstone(_) | Line::Orphan(_) => None,
    });
    objects.collect()
}

/// An object that is the same may have come with this commit, or with one of those in between.
fn is_known(input: &Input<'_>, commit: &str) -> bool {
    input.commit == commit || input.between.contains(commit)
}

fn adopt_commits(input: &Input<'_>, lines: &mut [Line]) {
    let sealed = of(&input.sealed.lines);
    for line in lines {
        if let Line::Object(own) = line
            && let Some(there) = sealed.get(&own.id)
            && is_known(input, &there.commit)
        {
            own.commit.clone_from(&there.commit);
        }
    }
}

fn objects(sealed: &[Line], own: &[Line]) -> Vec<Difference> {
    let (sealed, own) = (of(sealed), of(own));
    let mut found = Vec::new();
    for (id, there) in &sealed {
        match own.get(id) {
            None => found.push(Difference::Foreign((*id).clone())),
            Some(here) if here != there => found.push(Difference::Other((*id).clone())),
            Some(_) => {}
        }
    }
    let lacking = own.keys().filter(|id| !sealed.contains_key(*id));
    found.extend(lacking.map(|id| Difference::Lacking((*id).clone())));
    found
}

/// A tombstone must be one's own too. One for what no reproduced state ever had deletes nothing where only those are
/// applied. To leave an orphan, or nothing, in the place of a tombstone deletes less: that is no difference.
fn deletions(input: &Input<'_>, own: &[Line]) -> Vec<Difference> {
    let buried = |lines: &[Line]| -> BTreeSet<ObjectId> {
        let tombstones = lines.iter().filter_map(|line| match line {
            Line::Tombstone(line) => Some(line.id.clone()),
            Line::Object(_) | Line::Orphan(_) => None,
        });
        tombstones.collect()
    };
    let ours = buried(own);
    let known: BTreeSet<&ObjectId> = input.confirmed.lines.iter().map(Line::id).collect();
    buried(&input.sealed.lines)
        .into_iter()
        .filter(|id| !ours.contains(id))
        .filter(|id| known.contains(id) || input.dropped.contains(id))
        .map(Difference::Deletes)
        .collect()
}

fn apps(input: &Input<'_>, own: &[AppEntry]) -> Vec<Difference> {
    let by_name = |apps: &[AppEntry]| -> BTreeMap<String, AppEntry> {
        let named = apps.iter().map(|app| (app.name.clone(), app.clone()));
        named.collect()
    };
    let (sealed, mut own) = (by_name(&input.sealed.apps), by_name(own));
    for (name, app) in &mut own {
        if let Some(there) = sealed.get(name)
            && is_known(input, &there.commit)
        {
            app.commit.clone_from(&there.commit);
        }
    }
    let names: BTreeSet<&String> = sealed.keys().chain(own.keys()).collect();
    let differs = names
        .into_iter()
        .filter(|name| sealed.get(*name) != own.get(*name));
    differs.map(|name| Difference::App(name.clone())).collect()
}

/// What the next state may not delete by a bare word: all that was known, and is spoken of no more.
fn dropped(input: &Input<'_>) -> BTreeSet<ObjectId> {
    let now: BTreeSet<&ObjectId> = input.sealed.lines.iter().map(Line::id).collect();
    let before = input.confirmed.lines.iter().map(Line::id);
    before
        .chain(input.dropped)
        .filter(|id| !now.contains(id))
        .cloned()
        .collect()
}
