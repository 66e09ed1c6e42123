//! What people with override keys said: which of it counts, and what of it is in force.
//!
//! [`judge`] looks at one entry of the log; [`in_force`] at all that counted, and at the time. Both are pure: hub, agent and
//! whoever reads the log later come to the same answer.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::digest::Digest;
use crate::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use crate::key::Verify;
use crate::refusal::Refusal;
use crate::statement::override_::OverrideKind;
use crate::statement::{Override, Statement};
use crate::time::Time;
use crate::trust::{Holds, Role, Roots, Windows};

use super::Known;
use super::checkpoint::{Tree, VerifiedCheckpoint};
use super::inclusion::Link;

/// A person's word that counts: it stands in the log, and its key was allowed to say it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedOverride {
    index: u64,
    payload: Digest,
    says: Override,
}

impl VerifiedOverride {
    /// Its place in the log.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// SHA-256 of what was signed. An envelope can be written in many ways, its payload in one.
    #[must_use]
    pub fn payload(&self) -> Digest {
        self.payload
    }

    /// What it says.
    #[must_use]
    pub fn says(&self) -> &Override {
        &self.says
    }
}

/// Judges one entry for the cluster that `known` is of: it stands in the log, it is of this fleet, of this cluster or of all,
/// and bears the key of the person whom it names, who could sign overrides at that place of the log.
pub fn judge<E: AsRef<[u8]>>(
    known: &Known,
    link: &Link<E>,
    checkpoint: &VerifiedCheckpoint,
    verifier: &dyn Verify,
) -> Result<VerifiedOverride, Refusal> {
    super::root::check_log(known, checkpoint)?;
    under(known, link, checkpoint.tree(), verifier)
}

pub(super) fn under<E: AsRef<[u8]>>(
    known: &Known,
    link: &Link<E>,
    tree: &Tree,
    verifier: &dyn Verify,
) -> Result<VerifiedOverride, Refusal> {
    let index = link.check(tree)?;
    counted(known, link.envelope.as_ref(), index, verifier)
}

/// Judges again what was judged before and kept with its place: all but the inclusion.
pub fn rejudge(
    known: &Known,
    envelope: &[u8],
    index: u64,
    verifier: &dyn Verify,
) -> Result<VerifiedOverride, Refusal> {
    counted(known, envelope, index, verifier)
}

fn counted(
    known: &Known,
    bytes: &[u8],
    index: u64,
    verifier: &dyn Verify,
) -> Result<VerifiedOverride, Refusal> {
    let wrong = |problem| Refusal::OverrideInvalid { problem };
    let envelope = Envelope::parse(bytes, &Limits::entry())?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(wrong("is no statement"));
    }
    let Statement::Override(says) = Statement::parse(envelope.payload())? else {
        return Err(wrong("is another statement"));
    };
    if says.fleet != known.roots.newest().fleet() {
        return Err(wrong("is of another fleet"));
    }
    if says
        .cluster
        .as_ref()
        .is_some_and(|cluster| *cluster != known.cluster)
    {
        return Err(wrong("is of another cluster"));
    }
    check_signer(
        &known.roots,
        &known.windows,
        &envelope,
        &says,
        index,
        verifier,
    )?;
    Ok(VerifiedOverride {
        index,
        payload: Digest::of(envelope.payload()),
        says,
    })
}

/// The one who is named signed it, and could at that place. Where no entry says since when roots are in effect, those listed
/// now count: a key that was dropped says nothing more.
fn check_signer(
    roots: &Roots,
    windows: &Windows,
    envelope: &Envelope,
    says: &Override,
    index: u64,
    verifier: &dyn Verify,
) -> Result<(), Refusal> {
    let wrong = |problem| Err(Refusal::OverrideInvalid { problem });
    let newest = roots.newest();
    let listed: Vec<_> = roots
        .iter()
        .flat_map(|root| &root.document().overriders)
        .filter(|named| named.name == says.by)
        .map(|named| named.key)
        .collect();
    let signers = envelope.signed_by(&listed, verifier);
    let mut refusal = None;
    for key in &signers {
        match windows.holds(key, Role::Overrider, index) {
            Holds::Yes => return Ok(()),
            Holds::Unrecorded if newest.holders(Role::Overrider).contains(key) => return Ok(()),
            Holds::Unrecorded => {}
            Holds::Dropped { version, since } => {
                refusal = Some(Refusal::KeyRevoked {
                    index,
                    version,
                    since,
                });
            }
            Holds::NotYet => {
                refusal.get_or_insert(Refusal::KeyNotYet { index });
            }
        }
    }
    refusal.map_or_else(
        || wrong("bears no signature of the person whom it names, for overrides"),
        Err,
    )
}

/// A pause that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When it ends by itself.
    pub until: Time,
    /// Its place in the log.
    pub index: u64,
}

impl Pause {
    fn of(word: &VerifiedOverride) -> Self {
        Self {
            reason: word.says.reason.clone(),
            by: word.says.by.clone(),
            until: word.says.until,
            index: word.index,
        }
    }

    /// The one that ends last; of two that end together, the first.
    fn later(self, other: Self) -> Self {
        if other.until > self.until {
            other
        } else {
            self
        }
    }
}

/// What holds at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// Nothing new is applied at all.
    pub pause: Option<Pause>,
    /// Nothing new is applied to these apps.
    pub apps: BTreeMap<String, Pause>,
}

impl InForce {
    /// When the first of the pauses ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Time> {
        self.pause
            .iter()
            .chain(self.apps.values())
            .map(|pause| pause.until)
            .min()
    }
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds. A resume holds for good: it ends what stands before it.
    Holds,
    /// Its time is over.
    Ended,
    /// A resume at this place ended it.
    Resumed(u64),
}

/// What became of each of `words` by `now`, for the one cluster that they were judged for, by their places. The same word twice
/// stands at its first place.
#[must_use]
pub fn standing(
    words: &[VerifiedOverride],
    now: Time,
) -> BTreeMap<u64, (&VerifiedOverride, Standing)> {
    let mut first: BTreeMap<Digest, &VerifiedOverride> = BTreeMap::new();
    for word in words {
        let known = first.entry(word.payload).or_insert(word);
        *known = std::cmp::min_by_key(*known, word, |word| word.index);
    }
    let resumes: BTreeMap<u64, &Override> = first
        .values()
        .filter(|word| word.says.kind == OverrideKind::Resume)
        .map(|word| (word.index, &word.says))
        .collect();
    let standing = |word: &VerifiedOverride| match word.says.kind {
        OverrideKind::Resume => Standing::Holds,
        OverrideKind::Pause => resumes
            .range((Bound::Excluded(word.index), Bound::Unbounded))
            .find(|(_, resume)| resume.covers(&word.says))
            .map_or_else(
                || by_time(word, now),
                |(index, _)| Standing::Resumed(*index),
            ),
        OverrideKind::BreakGlass
        | OverrideKind::Deletion
        | OverrideKind::Rewrite
        | OverrideKind::Policies => by_time(word, now),
    };
    first
        .into_values()
        .map(|word| (word.index, (word, standing(word))))
        .collect()
}

fn by_time(word: &VerifiedOverride, now: Time) -> Standing {
    if now < word.says.until {
        Standing::Holds
    } else {
        Standing::Ended
    }
}

/// What of `words` holds at `now`, for the one cluster that they were judged for. A resume ends the pauses that stand before it
/// in the log and that it covers; the same word twice counts at its first place.
#[must_use]
pub fn in_force(words: &[VerifiedOverride], now: Time) -> InForce {
    let mut in_force = InForce::default();
    for (word, standing) in standing(words, now).into_values() {
        if word.says.kind != OverrideKind::Pause || standing != Standing::Holds {
            continue;
        }
        let pause = Pause::of(word);
        match &word.says.app {
            None => {
                in_force.pause = Some(match in_force.pause.take() {
                    Some(other) => other.later(pause),
                    None => pause,
                });
            }
            Some(app) => {
                let longest = match in_force.apps.remove(app) {
                    Some(other) => other.later(pause),
                    None => pause,
                };
                in_force.apps.insert(app.clone(), longest);
            }
        }
    }
    in_force
}

#[cfg(test)]
pub(super) mod tests;
