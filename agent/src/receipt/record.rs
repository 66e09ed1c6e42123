//! From what happened to signed envelopes on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::key::SignFault;
use countersign_ledger::statement::StatementError;
use countersign_ledger::statement::receipt::{AppCounts, SeenCheckpoint};
use countersign_ledger::tlog::merkle::EMPTY_ROOT;
use countersign_ledger::verify::{Known, Seen};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::inbox::Happened;
use super::outbox::Outbox;
use super::queue::{Item, Place, Room};
use super::{Facts, Told};
use crate::clock;
use crate::engine::Engine;
use crate::health::rollup;
use crate::keys::Keys;

/// What happens within so long is signed and synced together.
const GATHER: Duration = Duration::from_millis(100);
/// In a storm drifts are recorded so often.
const STORM_EVERY: Duration = Duration::from_secs(10);
/// And so often while the disk is saved.
const TIGHT_EVERY: Duration = Duration::from_secs(600);
/// A disk that refused is tried again after so long.
const DISK_AGAIN: Duration = Duration::from_secs(1);

/// Signs what happens.
pub struct Recorder {
    /// Where it is put in, and what heartbeats attest.
    pub engine: Arc<Engine>,
    /// The receipt key.
    pub keys: Arc<Keys>,
    /// Where it goes.
    pub outbox: Arc<Outbox>,
    /// What the agent believes.
    pub known: watch::Receiver<Known>,
    /// A cluster on which nothing happens says so this often.
    pub heartbeat: Duration,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
enum NotRecorded {
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    #[error(transparent)]
    Sign(#[from] SignFault),
}

/// Why something is no statement: a bug of ours, or a name that no statement takes.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Json(#[from] countersign_ledger::json::JsonError),
    #[error("no state is known that it belongs to")]
    NoState,
}

/// Runs until `stop`; what happened before is recorded then.
pub async fn run(recorder: Recorder, stop: CancellationToken) {
    let mut last = Instant::now();
    let mut drifts_from = Instant::now();
    let mut again = None;
    loop {
        let beat = last + recorder.heartbeat;
        let next = again.map_or(beat, |again: Instant| beat.min(again));
        tokio::select! {
            () = stop.cancelled() => {
                if recorder.room() < Room::Full {
                    let happened = recorder.engine.receipts.take(true);
                    let _ = recorder.record(happened, false).await;
                }
                return;
            }
            () = recorder.engine.receipts.came() => {}
            () = recorder.outbox.eased() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
        tokio::select! {
            () = stop.cancelled() => continue,
            () = tokio::time::sleep(GATHER) => {}
        }
        let room = recorder.room();
        if room == Room::Full {
            // It folds where it is until there is room; the heart beats again then.
            (again, last) = (None, Instant::now());
            continue;
        }
        let now = Instant::now();
        let happened = recorder.engine.receipts.take(now >= drifts_from);
        if now >= drifts_from {
            drifts_from = match room {
                Room::Tight => now + TIGHT_EVERY,
                _ if happened.is_storm() => now + STORM_EVERY,
                _ => now,
            };
        }
        again = (drifts_from > now).then_some(drifts_from);
        let beats = happened.is_empty() && now >= beat && room == Room::Plenty;
        if happened.is_empty() && !beats {
            if now >= beat {
                last = now;
            }
            continue;
        }
        match recorder.record(happened, beats).await {
            Ok(()) => last = now,
            Err(()) => again = Some(now + DISK_AGAIN),
        }
    }
}

impl Recorder {
    /// None where the fleet has no log: nothing could be proven to be in it.
    fn room(&self) -> Room {
        if self.known.borrow().roots.newest().log().is_none() {
            return Room::Full;
        }
        self.outbox.room()
    }

    /// Signs and keeps all of it, or puts it back.
    async fn record(&self, happened: Happened, beats: bool) -> Result<(), ()> {
        let (facts, apps) = self.facts();
        let (engine, keys) = (Arc::clone(&self.engine), Arc::clone(&self.keys));
        let (recorded, happened) = {
            let held = happened.clone();
            let work = self
                .outbox
                .blocking(move |queue| {
                    let mut signing = Signing {
                        keys: &keys,
                        place: queue.next(),
                        items: Vec::new(),
                    };
                    if let Err(error) = tell(&mut signing, &engine, &facts, &held, (apps, beats)) {
                        return Ok(Err(error));
                    }
                    let count = signing.items.len();
                    if count > 0 {
                        queue.append(&signing.items)?;
                    }
                    Ok(Ok((count, queue.len())))
                })
                .await;
            (
                work.map_err(NotRecorded::from).and_then(|done| done),
                happened,
            )
        };
        match recorded {
            Ok((count, waiting)) => {
                self.engine.metrics.receipts_signed.inc_by(count as u64);
                self.engine.metrics.receipts_waiting(waiting);
                self.outbox.tell_added();
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "what happened can't be recorded yet; trying again");
                self.engine.receipts.put_back(happened);
                Err(())
            }
        }
    }

    /// What every statement says, and the apps as they stand.
    fn facts(&self) -> (Facts, AppCounts) {
        let waits = self
            .engine
            .waits
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let states = rollup::apps(&self.engine.world(), &waits);
        let failed = states.values().filter(|app| app.failed > 0).count() as u64;
        let apps = AppCounts {
            unchanged: (states.len() as u64).saturating_sub(failed),
            failed,
            ..AppCounts::default()
        };
        let known = self.known.borrow();
        let newest = known.roots.newest();
        let facts = Facts {
            fleet: newest.fleet().to_owned(),
            cluster: known.cluster.clone(),
            checkpoint: checkpoint(known.seen.as_ref(), self.outbox.seen().as_ref()),
            trust_root: newest.version(),
            nonce: self.outbox.nonce(),
            health: rollup::cluster(&states).0,
        };
        (facts, apps)
    }
}

/// The newer of two checkpoints that were verified.
fn checkpoint(a: Option<&Seen>, b: Option<&Seen>) -> SeenCheckpoint {
    let newest = [a, b].into_iter().flatten().max_by_key(|seen| seen.size);
    newest.map_or(
        SeenCheckpoint {
            size: 0,
            root: EMPTY_ROOT,
            time: None,
        },
        |seen| SeenCheckpoint {
            size: seen.size,
            root: seen.root,
            time: seen.time,
        },
    )
}

/// Envelopes that follow each other.
struct Signing<'a> {
    keys: &'a Keys,
    place: Place,
    items: Vec<Item>,
}

impl Signing<'_> {
    /// Signs what `tell` says at the next place. What is no statement is left out and named.
    fn add(&mut self, tell: impl FnOnce(Place) -> Result<Told, NotTold>) -> Result<(), SignFault> {
        let told = tell(self.place).and_then(|told| {
            let payload = told.statement.payload()?;
            Ok((payload, told.blobs))
        });
        let (payload, blobs) = match told {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(%error, "something that happened is no statement");
                return Ok(());
            }
        };
        let envelope = self.keys.sign_statement(&payload)?;
        self.place = Place {
            seq: self.place.seq.saturating_add(1),
            previous: Some(envelope.digest()),
        };
        self.items.push(Item {
            envelope: Bytes::copy_from_slice(envelope.bytes()),
            blobs,
        });
        Ok(())
    }
}

fn tell(
    signing: &mut Signing<'_>,
    engine: &Engine,
    facts: &Facts,
    happened: &Happened,
    (apps, beats): (AppCounts, bool),
) -> Result<(), NotRecorded> {
    let standing = |generation| engine.receipts.standing(generation);
    let newest = standing(None);
    for refusal in &happened.refusals {
        signing.add(|place| Ok(facts.refusal(place, newest, refusal)?))?;
    }
    for pause in &happened.pauses {
        signing.add(|place| Ok(facts.pause(place, newest, pause)?))?;
    }
    for drift in &happened.drifts {
        signing.add(|place| {
            let standing = standing(Some(drift.generation)).or(newest);
            Ok(facts.drift(place, standing.ok_or(NotTold::NoState)?, drift)?)
        })?;
    }
    if let Some(deleted) = &happened.deleted {
        signing
            .add(|place| Ok(facts.deletion(place, newest.ok_or(NotTold::NoState)?, deleted)?))?;
    }
    for sync in &happened.syncs {
        signing.add(|place| {
            let standing = standing(Some(sync.generation)).ok_or(NotTold::NoState)?;
            Ok(facts.sync(place, standing, sync))
        })?;
    }
    for nonce in &happened.questions {
        let facts = Facts {
            nonce: nonce.clone(),
            ..facts.clone()
        };
        signing.add(|place| Ok(facts.heartbeat(place, newest, apps, clock::unix_millis())))?;
    }
    if beats {
        signing.add(|place| Ok(facts.heartbeat(place, newest, apps, clock::unix_millis())))?;
    }
    Ok(())
}
