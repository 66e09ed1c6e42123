//! A pause holds new states back; what was verified last keeps being healed. Nothing is asked of the hub: a pause ends by the
//! clock, or by a resume that came.

use std::sync::Arc;
use std::time::Duration;

use countersign_ledger::time::Time;
use countersign_ledger::verify::overrides::Pause;

use super::{Failure, Puller};
use crate::clock;
use crate::overrides::{self, Overrides, Turn};
use crate::receipt::inbox::PauseSeen;
use crate::verify::{Heard, Kept};

/// Timers are looked at in pieces: a machine that slept has another clock than they.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A state that passed all checks and waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its generation.
    pub generation: u64,
    /// The app that is paused; all for none.
    pub app: Option<String>,
    /// Why, by whom, until when.
    pub pause: Pause,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Pause {
            reason, by, until, ..
        } = &self.pause;
        match &self.app {
            None => write!(f, "paused")?,
            Some(app) => write!(f, "app {app} is paused")?,
        }
        write!(
            f,
            " by {by} until {until}: {reason}; generation {} waits",
            self.generation
        )
    }
}

impl Puller {
    /// What was verified of overrides counts from here on; what was refused is told and changes nothing.
    pub(super) async fn heard(&mut self, came: Heard) -> Result<(), Failure> {
        for refusal in &came.refused {
            self.engine.refused_by(refusal);
        }
        if self.overrides.add(came.words) {
            self.keep_overrides().await?;
        }
        self.turn().await
    }

    /// Tells which pauses began and ended, by the clock or by a word.
    pub(super) async fn turn(&mut self) -> Result<(), Failure> {
        let turns = self.overrides.turns(now());
        if turns.is_empty() {
            return Ok(());
        }
        self.keep_overrides().await?;
        for turn in turns {
            let Turn {
                index,
                began,
                app,
                until,
            } = turn;
            tracing::warn!(index, began, app, %until, "pause");
            self.engine.receipts.paused(PauseSeen {
                index,
                began,
                app,
                until,
                time: clock::unix_millis(),
            });
        }
        Ok(())
    }

    async fn keep_overrides(&self) -> Result<(), Failure> {
        let (saved, record) = (Arc::clone(&self.saved), self.overrides.record());
        tokio::task::spawn_blocking(move || saved.keep_overrides(&record))
            .await
            .map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Whether a pause may hold back what comes; then what was kept must stay at hand.
    pub(super) fn may_hold(&self) -> bool {
        let holds = self.overrides.in_force(now());
        holds.pause.is_some() || !holds.apps.is_empty()
    }

    /// All checks of `new` have passed: may it be applied now?
    pub(super) fn check_pauses(&self, old: Option<&Kept>, new: &Kept) -> Result<(), Failure> {
        let holds = self.overrides.in_force(now());
        let old = old.map_or(&[][..], |old| old.manifest().lines());
        match overrides::held_by(&holds, old, new.manifest().lines()) {
            None => Ok(()),
            Some((app, pause)) => Err(Failure::Paused(Box::new(Held {
                generation: new.desired().generation,
                app,
                pause,
            }))),
        }
    }

    /// Says once for each state and pause that it waits.
    pub(super) fn say_held(&mut self, held: Held) {
        if self.held.as_ref() == Some(&held) {
            return;
        }
        self.engine.waits_for_people("PAUSED", &held.to_string());
        self.held = Some(held);
    }
}

/// Waits until the first of the pauses ends; for ever without one.
///
/// # Cancel safety
/// May be dropped.
pub(super) async fn over(overrides: &Overrides) {
    let Some(end) = overrides.in_force(now()).next_end() else {
        return std::future::pending().await;
    };
    loop {
        let left = end.ms().saturating_sub(now().ms());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left).min(LOOK_EVERY)).await;
    }
}

pub(super) fn now() -> Time {
    let ms = u64::try_from(clock::unix_millis()).unwrap_or(0);
    Time::from_ms(ms).unwrap_or_default()
}
