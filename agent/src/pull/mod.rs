//! From the hub to a verified state: register, follow heads, fetch blobs, check, persist, publish.
//!
//! [`run`] is the loop; `roots` brings trust roots, `certificate` gets and renews the client certificate, `arrive` takes
//! what came to a verified state. `hub` speaks gRPC, `tls` pins the hub's CA, `wire` turns messages into untrusted values,
//! `store` brings blobs, `verify` (one level up) checks them. A state is persisted, then published, only after all checks have passed. The
//! hub may be away for any time: what was verified last keeps being healed.

mod arrive;
mod certificate;
pub mod deletions;
mod floor;
mod fresh;
mod glass;
mod hold;
pub mod hub;
pub mod roots;
mod store;
pub mod tls;
pub mod wire;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::{Roots, Windows};
use countersign_ledger::verify::{Checked, Known, Last, Seen};
use countersign_proto::agent::v1 as proto;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::clock;
use crate::engine::Engine;
use crate::keys::{KeyError, Keys};
use crate::overrides::Overrides;
use crate::plan::Desired;
use crate::saved::{self, Saved};
use crate::verify::Kept;
use arrive::Batches;
pub use hold::Held;
use hub::{Hub, HubFault};

/// Pauses between tries. The longest is short: a hub that comes back, or a partition that ends, is noticed within it.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A hub that lets this agent in no more waits for a person.
const PAUSE_SHUT_OUT: Duration = Duration::from_secs(30);
/// After a refusal the same bytes come again: there is no hurry.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);
/// A certificate that is due as soon as it came (clocks that differ) is used for so long all the same.
const CERTIFICATE_LEAST: Duration = Duration::from_secs(60);
/// What never falls due.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Why a try ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Try again.
    #[error(transparent)]
    Fault(#[from] HubFault),
    /// A check said no.
    #[error("{code}: {0}", code = .0.code())]
    Refused(#[from] Refusal),
    /// The folder.
    #[error("state can't be kept: {0}")]
    Disk(#[from] std::io::Error),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// All checks have passed, and a pause holds it back.
    #[error("{0}")]
    Paused(Box<Held>),
    /// The certificate is due: start over with a new one.
    #[error("certificate due")]
    CertificateDue,
}

/// What the puller works with.
pub struct Puller {
    /// The hub.
    pub hub: Hub,
    /// Both keys.
    pub keys: Arc<Keys>,
    /// The folder.
    pub saved: Arc<Saved>,
    /// To count refusals, and for metrics.
    pub engine: Arc<Engine>,
    /// The cluster's name.
    pub cluster: String,
    /// What the agent sees of its cluster.
    pub identity: proto::ClusterIdentity,
    /// The join token, until it was used.
    pub token: Option<String>,
    /// The file with the token of the agent's service account, if it may join by it.
    pub service_account: Option<PathBuf>,
    /// Why the hub shuts this agent out, as it was told last.
    pub warned: Option<&'static str>,
    /// Ask for a new certificate, whatever the time of the kept one.
    pub renew: bool,
    /// The trust roots.
    pub roots: Roots,
    /// The last verified statement.
    pub last: Option<Last>,
    /// The commit up to which commits were judged as people's word; none while the level did not ask for that, and then the
    /// next judgement is as at a first start.
    pub authored: Option<String>,
    /// Since when trust roots are in effect, as far as the log said so.
    pub windows: Windows,
    /// The last verified checkpoint of the log.
    pub seen: Option<Seen>,
    /// Seconds after which a cosigned checkpoint is too old.
    pub stale_seconds: u64,
    /// What people with override keys said.
    pub overrides: Overrides,
    /// The state that a pause holds back, as it was told last.
    pub held: Option<Held>,
    /// What the last state had, where people are asked about deletions.
    pub stood: Option<deletions::Stood>,
    /// Blobs on disk that were checked.
    pub checked: HashMap<Digest, Checked>,
    /// The last verified state; none before the first, and after one that did not arrive whole.
    pub kept: Option<Kept>,
    /// Verified states go here.
    pub newest: watch::Sender<Option<Arc<Desired>>>,
    /// What is believed goes here: receipts tell it, and their proofs are checked against it.
    pub believed: watch::Sender<Known>,
    /// The channel for reports, while there is one.
    pub channel: watch::Sender<Option<Channel>>,
}

impl std::fmt::Debug for Puller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Puller")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Runs until `stop`.
pub async fn run(mut puller: Puller, stop: CancellationToken) {
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        let failure = tokio::select! {
            () = stop.cancelled() => return,
            failure = puller.once() => failure,
        };
        puller.engine.metrics.connected.set(0);
        if started.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        match &failure {
            Failure::CertificateDue | Failure::Paused(_) => pause = PAUSE_MIN,
            Failure::Refused(refusal) => {
                puller.engine.refused_by(refusal);
                // A root that is not known here is asked for with the next connection; all else comes again as it is.
                if !matches!(refusal, Refusal::TrustRootUnknown { .. }) {
                    pause = pause.max(PAUSE_REFUSED);
                }
            }
            Failure::Fault(fault) => {
                tracing::info!(%fault, "hub");
                // The certificate counts no longer, whatever its time says: the receipt key gets another one.
                puller.renew |= fault.is_unauthenticated();
                if puller.shut_out(fault) {
                    pause = PAUSE_SHUT_OUT;
                }
                // After a refusal the channel stays: the hub must hear of it.
                puller.channel.send_replace(None);
            }
            Failure::Disk(_) | Failure::Key(_) => tracing::error!(%failure, "pull"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(clock::jittered(pause)) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Puller {
    /// Whether only a person can change that the hub says no; it is told once for each reason. What was verified last is kept
    /// and healed all the same.
    fn shut_out(&mut self, fault: &HubFault) -> bool {
        let code = fault.shut_out();
        if let Some(code) = code
            && self.warned != Some(code)
        {
            self.engine.refused(
                code,
                &format!("{fault}; the cluster is kept as it was verified last"),
            );
        }
        if code.is_some() {
            self.warned = code;
        }
        code.is_some()
    }
}

impl Puller {
    /// One connection, from certificate to its end; it never ends well.
    async fn once(&mut self) -> Failure {
        match self.connected().await {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    async fn connected(&mut self) -> Result<std::convert::Infallible, Failure> {
        // A pause may have ended while no hub was there.
        self.turn().await?;
        let (channel, due) = self.proven_channel().await?;
        let mut client = hub::client(channel.clone());
        self.follow_roots(&mut client).await?;
        self.believe();
        self.learn_floor(&mut client).await;
        let request = proto::HeadsRequest {
            generation: self.last.map_or(0, |last| last.generation),
            envelope: self
                .last
                .map(|last| Bytes::copy_from_slice(last.envelope.as_bytes()))
                .unwrap_or_default(),
            tree_size: self.seen.as_ref().map_or(0, |seen| seen.size),
            authored_commit: self.authored.clone().unwrap_or_default(),
        };
        let mut heads = client
            .heads(request)
            .await
            .map_err(HubFault::from)?
            .into_inner();
        self.channel.send_replace(Some(channel));
        self.warned = None;
        self.engine.metrics.connected.set(1);
        tracing::info!("following heads");
        let mut batches = Batches::new(self.known());
        let mut freshness = fresh::Freshness::default();
        let due = tokio::time::sleep(due);
        tokio::pin!(due);
        loop {
            let known = self.known();
            let head = tokio::select! {
                () = &mut due => return Err(Failure::CertificateDue),
                stale = freshness.lost(&known) => {
                    self.engine.refused_by(&stale);
                    continue;
                }
                () = hold::over(&self.overrides) => None,
                head = heads.message() => Some(head.map_err(HubFault::from)?.ok_or(HubFault::Ended)?),
            };
            let started = Instant::now();
            let (bare, more) = match head {
                None => {
                    self.turn().await?;
                    (true, false)
                }
                Some(head) => self.follow(&mut batches, wire::head(head)).await?,
            };
            // What a pause holds back is tried again with all that comes.
            let waits = self.held.is_some() && batches.chain.is_whole();
            if bare && !more && (batches.chain.is_empty() || waits) {
                self.saw(batches.chain.known()).await?;
            }
            if more || (bare && !waits) {
                continue;
            }
            if let Some(waited) = self.try_arrive(&mut client, &mut batches).await? {
                let metrics = &self.engine.metrics;
                let took = started.elapsed();
                metrics.verify_seconds.observe(took.as_secs_f64());
                let checks = took.saturating_sub(waited);
                metrics.check_seconds.observe(checks.as_secs_f64());
            }
        }
    }

    /// Takes one message in; says whether it brought no statement, and whether more follow.
    async fn follow(
        &mut self,
        batches: &mut Batches,
        head: wire::Head,
    ) -> Result<(bool, bool), Failure> {
        batches.take(head.attached);
        if let Some(nonce) = head.question {
            self.engine.receipts.asked(nonce);
        }
        let now = u64::try_from(clock::unix()).unwrap_or_default();
        let (bare, more) = (head.batch.0.links.is_empty(), head.batch.0.more);
        batches
            .chain
            .follow(&head.batch, now)
            .inspect_err(|refusal| self.keep_evidence(refusal))?;
        self.heard(batches.chain.heard()).await?;
        Ok((bare, more))
    }

    /// The chain is whole: it arrives, and the next begins; or a pause holds it back, and it waits as it is. How long the hub and
    /// the disk were waited for, if it arrived.
    async fn try_arrive(
        &mut self,
        client: &mut hub::Client,
        batches: &mut Batches,
    ) -> Result<Option<Duration>, Failure> {
        let waiting = self.may_hold().then(|| batches.clone());
        let whole = std::mem::replace(batches, Batches::new(self.known()));
        match (self.arrive(client, whole).await, waiting) {
            (Ok(waited), _) => {
                self.held = None;
                *batches = Batches::new(self.known());
                Ok(Some(waited))
            }
            (Err(Failure::Paused(held)), Some(waiting)) => {
                *batches = waiting;
                self.say_held(*held);
                Ok(None)
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// A channel on which this cluster has proven itself, and how long until it must anew.
    async fn proven_channel(&mut self) -> Result<(Channel, Duration), Failure> {
        if self.hub.is_by_files() {
            return Ok((self.connect(None).await?, FOR_EVER));
        }
        let certificate = self.certificate().await?;
        let due = match certificate.due_in(clock::unix()) {
            Duration::ZERO => CERTIFICATE_LEAST,
            due => due,
        };
        let key = self.keys.receipt_pem();
        let channel = self.connect(Some((&certificate.pem, &key))).await?;
        Ok((channel, due))
    }

    fn known(&self) -> Known {
        Known {
            seen: self.seen.clone(),
            windows: self.windows.clone(),
            stale_seconds: self.stale_seconds,
            ..Known::new(&self.cluster, self.roots.clone(), self.last)
        }
    }

    /// The log grew, or was cosigned anew, and nothing else came.
    async fn saw(&mut self, known: &Known) -> Result<(), Failure> {
        if known.seen == self.seen && known.windows == self.windows {
            return Ok(());
        }
        self.seen.clone_from(&known.seen);
        self.windows.clone_from(&known.windows);
        let Some(mut state) = self.saved.state()? else {
            return Ok(()); // kept with the first state
        };
        let shown = state.log.and_then(|log| log.shown);
        state.log = saved::Log::of(self.seen.as_ref(), shown, &self.windows);
        self.commit(state).await?;
        self.believe();
        Ok(())
    }

    /// Tells what is known now.
    fn believe(&self) {
        self.raise_floor();
        self.believed.send_replace(self.known());
    }

    /// Two checkpoints that contradict each other are worth more than the word of one agent: they are kept as a file that
    /// anybody can check.
    fn keep_evidence(&self, refusal: &Refusal) {
        let Some(fork) = refusal.evidence() else {
            return;
        };
        let kept = fork
            .bytes()
            .map_err(std::io::Error::other)
            .and_then(|bytes| self.saved.keep_evidence(&bytes));
        match kept {
            Ok(path) => tracing::error!(
                code = refusal.code(),
                evidence = %path.display(),
                "the log contradicts what was seen of it"
            ),
            Err(error) => tracing::error!(%error, "the evidence of a fork can't be kept"),
        }
    }
}
