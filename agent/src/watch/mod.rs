//! One metadata-only watch for each kind in use, by our label. Events go to the engine, which judges them.
//!
//! Read `drift` (is it drift?), `ownership` (what an event says), `watcher` (one kind), `stream` (one watch),
//! `difference`, `mask` and `additions` (what a record says), `fight` (when we yield). A kind that can't be watched holds up itself alone.

pub mod additions;
pub mod difference;
pub mod drift;
pub mod fight;
pub mod mask;
pub mod ownership;
pub mod stream;
mod watcher;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::apply::discovery::GroupKind;
use crate::engine::Engine;
use watcher::Watcher;

/// All watches.
#[derive(Debug)]
pub struct Watches {
    engine: Arc<Engine>,
    stop: CancellationToken,
    running: HashMap<GroupKind, Running>,
    /// The API server knows streaming lists, as far as is known.
    streaming: Arc<std::sync::atomic::AtomicBool>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    listed: watch::Receiver<bool>,
    _task: JoinHandle<()>,
}

impl Watches {
    /// None yet.
    #[must_use]
    pub fn new(engine: Arc<Engine>, stop: CancellationToken) -> Self {
        Self {
            engine,
            stop,
            running: HashMap::new(),
            streaming: Arc::new(true.into()),
        }
    }

    /// Watches exactly `kinds`.
    pub fn use_kinds(&mut self, kinds: &BTreeSet<GroupKind>) {
        self.running.retain(|kind, running| {
            let keep = kinds.contains(kind);
            if !keep {
                running.stop.cancel();
            }
            keep
        });
        for kind in kinds {
            if self.running.contains_key(kind) {
                continue;
            }
            let stop = self.stop.child_token();
            let (listed_out, listed) = watch::channel(false);
            let watcher = Watcher {
                engine: Arc::clone(&self.engine),
                kind: kind.clone(),
                listed: listed_out,
                streaming: Arc::clone(&self.streaming),
                epoch: self.engine.epochs(),
                listed_at: None,
                broke: false,
            };
            let task = tokio::spawn(watcher.run(stop.clone()));
            self.running.insert(
                kind.clone(),
                Running {
                    stop,
                    listed,
                    _task: task,
                },
            );
        }
        self.engine
            .metrics
            .watches
            .set(i64::try_from(self.running.len()).unwrap_or(0));
    }

    /// Waits until every watch has seen its whole list, but no longer than `limit`: what can't be listed holds up
    /// itself alone.
    pub async fn listed(&self, limit: Duration) {
        let all = async {
            for running in self.running.values() {
                let mut listed = running.listed.clone();
                let _ = listed.wait_for(|listed| *listed).await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }
}
