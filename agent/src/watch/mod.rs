//! One metadata-only watch for each kind in use, by our label. Events go to the engine, which judges them.
//!
//! Read `drift` (is it drift?), `ownership` (what an event says), `stream` (one watch), `difference` and `additions`
//! (what a record says), `fight` (when we yield). A kind that can't be watched holds up itself alone.

pub mod additions;
pub mod difference;
pub mod drift;
pub mod fight;
pub mod ownership;
pub mod stream;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::apply::discovery::GroupKind;
use crate::clock;
use crate::engine::{Engine, Task};
use crate::world::Event;
use stream::{Ended, Item, Stream};

/// A watch lists everything anew so often, and each object is compared in full: the net below the net.
const FULL_EVERY: Duration = Duration::from_secs(3_600);
/// A watch that broke lists anew at most so often; until then it goes on from where it stood.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// Between looks whether a kind that the API server did not know is known now.
const UNKNOWN_EVERY: Duration = Duration::from_millis(250);
/// Pauses after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

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
                last_list: None,
                compared: None,
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

struct Watcher {
    engine: Arc<Engine>,
    kind: GroupKind,
    listed: watch::Sender<bool>,
    streaming: Arc<std::sync::atomic::AtomicBool>,
    last_list: Option<Instant>,
    compared: Option<Instant>,
}

impl Watcher {
    async fn run(mut self, stop: CancellationToken) {
        let (mut since, mut pause) = (String::new(), PAUSE_MIN);
        loop {
            if self
                .compared
                .is_none_or(|then| then.elapsed() >= FULL_EVERY)
            {
                since.clear();
            }
            let started = Instant::now();
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.once(&mut since) => ended,
            };
            if started.elapsed() > Duration::from_secs(30) {
                pause = PAUSE_MIN;
            }
            match &ended {
                Ended::TimeUp => continue,
                Ended::Unknown => {
                    // The sync reads discovery when a write of the kind fails, or its CRD was applied: look there.
                    self.listed.send_replace(true);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(UNKNOWN_EVERY) => {}
                    }
                    continue;
                }
                Ended::NoStreamingLists => {
                    self.streaming
                        .store(false, std::sync::atomic::Ordering::Relaxed);
                    continue;
                }
                Ended::Expired => since.clear(),
                Ended::Refused(status) => {
                    since.clear();
                    // What may not be listed holds up itself alone, never the first plan.
                    self.listed.send_replace(true);
                    tracing::warn!(kind = %self.kind, %status, "can't be watched");
                    self.engine.metrics.watch_ended("refused");
                    if *status == http::StatusCode::NOT_FOUND {
                        let _ = self.engine.discover().await;
                    }
                }
                Ended::Broken(why) => {
                    tracing::info!(kind = %self.kind, why, "watch broke");
                    self.engine.metrics.watch_ended("broken");
                    // The API server may have come back with an older revision: look at everything, but not too often.
                    if self
                        .last_list
                        .is_none_or(|then| then.elapsed() >= LIST_EVERY)
                    {
                        since.clear();
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(clock::jittered(pause)) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One watch from opening to end.
    async fn once(&mut self, since: &mut String) -> Ended {
        let Some(collection) = self.engine.kinds().collection(&self.kind) else {
            return Ended::Unknown;
        };
        let newest = self.newest_held();
        let mut present = since.is_empty().then(HashSet::new);
        if since.is_empty() && !self.streaming.load(std::sync::atomic::Ordering::Relaxed) {
            let mut objects = Vec::new();
            let listed = {
                let mut each = |object: &[u8]| {
                    if let Some(key) = self.there(&Bytes::copy_from_slice(object)) {
                        objects.push(key);
                    }
                };
                stream::list(
                    &self.engine.api,
                    &collection,
                    Some(ownership::APP_LABEL),
                    &mut each,
                )
                .await
            };
            match listed {
                Ok(version) => {
                    *since = version;
                    let revision = since.parse().unwrap_or(0);
                    self.complete(&objects.into_iter().collect(), revision, newest);
                    present = None;
                }
                Err(ended) => return ended,
            }
        }
        let mut stream = match Stream::open(&self.engine.api, &collection, since).await {
            Ok(stream) => stream,
            Err(ended) => return ended,
        };
        let ended = loop {
            match stream.next().await {
                Ok(Item::There(object)) => {
                    let key = self.there(&object);
                    if let (Some(key), Some(present)) = (key, &mut present) {
                        present.insert(key);
                    }
                }
                Ok(Item::Gone(object)) => {
                    if let Some(meta) = ownership::meta(&object) {
                        self.engine.event(
                            &meta.id(&self.kind.group, &self.kind.kind),
                            Event::Gone(meta.seen()),
                            &object,
                        );
                    }
                }
                Ok(Item::Listed(revision)) => {
                    if let Some(present) = present.take() {
                        self.complete(&present, revision, newest);
                    }
                }
                Ok(Item::Upto(_)) => {}
                Err(ended) => break ended,
            }
        };
        // Half a list is none: without its end, what is absent is not known.
        *since = if present.is_some() {
            String::new()
        } else {
            stream.since
        };
        ended
    }

    /// An object is there; the key by which the end of the list knows it.
    fn there(&self, object: &Bytes) -> Option<u64> {
        let meta = ownership::meta(object)?;
        let key = key(meta.namespace.as_deref().unwrap_or(""), &meta.name);
        self.engine.event(
            &meta.id(&self.kind.group, &self.kind.kind),
            Event::There(meta.seen()),
            object,
        );
        Some(key)
    }

    /// The newest revision of this kind that a write of ours got, before a list was asked for.
    fn newest_held(&self) -> u64 {
        let world = self.engine.world();
        world
            .held_of(&self.kind.group, &self.kind.kind)
            .map(|(_, held)| held.expected.revision)
            .max()
            .unwrap_or(0)
    }

    /// The whole list has come.
    fn complete(&mut self, present: &HashSet<u64>, revision: u64, newest: u64) {
        if revision < newest {
            self.engine.revision_went_back();
        }
        let held: Vec<_> = {
            let world = self.engine.world();
            world
                .held_of(&self.kind.group, &self.kind.kind)
                .map(|(id, _)| Arc::clone(id))
                .filter(|id| world.desired().objects.contains_key(id))
                .collect()
        };
        self.last_list = Some(Instant::now());
        self.compared = Some(Instant::now());
        for id in held {
            if present.contains(&key(&id.namespace, &id.name)) {
                self.engine.job(&id, Task::Compare(None), &[]);
            } else {
                self.engine.event(&id, Event::Absent(revision), &[]);
            }
        }
        self.listed.send_replace(true);
    }
}

fn key(namespace: &str, name: &str) -> u64 {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (namespace, name).hash(&mut hasher);
    hasher.finish()
}
