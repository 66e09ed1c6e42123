//! What the serving side knows, shared by all connections. The pipeline puts in, agents and operators take out.
//!
//! | from the pipeline | from agents | from operators |
//! |---|---|---|
//! | [`State::publish`], [`State::set_fleet`], [`State::set_said`], [`State::forget_gone`] | reports, registrations | permits, sync |
//! | asks [`State::recipient`], [`State::gone`], [`State::permits`] | | |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use countersign_fleet::api::{Alarm, AppWants, Mistake, PermitNeeded, Source, TrustRootInUse};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::trust::{Level, VerifiedRoot};
use countersign_ledger::verify::overrides::VerifiedOverride;
use jiff::Timestamp;
use object_store::ObjectStore;
use tokio::sync::watch;

use crate::log::Log;
use crate::seal::Signer;

use super::alarms::Alarms;
use super::authority::Authority;
use super::ci::Workflows;
use super::clock::Clock;
use super::heads::{Commits, Head, Newest, Sealed};
use super::identity::Peer;
use super::join::Issuers;
use super::metrics::{Metrics, OutcomeLabels};
use super::nonce::Nonces;
use super::permits::Permits;
use super::publish::RootDoor;
use super::questions::Questions;
use super::records::{RecordFault, Records};
use super::registry::{Registration, Registry};
use super::reports::Live;
use super::said::Said;

/// What the pipeline knows of the newest commit, set as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetStatus {
    /// The repository and its newest commit.
    pub source: Source,
    /// Every app on every cluster that it shall run on.
    pub apps: Vec<AppWants>,
    /// What is wrong in the fleet's files.
    pub mistakes: Vec<Mistake>,
    /// What waits for a permit.
    pub permits_needed: Vec<PermitNeeded>,
}

/// A cluster of the trust root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its environment.
    pub environment: String,
    /// The level that its agent demands.
    pub level: String,
}

/// The trust root as it is served.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The documents, exact bytes, version ascending from 1.
    pub documents: Vec<(u64, Bytes)>,
    /// The newest, verified: whose word counts for what.
    pub newest: Option<Arc<VerifiedRoot>>,
    /// The newest, as it is shown.
    pub in_use: TrustRootInUse,
    /// Clusters by name, as the newest says.
    pub clusters: BTreeMap<String, Member>,
}

/// What comes in from outside and is not an agent's or an operator's.
#[derive(Clone, Default)]
pub struct Guests {
    /// Workflows that may say what they did to the infrastructure.
    pub workflows: Workflows,
    /// Takes the next trust root; none if this hub takes none.
    pub roots: Option<Arc<dyn RootDoor>>,
}

/// What the serving side is made of.
pub struct Setup {
    /// What comes in from outside.
    pub guests: Guests,
    /// The fleet's name.
    pub fleet: String,
    /// The trust root.
    pub trust: Trust,
    /// The hub's certificate authority.
    pub authority: Authority,
    /// What was sealed.
    pub sealed: Arc<dyn Sealed>,
    /// The log; none if the trust root lists none.
    pub log: Option<Log>,
    /// Signs which clusters may speak; none if the trust root lists no such key.
    pub agent_ca: Option<Arc<dyn Signer>>,
    /// Which clusters may join by their service account.
    pub issuers: Issuers,
    /// The commits behind states, for agents that judge them; none where nothing is tracked.
    pub commits: Option<Arc<dyn Commits>>,
    /// Where registrations, tokens and permits are kept.
    pub store: Arc<dyn ObjectStore>,
    /// Makes the tracker look at the repository now.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Where agents reach this hub, for join commands; may be empty.
    pub agents_url: String,
    /// Time.
    pub clock: Clock,
    /// Metrics.
    pub metrics: Metrics,
}

/// One cluster, as the serving side knows it.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) newest: Newest,
    pub(crate) live: Mutex<Live>,
    pub(crate) alarms: Mutex<Alarms>,
    pub(crate) streams: AtomicUsize,
    /// What its agent is told with each answer to a report.
    pub(crate) warnings: Mutex<Alarms>,
    /// What people asked of it.
    pub(crate) questions: Questions,
    /// Held while receipts are judged and appended, and while its key is enrolled or revoked: a cluster's chain has one end.
    pub(crate) receipts: tokio::sync::Mutex<()>,
}

/// The shared state.
pub struct State {
    pub(crate) guests: Guests,
    pub(crate) fleet: String,
    pub(crate) authority: Authority,
    pub(crate) sealed: Arc<dyn Sealed>,
    pub(crate) log: Option<Log>,
    commits: Option<Arc<dyn Commits>>,
    pub(crate) agent_ca: Option<Arc<dyn Signer>>,
    pub(crate) issuers: Issuers,
    pub(crate) nonces: Nonces,
    pub(crate) records: Records,
    pub(crate) registry: Registry,
    pub(crate) agents_url: String,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    trust: RwLock<Arc<Trust>>,
    clusters: RwLock<BTreeMap<String, Arc<Cluster>>>,
    status: RwLock<Arc<FleetStatus>>,
    permits: Permits,
    pub(crate) said: Said,
    alarms: Mutex<Alarms>,
    wake: Arc<dyn Fn() + Send + Sync>,
    gone: watch::Sender<u64>,
    registered: watch::Sender<u64>,
    access: watch::Sender<u64>,
    outside: watch::Sender<u64>,
    ready: watch::Sender<bool>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("fleet", &self.fleet)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Reads registrations and permits, and is ready to be served.
    pub async fn open(setup: Setup) -> Result<Arc<Self>, RecordFault> {
        let records = Records::new(setup.store);
        let nonces = setup.authority.nonces();
        let state = Self {
            registry: Registry::load(records.clone()).await?,
            permits: Permits::load(&setup.fleet, records.clone()).await?,
            fleet: setup.fleet,
            guests: setup.guests,
            authority: setup.authority,
            sealed: setup.sealed,
            log: setup.log,
            commits: setup.commits,
            agent_ca: setup.agent_ca,
            issuers: setup.issuers,
            nonces,
            records,
            agents_url: setup.agents_url,
            clock: setup.clock,
            metrics: setup.metrics,
            trust: RwLock::default(),
            clusters: RwLock::default(),
            status: RwLock::default(),
            said: Said::default(),
            alarms: Mutex::default(),
            wake: setup.wake,
            gone: watch::Sender::new(0),
            registered: watch::Sender::new(0),
            access: watch::Sender::new(0),
            outside: watch::Sender::new(0),
            ready: watch::Sender::new(false),
        };
        state.set_trust(setup.trust);
        Ok(Arc::new(state))
    }

    // --- for the pipeline

    /// Takes in a newly sealed head and sends it to the cluster's agent. A head that is not newer is ignored; so is one
    /// of a cluster that the trust root does not list.
    pub fn publish(&self, cluster: &str, head: Head) -> bool {
        self.cluster(cluster)
            .is_some_and(|known| known.newest.publish(head))
    }

    /// Replaces what counts of what people with override keys said.
    pub fn set_said(&self, words: &[VerifiedOverride]) {
        self.said.set(words);
    }

    /// Replaces what is known of the newest commit.
    pub fn set_fleet(&self, status: FleetStatus) {
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }

    /// Replaces the trust root. Clusters that it lists no longer are served no longer.
    pub fn set_trust(&self, trust: Trust) {
        {
            let mut clusters = self
                .clusters
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            clusters.retain(|name, _| trust.clusters.contains_key(name));
            for name in trust.clusters.keys() {
                clusters.entry(name.clone()).or_default();
            }
        }
        // A word that can't stand in a log can't be asked for.
        let asks = trust.newest.as_ref();
        let asks = asks.is_some_and(|root| !root.document().overriders.is_empty());
        self.permits.ask_signatures(asks && self.log.is_some());
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
        self.tell_access();
    }

    /// The age recipient to which a cluster's Secrets are encrypted; none until its agent is registered, and none once it is
    /// revoked.
    pub fn recipient(&self, cluster: &str) -> Option<String> {
        self.registry
            .get(cluster)
            .filter(|known| self.registry.revoked(&known.key).is_none())
            .map(|registration| registration.recipient.clone())
    }

    /// Identities of tombstones that the cluster reported gone and that were not taken in yet.
    pub fn gone(&self, cluster: &str) -> BTreeSet<ObjectId> {
        self.cluster(cluster).map_or_else(BTreeSet::new, |known| {
            known
                .live
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .gone
                .clone()
        })
    }

    /// These were taken in: their tombstones are dropped from a sealed manifest.
    pub fn forget_gone(&self, cluster: &str, taken: &BTreeSet<ObjectId>) {
        if let Some(known) = self.cluster(cluster) {
            known
                .live
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .gone
                .retain(|name| !taken.contains(name));
        }
    }

    /// Changes whenever a cluster's agent registers: its Secrets can be encrypted from then on.
    pub fn watch_registered(&self) -> watch::Receiver<u64> {
        self.registered.subscribe()
    }

    /// Changes whenever a cluster reports something new as gone.
    pub fn watch_gone(&self) -> watch::Receiver<u64> {
        self.gone.subscribe()
    }

    /// What people allowed.
    pub fn permits(&self) -> &Permits {
        &self.permits
    }

    /// Asks a person to look at something that belongs to no single cluster.
    pub fn alarm(&self, code: &'static str, message: impl Into<String>) {
        self.count_alarm(code);
        let message = message.into();
        tracing::error!(code, message, "alarm");
        self.alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .raise(code, message, self.clock.now());
    }

    /// Asks a person to look at something on a cluster.
    pub fn alarm_on(&self, cluster: &str, code: &'static str, message: impl Into<String>) {
        self.count_alarm(code);
        let message = message.into();
        tracing::error!(cluster, code, message, "alarm");
        if let Some(known) = self.cluster(cluster) {
            known
                .alarms
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .raise(code, message, self.clock.now());
        }
    }

    /// As [`Self::alarm_on`], and the agent that is registered for the cluster is told too.
    pub(crate) fn warn_on(&self, cluster: &str, code: &'static str, message: String) {
        if let Some(known) = self.cluster(cluster) {
            known
                .warnings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .raise(code, message.clone(), self.clock.now());
        }
        self.alarm_on(cluster, code, message);
    }

    /// Can heads be served? False until what was sealed is read, and while the hub shuts down.
    pub fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    // --- for the listeners

    /// Can heads be served?
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Makes the tracker look at the repository now.
    pub fn wake(&self) {
        (self.wake)();
    }

    /// What the pipeline said last.
    pub fn fleet_status(&self) -> Arc<FleetStatus> {
        self.status
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The trust root.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The registration of a cluster's agent.
    pub fn registration(&self, cluster: &str) -> Option<Arc<Registration>> {
        self.registry.get(cluster)
    }

    /// Alarms that belong to no single cluster, newest last.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .list()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The commits behind states, if the cluster's agent asks whose word they are.
    pub(crate) fn commits_for(&self, cluster: &str) -> Option<Arc<dyn Commits>> {
        let trust = self.trust();
        let trust = trust.newest.as_ref()?;
        let level = trust.cluster(cluster).ok()?.level;
        self.commits.clone().filter(|_| level >= Level::Authored)
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.clusters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(crate) fn tell_registered(&self) {
        self.registered.send_modify(|count| *count += 1);
    }

    pub(crate) fn tell_gone(&self) {
        self.gone.send_modify(|count| *count += 1);
    }

    /// An outsider's entry came into the log: whoever sends them on looks again.
    pub(crate) fn tell_outside(&self) {
        self.outside.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch_outside(&self) -> watch::Receiver<u64> {
        self.outside.subscribe()
    }

    /// Who may speak has changed: open streams look again whether they may stay.
    pub(crate) fn tell_access(&self) {
        self.access.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub(crate) fn watch_access(&self) -> watch::Receiver<u64> {
        self.access.subscribe()
    }

    /// Does this certificate still speak for its cluster: valid now, of the registered key, which was not revoked, of a listed
    /// cluster?
    pub(crate) fn admits(&self, peer: &Peer) -> bool {
        let now = self.clock.now().as_second();
        (peer.not_before..peer.not_after).contains(&now)
            && self.cluster(&peer.cluster).is_some()
            && self
                .registry
                .get(&peer.cluster)
                .is_some_and(|known| known.key == peer.key)
            && self.registry.revoked(&peer.key).is_none()
    }

    fn count_alarm(&self, code: &'static str) {
        self.metrics
            .alarms
            .get_or_create(&OutcomeLabels { outcome: code })
            .inc();
    }
}
