//! From the hub to a verified state: register, follow heads, fetch blobs, check, persist, publish.
//!
//! [`run`] is the loop; `hub` speaks gRPC, `tls` pins the hub's CA, `wire` turns messages into untrusted values,
//! `verify` (one level up) checks them. A state is persisted, then published, only after all checks have passed. The
//! hub may be away for any time: what was verified last keeps being healed.

pub mod hub;
pub mod tls;
pub mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Roots;
use countersign_ledger::verify::{Checked, Known, Last, VerifiedState};
use countersign_proto::agent::v1 as proto;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::clock;
use crate::engine::Engine;
use crate::keys::{KeyError, Keys};
use crate::plan::Desired;
use crate::saved::{Saved, State};
use crate::verify::{self, Assembled, Chain, Untrusted};
use hub::{Certificate, Hub, HubFault};

/// Pauses between tries.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a refusal the same bytes come again: there is no hurry.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);
/// Blobs asked for in one call; what comes is checked and written before the next call.
const BLOBS_PER_CALL: usize = 256;
/// Unneeded blobs are removed after so many states.
const TIDY_EVERY: u64 = 32;

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
    /// The trust roots.
    pub roots: Roots,
    /// The last verified statement.
    pub last: Option<Last>,
    /// Blobs on disk that were checked.
    pub checked: HashMap<Digest, Checked>,
    /// Verified states go here.
    pub newest: watch::Sender<Option<Arc<Desired>>>,
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
            Failure::CertificateDue => {
                pause = PAUSE_MIN;
                continue;
            }
            Failure::Refused(refusal) => {
                puller.engine.refused(refusal.code(), &refusal.to_string());
                // A root that is not known here is asked for with the next connection; all else comes again as it is.
                if !matches!(refusal, Refusal::TrustRootUnknown { .. }) {
                    pause = pause.max(PAUSE_REFUSED);
                }
            }
            Failure::Fault(fault) => {
                tracing::info!(%fault, "hub");
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
    /// One connection, from certificate to its end; it never ends well.
    async fn once(&mut self) -> Failure {
        match self.connected().await {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    async fn connected(&mut self) -> Result<std::convert::Infallible, Failure> {
        let certificate = self.certificate().await?;
        let due = certificate.due_in(clock::unix());
        let channel = self
            .hub
            .channel(Some((&certificate.pem, &self.keys.receipt_pem())))
            .await?;
        let mut client = hub::client(channel.clone());
        self.follow_roots(&mut client).await?;
        let request = proto::HeadsRequest {
            generation: self.last.map_or(0, |last| last.generation),
            envelope: self
                .last
                .map(|last| Bytes::copy_from_slice(last.envelope.as_bytes()))
                .unwrap_or_default(),
        };
        let mut heads = client
            .heads(request)
            .await
            .map_err(HubFault::from)?
            .into_inner();
        self.channel.send_replace(Some(channel));
        self.engine.metrics.connected.set(1);
        tracing::info!("following heads");
        let mut batches = Batches::new(self.known());
        let due = tokio::time::sleep(due);
        tokio::pin!(due);
        loop {
            let head = tokio::select! {
                () = &mut due => return Err(Failure::CertificateDue),
                head = heads.message() => head.map_err(HubFault::from)?.ok_or(HubFault::Ended)?,
            };
            let head = wire::head(head);
            batches.take(head.attached);
            if head.envelopes.0.is_empty() {
                continue;
            }
            let started = Instant::now();
            batches.chain.follow(&head.envelopes)?;
            if head.more {
                continue;
            }
            let whole = std::mem::replace(&mut batches, Batches::new(self.known()));
            self.arrive(&mut client, whole).await?;
            self.engine
                .metrics
                .verify_seconds
                .observe(started.elapsed().as_secs_f64());
            batches = Batches::new(self.known());
        }
    }

    fn known(&self) -> Known {
        Known {
            cluster: self.cluster.clone(),
            roots: self.roots.clone(),
            last: self.last,
        }
    }

    /// A certificate that is good for a while: the kept one, a renewed one, or the first one.
    async fn certificate(&mut self) -> Result<Certificate, Failure> {
        let now = clock::unix();
        let kept = self
            .keys
            .certificate()?
            .and_then(|pem| Certificate::read(&pem));
        if let Some(certificate) = kept
            .as_ref()
            .filter(|certificate| !certificate.due_in(now).is_zero())
        {
            return Ok(certificate.clone());
        }
        let fleet = self.roots.newest().fleet().to_owned();
        let request = self.keys.certificate_request(&fleet, &self.cluster)?;
        let channel = self.hub.channel(None).await?;
        let mut client = hub::client(channel);
        let pem = match (kept, &self.token) {
            (None, Some(token)) => {
                let response = client
                    .register(proto::RegisterRequest {
                        cluster: self.cluster.clone(),
                        token: token.clone(),
                        csr: request.into(),
                        encryption_recipient: self.keys.recipient(),
                        identity: Some(self.identity.clone()),
                    })
                    .await
                    .map_err(HubFault::from)?
                    .into_inner();
                self.extend_roots(&response.trust_roots)?;
                response.certificate
            }
            (None, None) => return Err(HubFault::NoToken.into()),
            (Some(_), _) => {
                let signature = self
                    .keys
                    .sign_renewal(&self.cluster, now, &request)
                    .map_err(|error| KeyError::Request(error.to_string()))?;
                let renewal = proto::RenewRequest {
                    cluster: self.cluster.clone(),
                    csr: request.into(),
                    time: now,
                    signature: Bytes::copy_from_slice(&signature),
                };
                client
                    .renew(renewal)
                    .await
                    .map_err(HubFault::from)?
                    .into_inner()
                    .certificate
            }
        };
        let certificate = Certificate::read(&pem).ok_or(HubFault::OddCertificate)?;
        self.keys.keep_certificate(&pem)?;
        self.token = None;
        tracing::info!(until = certificate.until, "new client certificate");
        Ok(certificate)
    }

    async fn follow_roots(&mut self, client: &mut hub::Client) -> Result<(), Failure> {
        let above_version = self.roots.newest().version();
        let response = client
            .trust_roots(proto::TrustRootsRequest { above_version })
            .await
            .map_err(HubFault::from)?
            .into_inner();
        self.extend_roots(&response.trust_roots)
    }

    /// Takes roots that follow the newest one, in order; those that are known already are passed over.
    fn extend_roots(&mut self, documents: &[Bytes]) -> Result<(), Failure> {
        for document in documents {
            if self
                .roots
                .iter()
                .any(|root| root.bytes() == document.as_ref())
            {
                continue;
            }
            self.roots.extend(document, &RingVerifier)?;
            let newest = self.roots.newest();
            self.saved.keep_trust_root(newest.version(), document)?;
            self.hub.pin(newest.document().hub_ca);
        }
        Ok(())
    }

    /// The chain is whole: fetch, check, persist, publish.
    async fn arrive(&mut self, client: &mut hub::Client, batches: Batches) -> Result<(), Failure> {
        let Batches { chain, attached } = batches;
        let Some((statement, envelope)) = chain.end() else {
            return Ok(());
        };
        let (generation, envelope_digest) = (statement.generation(), statement.envelope());
        let (manifest, trust_version) =
            (statement.desired().manifest, self.roots.newest().version());
        let last = statement.last();
        let mut store = Store {
            saved: &self.saved,
            attached,
            fetched: vec![(envelope_digest, envelope.into())],
        };

        store.need(client, &self.engine, vec![manifest]).await?;
        let list = store
            .bytes(&manifest)
            .ok_or(Refusal::BlobMissing { digest: manifest })?;
        let sections = verify::sections(statement, &Untrusted(list))?;
        let parts: Vec<Digest> = sections.blobs().copied().collect();
        store.need(client, &self.engine, parts.clone()).await?;
        let assembled = Assembled::new(sections, |digest| store.bytes(digest))?;
        store.flush().await?;

        let mut needed: HashSet<Digest> = parts
            .into_iter()
            .chain([manifest, envelope_digest])
            .collect();
        let blobs: Vec<(Digest, u64)> = assembled.blobs().collect();
        needed.extend(blobs.iter().map(|(digest, _)| *digest));
        let missing: Vec<(Digest, u64)> = blobs
            .into_iter()
            .filter(|(digest, _)| !self.checked.contains_key(digest))
            .collect();
        for batch in missing.chunks(BLOBS_PER_CALL) {
            store
                .need(
                    client,
                    &self.engine,
                    batch.iter().map(|(digest, _)| *digest).collect(),
                )
                .await?;
            for (digest, length) in batch {
                let bytes = store
                    .bytes(digest)
                    .ok_or(Refusal::BlobMissing { digest: *digest })?;
                let (checked, _) = verify::blob(digest, *length, Untrusted(bytes))?;
                self.checked.insert(*digest, checked);
            }
            store.flush().await?;
        }
        let state = assembled.complete(|digest| self.checked.get(digest).copied())?;
        self.commit(&state, envelope_digest, manifest, trust_version)
            .await?;
        self.last = Some(last);
        self.publish(&state);
        self.tidy(generation, needed).await;
        Ok(())
    }

    /// All checks have passed: now, and only now, it is what this agent knows.
    async fn commit(
        &self,
        state: &VerifiedState,
        envelope: Digest,
        manifest: Digest,
        trust_version: u64,
    ) -> Result<(), Failure> {
        let state = State {
            trust_version,
            generation: state.generation(),
            envelope,
            manifest,
            cluster_uid: self.identity.uid.clone(),
            cluster_ca: Digest::from_bytes(
                <[u8; 32]>::try_from(&self.identity.ca_fingerprint[..]).unwrap_or_default(),
            )
            .to_string(),
        };
        let saved = Arc::clone(&self.saved);
        tokio::task::spawn_blocking(move || saved.commit(&state))
            .await
            .map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Publishes the state that survived a restart, before the hub was ever reached.
    pub fn publish_saved(&self, state: &VerifiedState) {
        self.publish(state);
    }

    fn publish(&self, state: &VerifiedState) {
        self.engine.set_rules(rules(state, &self.engine));
        let desired = Arc::new(verify::desired(state));
        self.engine
            .metrics
            .generation_verified
            .set(i64::try_from(desired.generation).unwrap_or(0));
        self.engine
            .metrics
            .objects
            .set(i64::try_from(desired.objects.len()).unwrap_or(0));
        self.engine.forget_told();
        tracing::info!(
            generation = desired.generation,
            objects = desired.objects.len(),
            "verified"
        );
        self.newest.send_replace(Some(desired));
    }

    /// Now and then, removes blobs that neither this state nor the one before it names.
    async fn tidy(&mut self, generation: u64, needed: HashSet<Digest>) {
        if !generation.is_multiple_of(TIDY_EVERY) {
            return;
        }
        // A write of the state before may still be reading its blob.
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.checked.retain(|digest, _| needed.contains(digest));
        let saved = Arc::clone(&self.saved);
        match tokio::task::spawn_blocking(move || saved.drop_blobs_except(&needed)).await {
            Ok(Ok(dropped)) => tracing::debug!(dropped, "blobs removed"),
            Ok(Err(error)) => tracing::warn!(%error, "blobs can't be removed"),
            Err(error) => tracing::warn!(%error, "blobs can't be removed"),
        }
    }
}

/// Health rules of all apps in one set. A rule of the fleet comes with every app that has such objects and counts once;
/// one that can't be read or compiled, or differs from another app's for the same kind, is left out and named.
fn rules(state: &VerifiedState, engine: &Engine) -> countersign_health::Rules {
    let mut all: Vec<countersign_health::rules::Rule> = Vec::new();
    for app in state.manifest().apps().as_slice() {
        match countersign_health::rules::from_json(&app.health_rules) {
            Ok(rules) => {
                for rule in rules {
                    if !all.contains(&rule) {
                        all.push(rule);
                    }
                }
            }
            Err(error) => engine.refused("HEALTH_RULE", &format!("app {}: {error}", app.name)),
        }
    }
    let (rules, mistakes) = countersign_health::Rules::compile(&all);
    for mistake in mistakes {
        engine.refused("HEALTH_RULE", &mistake.to_string());
    }
    rules
}

/// A chain under way, and the blobs that came along.
#[derive(Debug)]
struct Batches {
    chain: Chain,
    attached: HashMap<Digest, Bytes>,
}

impl Batches {
    fn new(known: Known) -> Self {
        Self {
            chain: Chain::new(known),
            attached: HashMap::new(),
        }
    }

    /// Blobs that came unasked; each counts only under the digest that its own bytes have.
    fn take(&mut self, blobs: Vec<Untrusted<Bytes>>) {
        for blob in blobs {
            self.attached.insert(Digest::of(&blob.0), blob.0);
        }
    }
}

/// Blobs of one arrival: those attached, those on disk, those fetched.
struct Store<'a> {
    saved: &'a Arc<Saved>,
    attached: HashMap<Digest, Bytes>,
    /// Not yet on disk.
    fetched: Vec<(Digest, Bytes)>,
}

impl Store<'_> {
    /// Has `digests` at hand afterwards, or fails.
    async fn need(
        &mut self,
        client: &mut hub::Client,
        engine: &Engine,
        digests: Vec<Digest>,
    ) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for digest in digests {
            if let Some(bytes) = self.attached.remove(&digest) {
                self.fetched.push((digest, bytes));
            } else if !self.saved.has(&digest) {
                missing.push(digest);
            }
        }
        for batch in missing.chunks(BLOBS_PER_CALL) {
            let digests = batch
                .iter()
                .map(|digest| Bytes::copy_from_slice(digest.as_bytes()))
                .collect();
            let mut blobs = client
                .blobs(proto::BlobsRequest { digests })
                .await
                .map_err(HubFault::from)?
                .into_inner();
            let mut wanted: HashSet<Digest> = batch.iter().copied().collect();
            while let Some(blob) = blobs.message().await.map_err(HubFault::from)? {
                let Untrusted(bytes) = wire::blob(&blob);
                engine.metrics.blob_bytes.inc_by(bytes.len() as u64);
                let got = Digest::of(&bytes);
                if !wanted.remove(&got) {
                    let claimed = <[u8; 32]>::try_from(&blob.digest[..])
                        .map(Digest::from_bytes)
                        .unwrap_or_default();
                    return Err(Refusal::BlobTampered {
                        digest: claimed,
                        got,
                    }
                    .into());
                }
                self.fetched.push((got, bytes));
            }
            if let Some(digest) = wanted.into_iter().next() {
                return Err(Refusal::BlobMissing { digest }.into());
            }
        }
        Ok(())
    }

    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.fetched
            .iter()
            .find(|(name, _)| name == digest)
            .map(|(_, bytes)| bytes.clone())
            .or_else(|| self.saved.blob(digest).ok().map(Bytes::from))
    }

    /// Writes what was fetched to disk.
    async fn flush(&mut self) -> Result<(), Failure> {
        let (saved, blobs) = (Arc::clone(self.saved), std::mem::take(&mut self.fetched));
        tokio::task::spawn_blocking(move || saved.keep(&blobs))
            .await
            .map_err(std::io::Error::other)??;
        Ok(())
    }
}
