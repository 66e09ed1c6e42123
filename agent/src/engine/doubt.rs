//! When the API server may not be the one that it was: its store went back to an older day, or another cluster stands
//! in its place.
//!
//! While that is not known nothing is written or deleted. If the store went back, nothing that was expected holds: the
//! last good state is written again, whole, and nothing is deleted for ten minutes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Engine;
use crate::apply::trouble::NO_DELETES;
use crate::{clock, identity};

/// Pauses between looks whether this is still the cluster.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What is doubted.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Counts how often the revision went back: what was learnt in an earlier epoch holds no longer.
    epoch: watch::Sender<u64>,
    /// This is the cluster whose state is kept, as far as is known.
    sure: watch::Sender<bool>,
    /// UID of its kube-system; none until it was read, and then there is nothing to compare with.
    cluster: OnceLock<String>,
    /// The revision that the Lease got last.
    leased: AtomicU64,
    no_deletes_before: Mutex<Option<Instant>>,
}

impl Default for Doubt {
    fn default() -> Self {
        Self {
            epoch: watch::Sender::new(0),
            sure: watch::Sender::new(true),
            cluster: OnceLock::new(),
            leased: AtomicU64::new(0),
            no_deletes_before: Mutex::default(),
        }
    }
}

impl Engine {
    /// This is the cluster: no other is written to.
    pub fn keeps(&self, kube_system: &str) {
        let _ = self.doubt.cluster.set(kube_system.to_owned());
    }

    /// Changes whenever the revision went back.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<u64> {
        self.doubt.epoch.subscribe()
    }

    /// Until when nothing may be deleted, if anything forbids it now.
    #[must_use]
    pub fn deletes_forbidden_until(&self) -> Option<Instant> {
        let went_back = *self
            .doubt
            .no_deletes_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        went_back
            .max(self.api.troubled_until())
            .filter(|until| *until > Instant::now())
    }

    /// A write of ours, the newest of all, got this revision.
    pub fn leased_at(self: &Arc<Self>, revision: u64) {
        let epoch = *self.doubt.epoch.borrow();
        if revision < self.doubt.leased.swap(revision, Ordering::Relaxed) {
            self.revision_went_back(epoch);
        }
    }

    /// The API server's revision is older than one that was seen in `epoch`.
    pub fn revision_went_back(self: &Arc<Self>, epoch: u64) {
        let first = self.doubt.epoch.send_if_modified(|now| {
            let first = *now == epoch;
            if first {
                *now += 1;
            }
            first
        });
        if !first {
            return; // another watch has said so already
        }
        *self
            .doubt
            .no_deletes_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + NO_DELETES);
        self.doubt_cluster();
        self.world().distrust();
        self.refused("REVISION_WENT_BACK", "the API server's revision is older than one seen before: caches dropped, everything is written again, nothing is deleted for ten minutes");
        self.plan_again();
        self.touch();
    }

    /// The connection broke: what answers next may be another cluster. Nothing is written until it has said who it is.
    pub fn doubt_cluster(self: &Arc<Self>) {
        let Some(known) = self.doubt.cluster.get().cloned() else {
            return;
        };
        let was_sure = self
            .doubt
            .sure
            .send_if_modified(|sure| std::mem::replace(sure, false));
        if !was_sure {
            return; // somebody looks already
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let mut pause = PAUSE_MIN;
            loop {
                match identity::kube_system(&engine.api).await {
                    Some(uid) if uid == known => break,
                    Some(uid) => engine.refused_once("IDENTITY_CHANGED", &uid, identity::CHANGED),
                    None => {}
                }
                tokio::time::sleep(clock::jittered(pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            engine.doubt.sure.send_replace(true);
        });
    }

    /// Waits until this is known to be the cluster.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn is_sure(&self) {
        // The sender lives as long as `self`.
        let _ = self.doubt.sure.subscribe().wait_for(|sure| *sure).await;
    }
}
