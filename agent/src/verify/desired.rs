//! A verified state in the agent's own terms: read whole, or from the one before it and the lines that changed.
//!
//! Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::{Content, Line, ObjectLine};
use countersign_ledger::verify::{VerifiedManifest, VerifiedState};

use crate::plan::{App, Desired, Want};

/// A verified state in the agent's own terms.
pub(super) fn whole(state: &VerifiedState) -> Desired {
    let manifest = state.manifest();
    let mut out = Desired::default();
    let names = names(manifest, &out);
    let (mut objects, mut tombstones, mut orphans) = (Vec::new(), Vec::new(), Vec::new());
    for line in manifest.lines() {
        let id = Arc::new(line.id().clone());
        match line {
            Line::Object(object) => objects.push((id, want(object, &names))),
            Line::Tombstone(line) => tombstones.push((id, name(&names, &line.app))),
            Line::Orphan(line) => orphans.push((id, name(&names, &line.app))),
        }
    }
    out.objects = objects.into_iter().collect();
    out.tombstones = tombstones.into_iter().collect();
    out.orphans = orphans.into_iter().collect();
    head(&mut out, manifest, &names);
    out
}

/// [`whole`], of a manifest that has the lines of `before`, but for those in `dropped`, and `lines`.
pub(super) fn after<'a>(
    before: &Desired,
    manifest: &VerifiedManifest,
    lines: impl Iterator<Item = &'a Line>,
    dropped: &HashSet<ObjectId>,
) -> Desired {
    let mut out = before.clone();
    let names = names(manifest, before);
    let mut gone: HashSet<&ObjectId> = dropped.iter().collect();
    for line in lines {
        gone.remove(line.id());
        put(&mut out, line, &names);
    }
    for id in gone {
        out.objects.remove(id);
        out.tombstones.remove(id);
        out.orphans.remove(id);
    }
    head(&mut out, manifest, &names);
    out
}

/// Names of apps, each kept once.
type Names = BTreeMap<Box<str>, Arc<str>>;

/// The apps' names; as `before` has them, where it does.
fn names(manifest: &VerifiedManifest, before: &Desired) -> Names {
    let apps = manifest.apps().as_slice().iter();
    apps.map(|app| {
        let name = match before.apps.get_key_value(app.name.as_str()) {
            Some((name, _)) => Arc::clone(name),
            None => app.name.as_str().into(),
        };
        (app.name.as_str().into(), name)
    })
    .collect()
}

/// A tombstone's or orphan's app may be none of the apps any more.
fn name(names: &Names, text: &str) -> Arc<str> {
    names.get(text).map_or_else(|| text.into(), Arc::clone)
}

fn want(object: &ObjectLine, names: &Names) -> Want {
    Want {
        app: name(names, &object.app),
        wave: object.wave,
        blob: *object.content.blob(),
        bytes: object.bytes,
        commitment: match object.content {
            Content::Plain { .. } => None,
            Content::Secret { commitment, .. } => Some(commitment),
        },
    }
}

/// Generation and apps.
fn head(out: &mut Desired, manifest: &VerifiedManifest, names: &Names) {
    out.generation = manifest.statement().generation();
    let apps = manifest.apps().as_slice().iter();
    out.apps = apps
        .map(|app| {
            let own = name(names, &app.name);
            let app = App {
                name: Arc::clone(&own),
                commit: app.commit.clone(),
                depends_on: app.depends_on.iter().map(|app| name(names, app)).collect(),
                exclusive: app.exclusive,
            };
            (own, app)
        })
        .collect();
}

/// Puts a line in the place of the one that its identity had.
fn put(out: &mut Desired, line: &Line, names: &Names) {
    let id = line.id();
    // The identity as it is kept already, where it is.
    let key = |out: &Desired| match out.objects.entry(id) {
        Some((key, _)) => Arc::clone(key),
        None => Arc::new(id.clone()),
    };
    match line {
        Line::Object(object) => {
            let want = want(object, names);
            if out.objects.get(id) != Some(&want) {
                out.objects.insert(key(out), want);
            }
            out.tombstones.remove(id);
            out.orphans.remove(id);
        }
        Line::Tombstone(line) => {
            let app = name(names, &line.app);
            if out.tombstones.get(id) != Some(&app) {
                out.tombstones.insert(key(out), app);
            }
            out.objects.remove(id);
            out.orphans.remove(id);
        }
        Line::Orphan(line) => {
            let app = name(names, &line.app);
            if out.orphans.get(id) != Some(&app) {
                out.orphans.insert(key(out), app);
            }
            out.objects.remove(id);
            out.tombstones.remove(id);
        }
    }
}
