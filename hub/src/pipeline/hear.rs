//! What people with override keys said is listened to: when the pipeline opens, when something came in, before each commit.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::pipeline::{Pipeline, PipelineError};
use crate::serve::State;
use crate::store::index::OutsideKind;

/// Timers are looked at in pieces: a machine that slept has another clock than they.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Pipeline {
    /// Takes in what is new; says whether any of it counts.
    pub(super) async fn hear(&mut self) -> Result<bool, PipelineError> {
        let told = *self.said.borrow();
        let Some(log) = self.parts.state.log.clone() else {
            return Ok(false);
        };
        if self.heard == Some(told) {
            return Ok(false);
        }
        let entries = log
            .outside_from(OutsideKind::Override, self.words.next())
            .await?;
        let (permits, any) = self.words.take(entries);
        // Only now: what could not be read is read again.
        self.heard = Some(told);
        if any {
            self.parts.state.set_said(self.words.said());
        }
        if !permits.is_empty() {
            self.parts.state.permits().heard(permits);
            self.feed_rewrites();
        }
        Ok(any)
    }

    /// What these permits allowed is sealed.
    pub(super) async fn spend(&self, permits: &BTreeSet<String>) {
        let commit = self.last_sealed().unwrap_or_default();
        let (all, now) = (self.parts.state.permits(), self.parts.state.now());
        if let Err(fault) = all.spend(permits, &commit, now).await {
            tracing::warn!(%fault, "it is not kept yet that permits are used");
        }
    }
}

/// Waits until that time is over, by the hub's clock; for ever without one.
pub(super) async fn over(state: &State, end: Option<Timestamp>) {
    let Some(end) = end else {
        return std::future::pending().await;
    };
    loop {
        let left = Duration::try_from(end.duration_since(state.now())).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
}
