//! Is a sealed state what its commit renders to? What a second renderer decides once it has rendered. Pure.
//!
//! A state is not a function of its commit alone: an app that failed where it was sealed keeps the objects of an older
//! commit, and what is deleted depends on what was there. So a state is judged against the last one that was reproduced:
//! each app stands whole as the commit renders it, or whole as it stood there; tombstones are those that follow from the
//! two. What was sealed in between and not reproduced counts for nothing, so nobody's word is taken over from it.
//!
//! Read first: [`Input`], [`judge`], [`Verdict`].
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::{AppEntry, Content, Line, ObjectLine, render_digest};

use crate::carry::{Carried, Previous, Wanted, WantedLine};
use crate::desired::AppOutcome;
use crate::failure::AppFailure;
use crate::guard::DeletionPermits;
use crate::model::Fleet;
use crate::object::Object;
use crate::plan;

mod compare;

pub use compare::Difference;

/// What a cluster runs by one sealed state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// All lines.
    pub lines: Vec<Line>,
    /// All apps.
    pub apps: Vec<AppEntry>,
}

/// All that decides whether a state is reproduced.
pub struct Input<'a> {
    /// The fleet of the state's commit.
    pub fleet: &'a Fleet,
    /// The cluster.
    pub cluster: &'a str,
    /// The commit, hex.
    pub commit: &'a str,
    /// What each app of the cluster renders to.
    pub outcomes: &'a [AppOutcome],
    /// The state, as it was sealed.
    pub sealed: &'a State,
    /// The last state of the cluster that was reproduced; empty if none was.
    pub confirmed: &'a State,
    /// Commits of the states that were sealed in between and not reproduced.
    pub between: &'a BTreeSet<String>,
    /// Identities that reproduced states no longer speak of, and may lie in the cluster all the same.
    pub dropped: &'a BTreeSet<ObjectId>,
    /// Apps whose removal deletes, as each commit says that may have been the one before.
    pub removals: &'a [BTreeSet<String>],
    /// Deletions that a person permitted.
    pub permits: &'a DeletionPermits,
}

/// What a second renderer found.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It has a state of its own to compare with.
    Judged(Judged),
    /// It can't say: another try, or another key, is needed.
    Open(AppFailure),
}

/// Two states, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Render digest of its own.
    pub own: Digest,
    /// Render digest of what was sealed.
    pub sealed: Digest,
    /// Where they differ; none if they agree.
    pub differences: Vec<Difference>,
    /// Apps that stand as they stood before, although the commit renders to something else.
    pub held: Vec<String>,
    /// [`Input::dropped`], for the next state.
    pub dropped: BTreeSet<ObjectId>,
}

impl Judged {
    /// Nothing is in the state that does not follow from its commit and the last reproduced state.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.own == self.sealed
    }
}

/// Codes of apps that need a key or a salt that a second renderer may lack.
const KEYLESS: [&str; 2] = ["SECRET_ENCRYPTED", "SECRET_SALT_MISSING"];

/// Judges a state. `secret` gives the content of a Secret, given what was sealed under its identity; it may fail with
/// `SECRET_SALT_MISSING`.
pub fn judge(
    input: &Input<'_>,
    mut secret: impl FnMut(&Object, Option<&ObjectLine>) -> Result<Content, AppFailure>,
) -> Verdict {
    let sealed = Sides::of(input.sealed);
    let before = Sides::of(input.confirmed);
    let mut apps: BTreeMap<String, Wanted> = BTreeMap::new();
    let mut held = Vec::new();
    for outcome in input.outcomes {
        let Some(app) = input.fleet.apps.get(&outcome.app) else {
            continue;
        };
        let name = &outcome.app;
        let stands = sealed.stands_as(&before, name);
        let rendered = match &outcome.result {
            Ok(objects) => lines(objects, &sealed, &mut secret),
            Err(failure) => Err(failure.clone()),
        };
        let wanted = match rendered {
            Ok(lines) if !stands || sealed.has_all(name, &lines) => {
                let ids: Vec<&ObjectId> = lines.iter().map(|line| &line.id).collect();
                Wanted::Rendered(plan::wanted_app(
                    input.fleet,
                    app,
                    ids.into_iter(),
                    lines.clone(),
                ))
            }
            Ok(_) => {
                held.push(name.clone());
                Wanted::Failed(AppFailure::new("HELD_BACK", "it was not taken up"))
            }
            Err(failure) if stands => Wanted::Failed(failure),
            Err(failure) if failure.fault || KEYLESS.contains(&failure.code.as_str()) => {
                return Verdict::Open(failure);
            }
            Err(failure) => Wanted::Failed(failure),
        };
        apps.insert(name.clone(), wanted);
    }
    let none = [BTreeSet::new()];
    let removals = match input.removals {
        [] => &none,
        some => some,
    };
    let mut best: Option<Judged> = None;
    for removals in removals {
        let judged = compare::compare(input, carry(input, &apps, removals), &held);
        if best
            .as_ref()
            .is_none_or(|best| judged.differences.len() < best.differences.len())
        {
            best = Some(judged);
        }
    }
    match best {
        Some(judged) => Verdict::Judged(judged),
        None => Verdict::Open(AppFailure::new("INTERNAL", "nothing was compared").as_fault()),
    }
}

fn carry(
    input: &Input<'_>,
    apps: &BTreeMap<String, Wanted>,
    removals: &BTreeSet<String>,
) -> Carried {
    let previous = Previous {
        lines: input.confirmed.lines.clone(),
        apps: input.confirmed.apps.clone(),
        removals: removals.clone(),
    };
    let step = plan::Step {
        fleet: input.fleet,
        cluster: input.cluster,
        commit: input.commit,
        previous: &previous,
        gone: &BTreeSet::new(),
        permits: input.permits,
    };
    // A cluster whose documents can't be read keeps what it has.
    plan::carried(&step, apps.clone()).unwrap_or_else(|| Carried {
        lines: previous.lines.clone(),
        apps: previous.apps.clone(),
        reports: BTreeMap::new(),
        permits: Vec::new(),
        changed: false,
    })
}

fn lines(
    objects: &[Object],
    sealed: &Sides<'_>,
    secret: &mut impl FnMut(&Object, Option<&ObjectLine>) -> Result<Content, AppFailure>,
) -> Result<Vec<WantedLine>, AppFailure> {
    let line = |object: &Object| {
        let there = sealed.objects.get(&object.id).copied();
        let (content, bytes) = if object.secret {
            // The length of a ciphertext says nothing, and is no part of the digest.
            let bytes = there.map_or(0, |there| there.bytes);
            (secret(object, there)?, bytes)
        } else {
            let sha256 = object.sha256;
            (Content::Plain { sha256 }, object.bytes.len() as u64)
        };
        Ok(WantedLine {
            id: object.id.clone(),
            wave: object.wave,
            bytes,
            content,
        })
    };
    objects.iter().map(line).collect()
}

/// A state by identity and by app.
struct Sides<'a> {
    objects: BTreeMap<&'a ObjectId, &'a ObjectLine>,
    apps: BTreeMap<&'a str, (Option<&'a AppEntry>, Vec<&'a ObjectLine>)>,
}

impl<'a> Sides<'a> {
    fn of(state: &'a State) -> Self {
        let objects: BTreeMap<_, _> = state
            .lines
            .iter()
            .filter_map(|line| match line {
                Line::Object(object) => Some((&object.id, object)),
                Line::Tombstone(_) | Line::Orphan(_) => None,
            })
            .collect();
        let mut apps: BTreeMap<&str, (Option<&AppEntry>, Vec<&ObjectLine>)> = BTreeMap::new();
        for line in objects.values() {
            apps.entry(line.app.as_str()).or_default().1.push(line);
        }
        for entry in &state.apps {
            apps.entry(entry.name.as_str()).or_default().0 = Some(entry);
        }
        Self { objects, apps }
    }

    /// The app has the same lines here as there, none in both included.
    fn stands_as(&self, before: &Self, app: &str) -> bool {
        self.apps.get(app) == before.apps.get(app)
    }

    /// The app has these very objects.
    fn has_all(&self, app: &str, lines: &[WantedLine]) -> bool {
        let has = self.apps.get(app).map_or(0, |(_, lines)| lines.len());
        has == lines.len()
            && lines.iter().all(|line| {
                self.objects.get(&line.id).is_some_and(|had| {
                    had.app == app
                        && had.wave == line.wave
                        && had.bytes == line.bytes
                        && had.content == line.content
                })
            })
    }
}

#[cfg(test)]
mod tests;
