//! The watch of one kind: opened, read, opened again; what a complete list must show is compared with it.

use std::collections::HashSet;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ownership;
use super::stream::{self, Ended, Item, Stream};
use crate::apply::discovery::GroupKind;
use crate::clock;
use crate::engine::{Engine, Task};
use crate::world::Event;

/// A watch that broke lists anew at most so often; until then it goes on from where it stood.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// Between looks whether a kind that the API server did not know is known now.
const UNKNOWN_EVERY: Duration = Duration::from_millis(250);
/// Pauses after a failure; the longest is what a restart of the API server may cost on top of itself.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The watch of one kind, opened anew for as long as the kind is in use.
pub(super) struct Watcher {
    pub(super) engine: Arc<Engine>,
    pub(super) kind: GroupKind,
    /// The whole list was seen once.
    pub(super) listed: watch::Sender<bool>,
    /// The API server knows streaming lists, as far as is known.
    pub(super) streaming: Arc<AtomicBool>,
    /// Changes when the API server's revision went back.
    pub(super) epoch: watch::Receiver<u64>,
    /// When the whole list came last, and every object of it was compared.
    pub(super) listed_at: Option<Instant>,
    /// The last watch broke: its place to go on from may not be reached yet, if the revision went back.
    pub(super) broke: bool,
}

impl Watcher {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let (mut since, mut pause) = (String::new(), PAUSE_MIN);
        loop {
            if self.full_due().is_none_or(|due| due <= Instant::now()) {
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
                Ended::TimeUp => {
                    self.broke = true; // a silent one may have been deaf
                    continue;
                }
                Ended::WentBack => {
                    since.clear();
                    continue;
                }
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
                    self.streaming.store(false, Ordering::Relaxed);
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
                    self.broke = true;
                    self.engine.doubt_cluster();
                    // Events may have been lost: look at everything, but not too often.
                    if self
                        .listed_at
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

    /// When everything is listed and compared again; none before the first time.
    fn full_due(&self) -> Option<Instant> {
        let every = self.engine.settings.compare_every;
        self.listed_at.map(|then| then + every)
    }

    /// One watch from opening to end.
    async fn once(&mut self, since: &mut String) -> Ended {
        let Some(collection) = self.engine.kinds().collection(&self.kind) else {
            return Ended::Unknown;
        };
        let epoch = *self.epoch.borrow_and_update();
        let newest = self.newest_held();
        if self.broke && !since.is_empty() {
            match stream::revision(&self.engine.api, &collection).await {
                Ok(now) if now < newest.max(since.parse().unwrap_or(0)) => {
                    self.engine.revision_went_back(epoch);
                    return Ended::WentBack;
                }
                Ok(_) => {}
                Err(ended) => return ended,
            }
        }
        self.broke = false;
        let mut present = since.is_empty().then(HashSet::new);
        if since.is_empty() && !self.streaming.load(Ordering::Relaxed) {
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
                    self.complete(&objects.into_iter().collect(), revision, newest, epoch);
                    present = None;
                }
                Err(ended) => return ended,
            }
        }
        let mut stream = match Stream::open(&self.engine.api, &collection, since).await {
            Ok(stream) => stream,
            Err(ended) => return ended,
        };
        let mut epochs = self.epoch.clone();
        let ended = loop {
            let full = self.full_due();
            let full = async {
                match full {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            // All three may be dropped: what came of the stream stays in its buffer.
            let item = tokio::select! {
                biased;
                _ = epochs.changed() => break Ended::WentBack,
                item = stream.next() => item,
                () = full => break Ended::TimeUp,
            };
            match item {
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
                        self.complete(&present, revision, newest, epoch);
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
    fn complete(&mut self, present: &HashSet<u64>, revision: u64, newest: u64, epoch: u64) {
        if revision < newest {
            self.engine.revision_went_back(epoch);
        }
        let held: Vec<_> = {
            let world = self.engine.world();
            world
                .held_of(&self.kind.group, &self.kind.kind)
                .map(|(id, _)| Arc::clone(id))
                .filter(|id| world.desired().objects.contains_key(id))
                .collect()
        };
        self.listed_at = Some(Instant::now());
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
