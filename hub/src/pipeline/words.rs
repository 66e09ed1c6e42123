//! What people with override keys said, as far as the pipeline acts on it: permits, and apps that are paused. Pure.
//!
//! It is judged as agents judge it, by its place in the log ([`countersign_ledger::verify::overrides`]), so that hub and
//! agents agree on what holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_fleet::api::{Permit, PermitKind};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Override, Statement};
use countersign_ledger::time::Time;
use countersign_ledger::trust::{Roots, Windows};
use countersign_ledger::verify::Known;
use countersign_ledger::verify::overrides::{Pause, VerifiedOverride, in_force, rejudge};
use jiff::Timestamp;

/// Apps of a cluster that get nothing new, and why.
pub type Paused = BTreeMap<String, Pause>;

/// All that counts of what was said.
#[derive(Debug)]
pub struct Words {
    roots: Roots,
    windows: Windows,
    next: u64,
    said: Vec<VerifiedOverride>,
}

impl Words {
    /// Nothing yet, under these trust roots; `effects` are their entries in the log, in its order.
    #[must_use]
    pub fn new(roots: Roots, effects: &[(u64, Bytes)]) -> Self {
        let windows = windows(&roots, effects);
        Self {
            roots,
            windows,
            next: 0,
            said: Vec::new(),
        }
    }

    /// What counts, in the order of the log.
    #[must_use]
    pub fn said(&self) -> &[VerifiedOverride] {
        &self.said
    }

    /// The first place of the log that was not looked at.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes in overrides from [`Self::next`] on, in the order of the log. Gives the permits among what counts, and whether
    /// anything does.
    pub fn take(&mut self, entries: Vec<(u64, Bytes)>) -> (Vec<Permit>, bool) {
        let before = self.said.len();
        let mut permits = Vec::new();
        for (index, bytes) in entries {
            self.next = self.next.max(index.saturating_add(1));
            match self.judge(&bytes, index) {
                Ok(word) => {
                    permits.extend(permit(&word));
                    self.said.push(word);
                }
                Err(why) => tracing::warn!(index, why, "an override counts for nothing"),
            }
        }
        (permits, self.said.len() > before)
    }

    fn judge(&self, bytes: &[u8], index: u64) -> Result<VerifiedOverride, String> {
        let says = read(bytes).ok_or("is no override")?;
        // One of the whole fleet counts on each cluster alike.
        let cluster = says.cluster.unwrap_or_default();
        let known = Known {
            windows: self.windows.clone(),
            ..Known::new(&cluster, self.roots.clone(), None)
        };
        rejudge(&known, bytes, index, &RingVerifier).map_err(|refusal| refusal.to_string())
    }

    /// The apps of a cluster that are paused at `now`.
    #[must_use]
    pub fn paused(&self, cluster: &str, now: Timestamp) -> Paused {
        let now = time(now);
        if !self.said.iter().any(|word| pauses_an_app(word, now)) {
            return Paused::new();
        }
        let concerning: Vec<VerifiedOverride> = self
            .said
            .iter()
            .filter(|word| {
                let of = word.says().cluster.as_deref();
                of.is_none_or(|of| of == cluster)
            })
            .cloned()
            .collect();
        in_force(&concerning, now).apps
    }

    /// When the next pause of an app ends by itself.
    #[must_use]
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let now = time(now);
        let ends = self
            .said
            .iter()
            .filter(|word| pauses_an_app(word, now))
            .map(|word| word.says().until);
        ends.min().and_then(timestamp)
    }
}

fn pauses_an_app(word: &VerifiedOverride, now: Time) -> bool {
    let says = word.says();
    says.kind == OverrideKind::Pause && says.app.is_some() && now < says.until
}

/// From which place on each root is in effect. The hub wrote these entries itself; one that it can't read leaves the newest
/// root alone to say whose word counts.
fn windows(roots: &Roots, effects: &[(u64, Bytes)]) -> Windows {
    let mut windows = Windows::default();
    for (index, bytes) in effects {
        let statement = Envelope::parse(bytes, &Limits::entry())
            .ok()
            .and_then(|envelope| Statement::parse(envelope.payload()).ok());
        let Some(Statement::TrustEntry(entry)) = statement else {
            continue;
        };
        let root = roots.at(entry.version);
        let Some(root) = root.filter(|root| root.digest() == entry.root) else {
            continue;
        };
        if let Err(why) = windows.push(*index, Arc::new(root.clone())) {
            tracing::warn!(%why, "a trust root's entry is left out");
        }
    }
    windows
}

fn read(bytes: &[u8]) -> Option<Override> {
    let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
    match Statement::parse(envelope.payload()).ok()? {
        Statement::Override(says) => Some(says),
        _ => None,
    }
}

/// A word that permits an act, as operators see it.
fn permit(word: &VerifiedOverride) -> Option<Permit> {
    let says = word.says();
    let permit = match says.kind {
        OverrideKind::Deletion => PermitKind::Deletion {
            app: says.app.clone()?,
            manifest: says.what.clone(),
        },
        OverrideKind::Rewrite => {
            let (reference, commit) = says.what.split_once(' ')?;
            PermitKind::Rewrite {
                reference: reference.to_owned(),
                commit: commit.to_owned(),
            }
        }
        OverrideKind::Policies => PermitKind::Policies {
            set: says.what.clone(),
        },
        OverrideKind::Pause | OverrideKind::Resume | OverrideKind::BreakGlass => return None,
    };
    Some(Permit {
        id: word.payload().to_string(),
        permit,
        reason: says.reason.clone(),
        by: says.by.clone(),
        time: timestamp(says.issued)?,
        used: false,
        until: Some(timestamp(says.until)?),
        entry: Some(word.index()),
    })
}

fn time(at: Timestamp) -> Time {
    let ms = u64::try_from(at.as_millisecond()).unwrap_or_default();
    Time::from_ms(ms).unwrap_or_default()
}

fn timestamp(time: Time) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time.ms()).ok()?).ok()
}

#[cfg(test)]
mod tests;
