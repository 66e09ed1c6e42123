//! What people with override keys said to this cluster: kept beside the saved state, so that neither a restart nor an absent
//! hub ends a pause or forgets a resume. What holds is worked out anew from it and the time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::manifest::Line;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::time::Time;
use countersign_ledger::verify::Known;
use countersign_ledger::verify::deletions::matters as permit_matters;
use countersign_ledger::verify::overrides::{InForce, Pause, VerifiedOverride, in_force, rejudge};
use serde::{Deserialize, Serialize};

/// Words that are kept at most: beyond, the oldest are forgotten.
const KEPT_MAX: usize = 1_024;

/// An override that was verified, and the exact bytes that say it.
#[derive(Debug, Clone)]
pub struct Word {
    /// What counts.
    pub verified: VerifiedOverride,
    /// The envelope.
    pub envelope: Bytes,
}

/// All words that may still matter.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    words: BTreeMap<u64, Word>,
    /// Pauses whose beginning was told, by their places.
    told: BTreeSet<u64>,
}

/// As it stands on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    words: Vec<Kept>,
    told: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    index: u64,
    envelope: String,
}

/// A pause began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The place of the override in the log.
    pub index: u64,
    /// It began; otherwise it is over.
    pub began: bool,
    /// The app; all of them for none.
    pub app: Option<String>,
    /// When it ends by itself.
    pub until: Time,
}

impl Overrides {
    /// What was kept, judged again; what counts no more comes as refusals.
    #[must_use]
    pub fn restore(record: Record, known: &Known) -> (Self, Vec<Refusal>) {
        let mut this = Self {
            told: record.told,
            ..Self::default()
        };
        let mut refusals = Vec::new();
        for Kept { index, envelope } in record.words {
            match rejudge(known, envelope.as_bytes(), index, &RingVerifier) {
                Ok(verified) => {
                    let envelope = Bytes::from(envelope);
                    this.words.insert(index, Word { verified, envelope });
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        (this, refusals)
    }

    /// As it is kept.
    #[must_use]
    pub fn record(&self) -> Record {
        let kept = |(index, word): (&u64, &Word)| Kept {
            index: *index,
            // An envelope is JSON: UTF-8.
            envelope: String::from_utf8_lossy(&word.envelope).into_owned(),
        };
        Record {
            words: self.words.iter().map(kept).collect(),
            told: self.told.clone(),
        }
    }

    /// Takes what came. Says whether any of it is new.
    pub fn add(&mut self, came: Vec<Word>) -> bool {
        let mut new = false;
        for word in came {
            let index = word.verified.index();
            new |= self.words.insert(index, word).is_none();
        }
        new
    }

    /// All that is kept, in the order of the log.
    #[must_use]
    pub fn all(&self) -> Vec<VerifiedOverride> {
        let words = self.words.values();
        words.map(|word| word.verified.clone()).collect()
    }

    /// What holds at a time.
    #[must_use]
    pub fn in_force(&self, now: Time) -> InForce {
        in_force(&self.all(), now)
    }

    /// Which pauses began and ended since this was asked last, by what holds now. What can't matter any more is forgotten.
    pub fn turns(&mut self, now: Time) -> Vec<Turn> {
        let holds = self.in_force(now);
        let mut standing: BTreeMap<u64, (Option<String>, Time)> = BTreeMap::new();
        if let Some(pause) = &holds.pause {
            standing.insert(pause.index, (None, pause.until));
        }
        for (app, pause) in &holds.apps {
            standing.insert(pause.index, (Some(app.clone()), pause.until));
        }
        let over = self
            .told
            .iter()
            .filter(|index| !standing.contains_key(*index));
        let over = over.map(|index| {
            let says = self.words.get(index).map(|word| word.verified.says());
            Turn {
                index: *index,
                began: false,
                app: says.and_then(|says| says.app.clone()),
                until: says.map_or(now, |says| says.until),
            }
        });
        let mut turns: Vec<Turn> = over.collect();
        turns.extend(
            standing
                .iter()
                .filter(|(index, _)| !self.told.contains(*index))
                .map(|(index, (app, until))| Turn {
                    index: *index,
                    began: true,
                    app: app.clone(),
                    until: *until,
                }),
        );
        self.told = standing.into_keys().collect();
        self.forget(now);
        turns
    }

    /// Keeps what has not ended, each resume after a pause that has not, and for a while permits: the state that was sealed
    /// under one may come late.
    fn forget(&mut self, now: Time) {
        let mut paused = false;
        self.words.retain(|_, word| {
            let says = word.verified.says();
            let holds = now < says.until;
            paused |= holds && says.kind == OverrideKind::Pause;
            let permits = says.kind == OverrideKind::Deletion && permit_matters(says.until, now);
            holds || permits || (paused && says.kind == OverrideKind::Resume)
        });
        while self.words.len() > KEPT_MAX {
            self.words.pop_first();
        }
    }
}

/// The pause that holds a new state back: one of the whole cluster, or of an app whose lines it changes.
#[must_use]
pub fn held_by(holds: &InForce, old: &[Line], new: &[Line]) -> Option<(Option<String>, Pause)> {
    if let Some(pause) = &holds.pause {
        return Some((None, pause.clone()));
    }
    holds
        .apps
        .iter()
        .find(|(app, _)| !lines_of(old, app).eq(lines_of(new, app)))
        .map(|(app, pause)| (Some(app.clone()), pause.clone()))
}

/// Both manifests are sorted by identity.
fn lines_of<'l>(lines: &'l [Line], app: &'l str) -> impl Iterator<Item = &'l Line> {
    lines.iter().filter(move |line| line.app() == app)
}

#[cfg(test)]
mod tests;
