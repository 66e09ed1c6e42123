//! What people with override keys said, sent on to the agents that it concerns.
//!
//! The hub decides nothing here: it leaves out what can't matter any more, and the agent judges the rest by itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Override, Statement};
use countersign_ledger::time::Time;
use countersign_ledger::verify::deletions;
use tokio::sync::watch;

use super::SealedFault;
use super::proof::fault;
use crate::log::Log;
use crate::serve::clock::Clock;
use crate::serve::limits::OVERRIDES_PER_HEAD_MAX;
use crate::store::index::OutsideKind;

/// A word that lets one state through before witnesses have seen it.
#[derive(Debug, Clone)]
pub(super) struct Glass {
    /// Its place in the log.
    pub(super) index: u64,
    /// Its exact bytes.
    pub(super) entry: Bytes,
    /// The digest of the state's envelope.
    pub(super) state: Digest,
    /// When it ends, in milliseconds since 1970.
    pub(super) until: u64,
}

/// The overrides that one stream has to bring.
pub(super) struct Overrides {
    log: Log,
    cluster: String,
    came: watch::Receiver<u64>,
    clock: Clock,
    /// What was told last when they were looked at.
    looked: Option<u64>,
    waiting: Vec<(u64, Bytes)>,
    sent: BTreeSet<u64>,
    glass: Vec<Glass>,
}

impl Overrides {
    pub(super) fn new(log: Log, cluster: &str, came: watch::Receiver<u64>, clock: Clock) -> Self {
        Self {
            log,
            cluster: cluster.to_owned(),
            came,
            clock,
            looked: None,
            waiting: Vec::new(),
            sent: BTreeSet::new(),
            glass: Vec::new(),
        }
    }

    /// Looks what came in since the last look.
    pub(super) async fn look(&mut self) -> Result<(), SealedFault> {
        let told = Some(*self.came.borrow());
        if self.looked == told {
            return Ok(());
        }
        let mut all = Vec::new();
        for about in [self.cluster.as_str(), ""] {
            let found = self.log.outside(OutsideKind::Override, about).await;
            all.extend(found.map_err(fault)?.into_iter().filter_map(read));
        }
        self.glass = all.iter().filter_map(glass).collect();
        self.waiting = concerning(all, self.now());
        self.waiting.retain(|(index, _)| !self.sent.contains(index));
        // Only now: a look that was dropped half-way is made again.
        self.looked = told;
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default()
    }

    /// The words that let a state through now.
    pub(super) fn glass(&self) -> Vec<Glass> {
        let now = self.now();
        let holds = self.glass.iter().filter(|glass| now < glass.until);
        holds.cloned().collect()
    }

    /// Whether some stand among the first `size` entries.
    pub(super) fn are_covered(&self, size: u64) -> bool {
        self.waiting.iter().any(|(index, _)| *index < size)
    }

    /// Whether some wait for a larger checkpoint than that.
    pub(super) fn are_beyond(&self, size: u64) -> bool {
        self.waiting.iter().any(|(index, _)| *index >= size)
    }

    /// Takes those among the first `size` entries: they are sent.
    pub(super) fn take(&mut self, size: u64) -> Vec<(u64, Bytes)> {
        let (covered, beyond) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(index, _)| *index < size);
        self.waiting = beyond;
        let covered: Vec<(u64, Bytes)> = covered;
        self.sent.extend(covered.iter().map(|(index, _)| *index));
        covered
    }

    /// Waits until something came in.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub(super) async fn came(&mut self) {
        let looked = self.looked;
        if self
            .came
            .wait_for(|told| looked != Some(*told))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

fn read((index, bytes): (u64, Bytes)) -> Option<(u64, Override, Bytes)> {
    let envelope = Envelope::parse(&bytes, &Limits::entry()).ok()?;
    match Statement::parse(envelope.payload()).ok()? {
        Statement::Override(says) => Some((index, says, bytes)),
        _ => None,
    }
}

fn glass((index, says, bytes): &(u64, Override, Bytes)) -> Option<Glass> {
    let state = match says.kind {
        OverrideKind::BreakGlass => says.what.parse().ok()?,
        _ => return None,
    };
    Some(Glass {
        index: *index,
        entry: bytes.clone(),
        state,
        until: says.until.ms(),
    })
}

/// Those that may matter at `now`, in milliseconds, in the order of the log: what has not ended, each resume that stands after
/// a pause that has not, and permits that a late state may rest on. Pure.
fn concerning(mut all: Vec<(u64, Override, Bytes)>, now: u64) -> Vec<(u64, Bytes)> {
    all.sort_by_key(|(index, ..)| *index);
    let time = Time::from_ms(now).unwrap_or_default();
    let mut paused = false;
    let mut found: Vec<(u64, Bytes)> = Vec::new();
    for (index, says, bytes) in all {
        let holds = now < says.until.ms();
        let matters = match says.kind {
            OverrideKind::Pause => {
                paused |= holds;
                holds
            }
            OverrideKind::Resume => paused,
            OverrideKind::BreakGlass => holds,
            OverrideKind::Deletion => deletions::matters(says.until, time),
            OverrideKind::Rewrite | OverrideKind::Policies => false,
        };
        if matters {
            found.push((index, bytes));
        }
    }
    let surplus = found.len().saturating_sub(OVERRIDES_PER_HEAD_MAX);
    found.drain(..surplus);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[(u64, OverrideKind, u64)]) -> Vec<(u64, Override, Bytes)> {
        let word = |&(index, kind, until): &(u64, OverrideKind, u64)| {
            let says = Override {
                fleet: "acme".into(),
                kind,
                cluster: Some("one".into()),
                app: None,
                what: String::new(),
                reason: "a storm".into(),
                by: "ada".into(),
                issued: Time::default(),
                until: Time::from_ms(until).unwrap(),
            };
            (index, says, Bytes::new())
        };
        all.iter().map(word).collect()
    }

    #[test]
    fn what_has_ended_is_left_out_and_a_resume_goes_with_the_pauses_before_it() {
        use OverrideKind::{BreakGlass, Deletion, Pause, Resume};
        let places = |all: &[(u64, OverrideKind, u64)]| -> Vec<u64> {
            let found = concerning(words(all), 50);
            found.into_iter().map(|(index, _)| index).collect()
        };
        assert_eq!(places(&[(9, Pause, 60), (4, Pause, 50)]), [9]);
        assert_eq!(
            places(&[(1, Resume, 60), (4, Pause, 60), (5, Resume, 10)]),
            [4, 5]
        );
        assert_eq!(places(&[(4, Pause, 50), (5, Resume, 60)]), [0; 0]);
        assert_eq!(places(&[(4, BreakGlass, 60), (5, BreakGlass, 50)]), [4]);
        assert_eq!(places(&[(4, Deletion, 60), (5, Deletion, 50)]), [4, 5]);
        let late = 50 + 30 * 86_400_000;
        let found = concerning(words(&[(4, Deletion, 50), (5, Deletion, 51)]), late);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn of_too_many_the_newest_go_out() {
        let many: Vec<_> = (0..=OVERRIDES_PER_HEAD_MAX as u64)
            .map(|index| (index, OverrideKind::Pause, 60))
            .collect();
        let found = concerning(words(&many), 50);
        assert_eq!(found.len(), OVERRIDES_PER_HEAD_MAX);
        assert_eq!(found.first().map(|(index, _)| *index), Some(1));
    }
}
