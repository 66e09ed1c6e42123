//! What people with override keys said, as operators are shown it. Nothing here decides anything: agents judge for themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_fleet::api::{Overrides, Paused};
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::time::Time;
use countersign_ledger::verify::overrides::{Standing, VerifiedOverride, standing};
use jiff::Timestamp;

use super::entries::{Refusal, proven};
use super::limits::OVERRIDES_LISTED_MAX;
use super::state::State;
use crate::store::index::OutsideKind;

/// What counts of what was said, as the pipeline heard it last.
#[derive(Debug, Default)]
pub(crate) struct Said(RwLock<Arc<[VerifiedOverride]>>);

impl Said {
    pub(crate) fn set(&self, words: &[VerifiedOverride]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = words.into();
    }

    /// The pauses that hold for a cluster.
    pub(crate) fn pauses(&self, cluster: &str, now: Timestamp) -> Vec<Paused> {
        let words = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let concerns = |word: &&VerifiedOverride| {
            let of = word.says().cluster.as_deref();
            of.is_none_or(|of| of == cluster)
        };
        let own: Vec<VerifiedOverride> = words.iter().filter(concerns).cloned().collect();
        pauses(&own, now)
    }
}

/// Pure.
fn pauses(words: &[VerifiedOverride], now: Timestamp) -> Vec<Paused> {
    let ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let now = Time::from_ms(ms).unwrap_or_default();
    let paused = |(index, (word, standing)): (u64, (&VerifiedOverride, Standing))| {
        let says = word.says();
        let until = i64::try_from(says.until.ms()).ok()?;
        let holds = says.kind == OverrideKind::Pause && standing == Standing::Holds;
        holds.then_some(Paused {
            app: says.app.clone(),
            reason: says.reason.clone(),
            by: says.by.clone(),
            until: Timestamp::from_millisecond(until).ok()?,
            index,
        })
    };
    standing(words, now)
        .into_iter()
        .filter_map(paused)
        .collect()
}

/// All that override keys signed, the newest if it is too much, each with its proof.
pub(crate) async fn list(state: &State) -> Result<Overrides, Refusal> {
    let Some(log) = &state.log else {
        return Ok(Overrides::default());
    };
    let found = log.outside_from(OutsideKind::Override, 0).await;
    let mut all: BTreeMap<u64, Bytes> = found
        .map_err(|error| Refusal::fault(&error))?
        .into_iter()
        .collect();
    let more = all.len() > OVERRIDES_LISTED_MAX;
    while all.len() > OVERRIDES_LISTED_MAX {
        all.pop_first();
    }
    let mut overrides = Vec::with_capacity(all.len());
    for bytes in all.values() {
        overrides.extend(proven(log, bytes)?);
    }
    Ok(Overrides { overrides, more })
}
