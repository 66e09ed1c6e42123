//! A hub without a pipeline: what was sealed is put in by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use countersign_fleet::api::TrustRootInUse;
use countersign_proto::agent::v1 as wire;
use countersign_proto::agent::v1::agents_client::AgentsClient;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PKCS_ED25519};
use ring::signature::Ed25519KeyPair;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::log::Log;
use crate::seal::{FileSigner, Signer};
use crate::serve::heads::{Head, Sealed, SealedFault};
use crate::serve::join::Issuers;
use crate::serve::limits::Patience;
use crate::serve::{
    Authority, Clock, Member, Metrics, Options, Serving, Setup, State, Stopped, Trust, Webhooks,
    renew, start_with,
};
use crate::store::Store;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::FileKey;

pub(super) const FLEET: &str = "acme";

/// What was sealed, in memory.
#[derive(Default)]
pub(super) struct Memory {
    envelopes: Mutex<BTreeMap<String, Vec<Bytes>>>,
    blobs: Mutex<BTreeMap<Digest, Bytes>>,
}

impl Sealed for Memory {
    fn envelopes<'a>(
        &'a self,
        cluster: &'a str,
        above: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, SealedFault>> {
        let all = self.envelopes.lock().unwrap();
        let from = usize::try_from(above).unwrap();
        let found = all
            .get(cluster)
            .map(|all| all.iter().skip(from).take(limit).cloned().collect());
        async move { Ok(found.unwrap_or_default()) }.boxed()
    }

    fn blob<'a>(&'a self, name: &'a Digest) -> BoxFuture<'a, Result<Option<Bytes>, SealedFault>> {
        let found = self.blobs.lock().unwrap().get(name).cloned();
        async move { Ok(found) }.boxed()
    }
}

/// A running hub.
pub(super) struct Hub {
    pub(super) state: Arc<State>,
    pub(super) agents: SocketAddr,
    pub(super) operators: SocketAddr,
    pub(super) data: tempfile::TempDir,
    pub(super) ca: String,
    pub(super) woken: Arc<AtomicUsize>,
    pub(super) sealed: Arc<Memory>,
    serving: Serving,
    stop: CancellationToken,
    clock: Arc<AtomicI64>,
}

/// An authority as `countersign trust init` makes it: key and certificate, PEM.
pub(in crate::serve) fn authority() -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).unwrap();
    (key.serialize_pem(), certificate.pem())
}

/// The key that says which clusters may speak.
pub(super) fn agent_ca() -> Arc<dyn Signer> {
    Arc::new(FileSigner::new(FileKey::from_seed(&[43; 32]).unwrap()))
}

impl Hub {
    pub(super) async fn start() -> Self {
        Self::start_with(Webhooks::default()).await
    }

    pub(super) async fn start_with(webhooks: Webhooks) -> Self {
        Self::start_patient(webhooks, Patience::default()).await
    }

    /// With a log, which lies in memory.
    pub(super) async fn start_logged() -> Self {
        let parts = crate::log::tests::parts();
        let index = crate::log::tests::index();
        let log = Log::open(Store::in_memory(), index, parts).await.unwrap();
        Self::start_all(Webhooks::default(), Patience::default(), Some(log), None).await
    }

    /// With a log, in which receipt keys are enrolled.
    pub(super) async fn start_enrolling() -> Self {
        let parts = crate::log::tests::parts();
        let index = crate::log::tests::index();
        let log = Log::open(Store::in_memory(), index, parts).await.unwrap();
        let (webhooks, patience) = (Webhooks::default(), Patience::default());
        Self::start_all(webhooks, patience, Some(log), Some(agent_ca())).await
    }

    pub(super) async fn start_patient(webhooks: Webhooks, patience: Patience) -> Self {
        Self::start_all(webhooks, patience, None, None).await
    }

    async fn start_all(
        webhooks: Webhooks,
        patience: Patience,
        log: Option<Log>,
        agent_ca: Option<Arc<dyn Signer>>,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (key, ca) = authority();
        let data = tempfile::tempdir().unwrap();
        let woken = Arc::new(AtomicUsize::new(0));
        let sealed = Arc::new(Memory::default());
        let clock = Arc::new(AtomicI64::new(Timestamp::now().as_second()));
        let member = |environment: &str| Member {
            environment: environment.into(),
            level: "signed".into(),
        };
        let metrics = Metrics::default();
        let mut registry = Registry::with_prefix("countersign_hub");
        metrics.register(&mut registry);
        let state = State::open(Setup {
            guests: Default::default(),
            fleet: FLEET.into(),
            trust: Trust {
                documents: vec![
                    (1, Bytes::from_static(b"root 1")),
                    (2, Bytes::from_static(b"root 2")),
                ],
                newest: None,
                in_use: TrustRootInUse {
                    version: 2,
                    digest: "ab".repeat(32),
                },
                clusters: BTreeMap::from([
                    ("eks".into(), member("prod")),
                    ("metal".into(), member("edge")),
                ]),
            },
            authority: Authority::load(&key, &ca).unwrap(),
            sealed: sealed.clone(),
            commits: None,
            log,
            agent_ca,
            issuers: Issuers::default(),
            store: Arc::new(object_store::memory::InMemory::new()),
            wake: {
                let woken = woken.clone();
                Arc::new(move || {
                    woken.fetch_add(1, Ordering::SeqCst);
                })
            },
            agents_url: "https://hub.example.com:7443".into(),
            clock: {
                let clock = clock.clone();
                Clock::from_fn(move || {
                    Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap()
                })
            },
            metrics,
        })
        .await
        .unwrap();
        state.set_ready(true);
        let stop = CancellationToken::new();
        let options = Options {
            agents: ([127, 0, 0, 1], 0).into(),
            operators: Some(([127, 0, 0, 1], 0).into()),
            ..Options::new(data.path())
        };
        let serving = start_with(
            state.clone(),
            options,
            webhooks,
            Arc::new(registry),
            stop.clone(),
            patience,
        )
        .await
        .unwrap();
        Self {
            state,
            agents: serving.agents,
            operators: serving.operators.unwrap(),
            data,
            ca,
            woken,
            sealed,
            serving,
            stop,
            clock,
        }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) async fn stop(self) -> Stopped {
        self.state.set_ready(false);
        self.stop.cancel();
        self.serving.stopped().await
    }

    /// Seals the next generation of a cluster with one blob; returns the blob's name.
    pub(super) fn seal(&self, cluster: &str, content: &str) -> Digest {
        let generation = {
            let mut all = self.sealed.envelopes.lock().unwrap();
            let chain = all.entry(cluster.to_owned()).or_default();
            let generation = chain.len() as u64 + 1;
            chain.push(envelope(cluster, generation));
            generation
        };
        let keep = |content: String| {
            let blob = Bytes::from(content);
            let name = Digest::of(&blob);
            self.sealed.blobs.lock().unwrap().insert(name, blob);
            name
        };
        let name = keep(content.to_owned());
        let manifest = keep(format!("{cluster} manifest {generation}"));
        let head = Head::new(
            generation,
            envelope(cluster, generation),
            manifest,
            [],
            vec![name],
        );
        assert!(self.state.publish(cluster, head));
        name
    }

    /// The store gives other bytes under that name from now on.
    pub(super) fn damage(&self, name: Digest) {
        self.sealed
            .blobs
            .lock()
            .unwrap()
            .insert(name, Bytes::from_static(b"other"));
    }

    pub(super) fn token(&self) -> String {
        std::fs::read_to_string(self.data.path().join("operator.token"))
            .unwrap()
            .trim()
            .to_owned()
    }

    pub(super) async fn connect(&self, identity: Option<Identity>) -> AgentsClient<Channel> {
        AgentsClient::new(self.channel(identity).await.unwrap())
    }

    pub(super) async fn channel(
        &self,
        identity: Option<Identity>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .domain_name("localhost");
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        Endpoint::from_shared(format!("https://{}", self.agents))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect()
            .await
    }

    /// A join token for a cluster, as an operator asks for it.
    pub(super) async fn join_token(&self, cluster: &str, replace: bool) -> String {
        let answer = self
            .http()
            .post(self.url(&format!("/api/v1/clusters/{cluster}/join-token")))
            .bearer_auth(self.token())
            .json(&serde_json::json!({ "replace": replace }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        let answer: countersign_fleet::api::JoinToken = answer.json().await.unwrap();
        answer.token
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.operators)
    }

    pub(super) fn http(&self) -> reqwest::Client {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(self.ca.as_bytes()).unwrap()])
            .build()
            .unwrap()
    }
}

pub(super) fn envelope(cluster: &str, generation: u64) -> Bytes {
    Bytes::from(format!("{cluster} envelope {generation}"))
}

/// An agent: a receipt key and what it got for it.
pub(super) struct Agent {
    pub(super) cluster: String,
    pub(super) key: KeyPair,
    pub(super) uid: String,
    pub(super) recipient: String,
    certificate: Option<String>,
}

impl Agent {
    pub(super) fn new(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            uid: format!("uid of {cluster}"),
            recipient: age::x25519::Identity::generate().to_public().to_string(),
            certificate: None,
        }
    }

    /// One that is registered and connected.
    pub(super) async fn joined(hub: &Hub, cluster: &str) -> (Self, AgentsClient<Channel>) {
        let mut agent = Self::new(cluster);
        let token = hub.join_token(cluster, false).await;
        agent.register(hub, &token).await.unwrap();
        let client = hub.connect(agent.identity()).await;
        (agent, client)
    }

    pub(super) fn csr(&self) -> Bytes {
        CertificateParams::default()
            .serialize_request(&self.key)
            .unwrap()
            .der()
            .to_vec()
            .into()
    }

    pub(super) async fn register(
        &mut self,
        hub: &Hub,
        token: &str,
    ) -> Result<wire::RegisterResponse, tonic::Status> {
        let request = wire::RegisterRequest {
            cluster: self.cluster.clone(),
            token: token.to_owned(),
            csr: self.csr(),
            encryption_recipient: self.recipient.clone(),
            identity: Some(wire::ClusterIdentity {
                uid: self.uid.clone(),
                ca_fingerprint: Bytes::from_static(&[3; 32]),
                kubernetes: "v1.35.4".into(),
            }),
            service_account_token: String::new(),
        };
        let answer = hub
            .connect(None)
            .await
            .register(request)
            .await?
            .into_inner();
        self.certificate = Some(answer.certificate.clone());
        Ok(answer)
    }

    pub(super) async fn renew(&mut self, hub: &Hub) -> Result<(), tonic::Status> {
        let csr = self.csr();
        let time = hub.state.now().as_second();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.key.serialize_der()).unwrap();
        let signature = pair.sign(renew::message(&self.cluster, time, &csr).as_bytes());
        let request = wire::RenewRequest {
            cluster: self.cluster.clone(),
            csr,
            time,
            signature: signature.as_ref().to_vec().into(),
        };
        let answer = hub.connect(None).await.renew(request).await?.into_inner();
        self.certificate = Some(answer.certificate);
        Ok(())
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        let certificate = self.certificate.as_ref()?;
        Some(Identity::from_pem(certificate, self.key.serialize_pem()))
    }
}

pub(super) fn code(status: &tonic::Status) -> &str {
    status
        .metadata()
        .get(crate::serve::refuse::CODE_HEADER)
        .map_or("", |code| code.to_str().unwrap())
}
