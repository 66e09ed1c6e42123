//! What a state deletes, beside what people permitted. From level `authored` on a sealer's word alone deletes within the
//! limits that no honest hub goes beyond without a permit; for more a person's `override/v1` stands in the log before it.
//!
//! An agent does not know an app's own, stricter limits, and may see many generations at once; so this check refuses nothing
//! that an honest hub seals. A thief of the hub's keys deletes no object of a protected kind, and of the others so many with
//! each generation as anybody may.

use std::collections::BTreeMap;

use crate::deletion::{OBJECTS_MAX, PERCENT_FROM, PERCENT_MAX, deletion_digest, is_protected};
use crate::identity::ObjectId;
use crate::manifest::Line;
use crate::refusal::Refusal;
use crate::statement::override_::OverrideKind;
use crate::time::Time;

use super::overrides::VerifiedOverride;

/// For so long after its end a word is sent on and kept: the state that was sealed while it held may come late.
const LATE_MS: u64 = 30 * 86_400_000;

/// Whether a word for a deletion that ends `until` may still matter at `now`. After that a person says it again.
#[must_use]
pub fn matters(until: Time, now: Time) -> bool {
    now.ms() < until.ms().saturating_add(LATE_MS)
}

/// What an identity was in the last verified state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Had<'s> {
    /// An object of this app.
    Object(&'s str),
    /// Left behind.
    Orphan,
    /// Deleted already.
    Tombstone,
}

/// The last verified state, as far as deleting is concerned.
pub trait Stood {
    /// Its generation.
    fn generation(&self) -> u64;
    /// What an identity was in it; none if it was nothing.
    fn had(&self, id: &ObjectId) -> Option<Had<'_>>;
    /// How many objects an app had.
    fn objects(&self, app: &str) -> usize;
}

/// A new state, all other checks of which have passed.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// Its generation.
    pub generation: u64,
    /// Its place in the log.
    pub index: u64,
    /// Its lines.
    pub lines: &'a [Line],
    /// A time at which it was not in the log yet, if one is known.
    pub after: Option<Time>,
}

/// Checks what `new` deletes that `stood` did not, by what people said.
///
/// # Errors
/// [`Refusal::DeletionNotPermitted`], with the digest that a person would have to permit.
pub fn deletions(
    stood: &dyn Stood,
    new: &New<'_>,
    words: &[VerifiedOverride],
) -> Result<(), Refusal> {
    let permitted = |app: &str, ids: &[&ObjectId]| {
        let digest = deletion_digest(new.cluster, app, ids.iter().copied());
        let digest = digest.to_string();
        let allows = |word: &&VerifiedOverride| allows(word, new, app, &digest);
        words.iter().any(|word| allows(&word))
    };
    let mut unsaid: BTreeMap<&str, Vec<&ObjectId>> = BTreeMap::new();
    for ((app, _), ids) in buried(stood, new) {
        let (orphans, had): (Vec<&ObjectId>, Vec<&ObjectId>) = ids
            .iter()
            .copied()
            .partition(|id| matches!(stood.had(id), Some(Had::Orphan)));
        // What one commit removed and what was left behind are permitted apart.
        let rest = if permitted(app, &ids) {
            Vec::new()
        } else if permitted(app, &orphans) {
            had
        } else if permitted(app, &had) {
            orphans
        } else {
            ids
        };
        for id in rest {
            // A state can't give an object to another app to delete it as that one's.
            let owner = match stood.had(id) {
                Some(Had::Object(owner)) => owner,
                Some(Had::Orphan | Had::Tombstone) | None => app,
            };
            unsaid.entry(owner).or_default().push(id);
        }
    }
    let steps = new.generation.saturating_sub(stood.generation()).max(1);
    for (app, ids) in unsaid {
        if exceeds(stood, new, steps, app, &ids) && !permitted(app, &ids) {
            return Err(Refusal::DeletionNotPermitted {
                app: app.to_owned(),
                objects: ids.len(),
                digest: deletion_digest(new.cluster, app, ids),
            });
        }
    }
    Ok(())
}

/// What is newly deleted, by the app and commit that it is said of.
fn buried<'a>(stood: &dyn Stood, new: &New<'a>) -> BTreeMap<(&'a str, &'a str), Vec<&'a ObjectId>> {
    let mut buried: BTreeMap<(&str, &str), Vec<&ObjectId>> = BTreeMap::new();
    for line in new.lines {
        if let Line::Tombstone(line) = line
            && stood.had(&line.id) != Some(Had::Tombstone)
        {
            let of = (line.app.as_str(), line.commit.as_str());
            buried.entry(of).or_default().push(&line.id);
        }
    }
    buried
}

/// A word for exactly these objects, before the state in the log, that had not ended before the state can have been sealed.
fn allows(word: &VerifiedOverride, new: &New<'_>, app: &str, digest: &str) -> bool {
    let says = word.says();
    says.kind == OverrideKind::Deletion
        && word.index() < new.index
        && says.cluster.as_deref() == Some(new.cluster)
        && says.app.as_deref() == Some(app)
        && says.what == digest
        && new.after.is_none_or(|after| after < says.until)
}

/// Whether no hub deletes that much of an app in so many states without a permit.
fn exceeds(stood: &dyn Stood, new: &New<'_>, steps: u64, app: &str, ids: &[&ObjectId]) -> bool {
    let (count, had) = (ids.len(), stood.objects(app));
    let many = count as u64 > u64::from(OBJECTS_MAX).saturating_mul(steps);
    if many || ids.iter().any(|id| is_protected(id)) {
        return true;
    }
    if steps > 1 {
        return false;
    }
    // An app that is gone altogether may have asked for that; one that stands is held to its percentage.
    let stands = new
        .lines
        .iter()
        .any(|line| matches!(line, Line::Object(line) if line.app == app));
    let percent = had > PERCENT_FROM && count * 100 > PERCENT_MAX as usize * had;
    // From one generation to the next only objects are deleted without a word: not what was left behind or never there.
    let object = |id: &&ObjectId| matches!(stood.had(id), Some(Had::Object(_)));
    (stands && percent) || !ids.iter().all(object)
}

#[cfg(test)]
mod tests;
