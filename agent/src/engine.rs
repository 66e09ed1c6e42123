//! What all tasks of the agent share: the world, the queues, what is told.
//!
//! `write` holds the one way by which an object is written; `doubt` what is done when the API server may not be the one
//! that it was.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::refusal::Refusal;
use tokio::sync::{Notify, mpsc, watch};

use crate::apply::client::ApiServer;
use crate::apply::discovery::Kinds;
use crate::apply::outcome::Problem;
use crate::apply::pace::Pace;
use crate::clock;
use crate::floor::Floors;
use crate::keys::SecretKey;
use crate::metrics::Metrics;
use crate::news::{DriftRecord, News};
use crate::plan::rails::Rails;
use crate::receipt::inbox::{self, Inbox, RefusalSeen};
use crate::saved::Saved;
use crate::watch::drift::What;
use crate::watch::ownership;
use crate::world::{Effect, Event, World};

mod doubt;
mod write;

use doubt::Doubt;
pub use write::{Done, guard_rail};

/// Discovery is read at most once in so long, however many objects ask.
const DISCOVERY_EVERY: Duration = Duration::from_millis(500);

/// Jobs of one second that keep their event's metadata.
const EVIDENCE_PER_SECOND: u32 = 100;

/// Something for the healer.
#[derive(Debug)]
pub struct Job {
    /// The object.
    pub id: Arc<ObjectId>,
    /// What is to be done.
    pub task: Task,
    /// When it was seen.
    pub since: Instant,
    /// The event's metadata, to name managers and paths; empty where there was none.
    pub evidence: Bytes,
}

/// What the healer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Write it again, not before then.
    Heal(What, Option<Instant>),
    /// Compare it in full, not before then.
    Compare(Option<Instant>),
    /// Tell what was added beside ours.
    Others,
}

/// What the options say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a signed state may touch.
    pub rails: Rails,
    /// Every kind is listed anew so often, and each of its objects compared in full: the net below the net.
    pub compare_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rails: Rails::default(),
            compare_every: Duration::from_secs(3_600),
        }
    }
}

/// Shared by all tasks.
pub struct Engine {
    /// The API server.
    pub api: ApiServer,
    /// What the options say.
    pub settings: Settings,
    /// The folder.
    pub saved: Arc<Saved>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// How many writes of a sync may be in flight.
    pub pace: Pace,
    /// What waits to be reported.
    pub news: Mutex<News>,
    /// Why an app waits, by name.
    pub waits: Mutex<BTreeMap<Arc<str>, String>>,
    /// What happened and is to be countersigned.
    pub receipts: Inbox,
    /// Below what nothing is believed.
    pub floor: Arc<Floors>,
    world: Mutex<World>,
    kinds: RwLock<Arc<Kinds>>,
    discovery: tokio::sync::Mutex<Option<Instant>>,
    secrets: SecretKey,
    changed: watch::Sender<u64>,
    jobs: mpsc::UnboundedSender<Job>,
    probes: mpsc::UnboundedSender<Arc<ObjectId>>,
    doubt: Doubt,
    /// Wakes the sync although no new state came.
    plan_again: Notify,
    /// Jobs that keep their event's metadata: in a storm only the first can be told in full anyway.
    evidence: clock::PerSecond,
    rules: RwLock<Arc<countersign_health::Rules>>,
    /// What stands and was told already, so that it is not told again with each plan.
    told: Mutex<HashSet<(&'static str, String)>>,
}

/// The receiving ends of an engine's queues. Both hold an object at most once for each event that asks, and the world
/// queues a heal once only, so they are bounded by the number of objects.
#[derive(Debug)]
pub struct Queues {
    /// For the healer.
    pub jobs: mpsc::UnboundedReceiver<Job>,
    /// For the health probe.
    pub probes: mpsc::UnboundedReceiver<Arc<ObjectId>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        api: ApiServer,
        saved: Arc<Saved>,
        metrics: Arc<Metrics>,
        secrets: SecretKey,
        settings: Settings,
    ) -> (Arc<Self>, Queues) {
        let (jobs, jobs_in) = mpsc::unbounded_channel();
        let (probes, probes_in) = mpsc::unbounded_channel();
        let engine = Self {
            api,
            settings,
            saved,
            metrics,
            pace: Pace::default(),
            news: Mutex::default(),
            waits: Mutex::default(),
            receipts: Inbox::default(),
            floor: Arc::default(),
            world: Mutex::default(),
            kinds: RwLock::default(),
            discovery: tokio::sync::Mutex::new(None),
            secrets,
            changed: watch::Sender::new(0),
            jobs,
            probes,
            doubt: Doubt::default(),
            plan_again: Notify::new(),
            evidence: clock::PerSecond::new(EVIDENCE_PER_SECOND),
            rules: RwLock::default(),
            told: Mutex::default(),
        };
        (
            Arc::new(engine),
            Queues {
                jobs: jobs_in,
                probes: probes_in,
            },
        )
    }

    /// The world, for a short synchronous look or change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits to be reported.
    pub fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes at every change of the world.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something changed.
    pub fn touch(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The kinds as last read.
    #[must_use]
    pub fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.kinds.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads discovery again unless it was read just now.
    ///
    /// # Errors
    /// A [`Problem`] when the API server gave no answer; the old one then stands.
    pub async fn discover(&self) -> Result<(), Problem> {
        let last = self.discovery.lock().await;
        if last.is_some_and(|then| then.elapsed() < DISCOVERY_EVERY) {
            return Ok(());
        }
        self.read_discovery(last).await
    }

    /// Reads discovery again whatever was read before: a CRD was just established.
    ///
    /// # Errors
    /// As [`Self::discover`].
    pub async fn discover_now(&self) -> Result<(), Problem> {
        let last = self.discovery.lock().await;
        self.read_discovery(last).await
    }

    async fn read_discovery(
        &self,
        mut last: tokio::sync::MutexGuard<'_, Option<Instant>>,
    ) -> Result<(), Problem> {
        let kinds = Kinds::read(&self.api)
            .await
            .map_err(|error| crate::apply::outcome::unanswered(&error))?;
        *self.kinds.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kinds);
        *last = Some(Instant::now());
        Ok(())
    }

    /// Asks for a new plan of the same state: what stood is not known to stand any more.
    pub fn plan_again(&self) {
        self.plan_again.notify_one();
    }

    /// Waits until a new plan is asked for.
    ///
    /// # Cancel safety
    /// May be dropped: the wish is kept then.
    pub async fn plan_is_due(&self) {
        self.plan_again.notified().await;
    }

    /// Counts and remembers a refusal.
    pub fn refused(&self, code: &'static str, message: &str) {
        let time = clock::unix_millis();
        self.tell_refused(
            message,
            RefusalSeen {
                code,
                // Words of others could be in it.
                words: None,
                evidence: None,
                attack: false,
                count: 1,
                first: time,
                last: time,
            },
        );
    }

    /// Something waits until a person says otherwise: it is shown, and no refusal.
    pub fn waits_for_people(&self, code: &'static str, message: &str) {
        tracing::warn!(code, "{message}");
        let generation = self.world().desired().generation;
        self.news()
            .refused(code, message, generation, clock::unix_millis());
        self.touch();
    }

    /// As [`Self::refused`], by the verifier: what it says can be countersigned as it is.
    pub fn refused_by(&self, refusal: &Refusal) {
        let seen = inbox::of(refusal, clock::unix_millis());
        self.tell_refused(&refusal.to_string(), seen);
    }

    fn tell_refused(&self, message: &str, seen: RefusalSeen) {
        let code = seen.code;
        tracing::warn!(code, "{message}");
        self.metrics.refused(code);
        let generation = self.world().desired().generation;
        self.news().refused(code, message, generation, seen.last);
        self.receipts.refused(seen, Instant::now());
        self.touch();
    }

    /// Remembers a drift.
    pub fn drifted(&self, record: DriftRecord) {
        let generation = self.world().desired().generation;
        self.receipts.drifted(generation, &record);
        self.news().drifted(record);
        self.touch();
    }

    /// As [`Self::refused`], but only the first time for `what` until [`Self::forget_told`].
    pub fn refused_once(&self, code: &'static str, what: &str, message: &str) {
        let first = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((code, what.to_owned()));
        if first {
            self.refused(code, message);
        }
    }

    /// A new state came: what still stands is told again.
    pub fn forget_told(&self) {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The fleet's health rules.
    #[must_use]
    pub fn rules(&self) -> Arc<countersign_health::Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the fleet's health rules of a new state; objects whose rule changed are judged anew.
    pub fn set_rules(&self, rules: countersign_health::Rules) {
        let changed = {
            let mut held = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            let changed = held.changed(&rules);
            *held = Arc::new(rules);
            changed
        };
        if changed.is_empty() {
            return;
        }
        let concerned: Vec<Arc<ObjectId>> = self
            .world()
            .iter()
            .filter(|(id, _)| changed.contains(&(id.group.clone(), id.kind.clone())))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for id in &concerned {
            self.probe(id);
        }
    }

    /// Says what an app waits for; none when it waits no longer.
    pub fn wait_for(&self, app: &Arc<str>, what: Option<String>) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => waits.insert(Arc::clone(app), what),
            None => waits.remove(app),
        };
        drop(waits);
        self.touch();
    }

    /// Asks for an object's health to be read.
    pub fn probe(&self, id: &Arc<ObjectId>) {
        let _ = self.probes.send(Arc::clone(id));
    }

    /// Hands the healer a job.
    pub fn job(&self, id: &Arc<ObjectId>, task: Task, evidence: &[u8]) {
        let evidence = if !evidence.is_empty() && self.evidence.take() {
            // A copy: the watch's buffer holds its neighbours too.
            Bytes::copy_from_slice(evidence)
        } else {
            Bytes::new()
        };
        self.queue(Job {
            id: Arc::clone(id),
            task,
            since: Instant::now(),
            evidence,
        });
    }

    /// Puts a job (back) into the queue.
    pub fn queue(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// A watch says something about an object.
    pub fn event(&self, id: &ObjectId, event: Event, evidence: &[u8]) {
        let revision = match &event {
            Event::There(seen) | Event::Gone(seen) => seen.revision,
            Event::Absent(revision) => *revision,
        };
        let (effect, key, probe) = {
            let mut world = self.world();
            let effect = world.event(id, event, clock::unix(), Instant::now());
            let Some(key) = world.key(id) else { return };
            let probe = world.desired().objects.contains_key(id)
                && world.get(id).is_some_and(|object| object.judged < revision);
            (effect, key, probe)
        };
        if probe {
            self.probe(&key);
        }
        self.carry_out(&key, effect, evidence);
    }

    /// Turns an effect into a job.
    pub fn carry_out(&self, id: &Arc<ObjectId>, effect: Effect, evidence: &[u8]) {
        /// A second, and a little for clocks that differ.
        const SAME_SECOND: Duration = Duration::from_millis(1_200);
        let task = match effect {
            Effect::Nothing => return,
            Effect::Heal(what) => Task::Heal(what, None),
            Effect::HealAt(what, at) => {
                let rivals = ownership::rivals(evidence);
                self.world().contested_by(id, &rivals);
                let text = format!(
                    "{id} is changed again and again by {rivals}; it is healed once a minute until that ends"
                );
                self.refused_once("CONTESTED", &format!("{id} {rivals}"), &text);
                Task::Heal(what, Some(at))
            }
            Effect::LookCloser => Task::Compare(Some(Instant::now() + SAME_SECOND)),
            Effect::LookAtOthers => Task::Others,
        };
        self.job(id, task, evidence);
        self.touch();
    }
}
