//! How old the newest cosigned checkpoint is: a hub that shows no newer one withholds the log, and says nothing while it
//! does. The agent goes on with what it has, and says so.

use std::time::Duration;

use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Level;
use countersign_ledger::verify::Known;

use crate::clock;

/// Tells once for each checkpoint that grew stale.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    told: Option<u64>,
}

impl Freshness {
    /// Waits until the newest checkpoint is too old, and says so; for ever where none can be, or where it was told.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub(super) async fn lost(&mut self, known: &Known) -> Refusal {
        let Some(time) = cosigned(known).filter(|time| self.told != Some(*time)) else {
            return std::future::pending().await;
        };
        loop {
            let now = u64::try_from(clock::unix()).unwrap_or_default();
            match left(time, now, known.stale_seconds) {
                None => {
                    self.told = Some(time);
                    return Refusal::CheckpointStale { time, now };
                }
                // In pieces: a machine that slept has another clock than its timers.
                Some(left) => tokio::time::sleep(left.min(Duration::from_secs(30))).await,
            }
        }
    }
}

/// When a quorum cosigned the newest checkpoint that one did cosign, where this cluster's level asks for one.
fn cosigned(known: &Known) -> Option<u64> {
    let level = known.roots.newest().cluster(&known.cluster).ok()?.level;
    let seen = known.seen.as_ref()?;
    (level >= Level::Witnessed).then_some(seen.clock())?
}

/// Until a checkpoint of that time is too old; none if it is.
fn left(time: u64, now: u64, stale: u64) -> Option<Duration> {
    let age = now.saturating_sub(time);
    (age <= stale).then(|| Duration::from_secs(stale + 1 - age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_told_when_it_would_be_refused_and_not_before() {
        let stale = 900;
        assert_eq!(
            left(1_000, 1_000, stale),
            Some(Duration::from_secs(stale + 1))
        );
        assert_eq!(
            left(1_000, 1_000 + stale, stale),
            Some(Duration::from_secs(1))
        );
        assert_eq!(left(1_000, 1_001 + stale, stale), None);
        assert_eq!(
            left(1_000, 900, stale),
            Some(Duration::from_secs(stale + 1)),
            "a clock that was set back"
        );
    }
}
