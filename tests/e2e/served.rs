//! The hub's real serving side, its states sealed by hand, and agents against it in this process.

mod agent;
mod sealed;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use countersign_fleet::api::TrustRootInUse;
use countersign_hub::serve::{
    Authority, Clock, Head, Member, Metrics, Options, Serving, Setup, State, Trust, Webhooks, start,
};
use countersign_ledger::{
    digest::Digest,
    dsse,
    key::FileKey,
    trust::{ClusterTrust, Level, TrustRoot, init::FirstRoot},
};
use countersign_tests::install_tls;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PKCS_ED25519};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) use agent::Agent;
pub(crate) use sealed::{Memory, config_map, id};

pub(crate) const FLEET: &str = "acme";
pub(crate) const NAME: &str = "metal-fra";
pub(crate) const COMMIT: &str = "c0ffee0000000000000000000000000000000000";
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The serving side of a hub; what it serves is sealed by hand.
pub(crate) struct Hub {
    pub(crate) state: Arc<State>,
    sealed: Arc<Memory>,
    pub(crate) sealer: FileKey,
    root: FileKey,
    pub(crate) agents: SocketAddr,
    operators: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    serving: Option<Serving>,
    stop: CancellationToken,
    parts: Parts,
    heads: Mutex<Vec<Head>>,
}

#[derive(Clone)]
pub(crate) struct Parts {
    key: String,
    ca: String,
    /// All trust roots, the first first.
    trust: Vec<Bytes>,
    /// Seconds that the hub's clock is ahead.
    ahead: Arc<AtomicI64>,
    store: Arc<object_store::memory::InMemory>,
}

pub(crate) async fn serve(
    parts: &Parts,
    sealed: &Arc<Memory>,
    folder: &std::path::Path,
    agents: SocketAddr,
) -> (Arc<State>, Serving, CancellationToken) {
    let metrics = Metrics::default();
    let mut registry = Registry::with_prefix("countersign_hub");
    metrics.register(&mut registry);
    let state = State::open(Setup {
        guests: Default::default(),
        fleet: FLEET.into(),
        trust: Trust {
            documents: (1..).zip(parts.trust.iter().cloned()).collect(),
            newest: None,
            in_use: TrustRootInUse {
                version: parts.trust.len() as u64,
                digest: Digest::of(parts.trust.last().unwrap()).to_string(),
            },
            clusters: BTreeMap::from([(
                NAME.to_owned(),
                Member {
                    environment: "prod".into(),
                    level: "signed".into(),
                },
            )]),
        },
        authority: Authority::load(&parts.key, &parts.ca).unwrap(),
        sealed: sealed.clone(),
        commits: None,
        log: None,
        agent_ca: None,
        issuers: countersign_hub::serve::join::Issuers::default(),
        store: parts.store.clone(),
        wake: Arc::new(|| {}),
        agents_url: String::new(),
        clock: Clock::from_fn({
            let ahead = parts.ahead.clone();
            move || {
                jiff::Timestamp::now()
                    + jiff::SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
            }
        }),
        metrics,
    })
    .await
    .unwrap();
    state.set_ready(true);
    let stop = CancellationToken::new();
    let options = Options {
        agents,
        operators: Some(([127, 0, 0, 1], 0).into()),
        ..Options::new(folder)
    };
    let serving = start(
        state.clone(),
        options,
        Webhooks::default(),
        Arc::new(registry),
        stop.clone(),
    )
    .await
    .unwrap();
    (state, serving, stop)
}

/// A CA as `countersign trust init` makes it: key and certificate (PEM), and its fingerprint.
pub(crate) fn authority() -> (String, String, Digest) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).unwrap();
    (
        key.serialize_pem(),
        certificate.pem(),
        Digest::of(certificate.der()),
    )
}

impl Hub {
    /// Sets the hub's clock so many seconds ahead of the real one.
    pub(crate) fn set_ahead(&self, seconds: i64) {
        self.parts.ahead.store(seconds, Ordering::SeqCst);
    }

    /// The digest of the first trust root.
    pub(crate) fn pin(&self) -> String {
        format!("sha256:{}", Digest::of(&self.parts.trust[0]))
    }

    /// Makes the next trust root, and serves it after a restart.
    pub(crate) async fn succeed(&mut self, change: impl FnOnce(&mut TrustRoot)) {
        let newest = self.parts.trust.last().unwrap();
        let envelope = dsse::Envelope::parse(newest, &dsse::Limits::trust_root()).unwrap();
        let mut next = TrustRoot::parse(envelope.payload()).unwrap();
        next.version += 1;
        change(&mut next);
        let next = next.sign(&[&self.root]).unwrap();
        self.parts.trust.push(Bytes::copy_from_slice(next.bytes()));
        self.end().await;
        self.come_back().await;
    }

    /// Serves another fleet's trust roots, as a thief would.
    pub(crate) async fn serve_roots_of(&mut self, other: &Self) {
        self.parts.trust = other.parts.trust.clone();
        self.end().await;
        self.come_back().await;
    }

    /// From its next start on the hub stands under this CA.
    pub(crate) fn move_to(&mut self, key: String, ca: String) {
        (self.parts.key, self.parts.ca) = (key, ca);
    }

    pub(crate) async fn start() -> Self {
        install_tls();
        let (key, ca, hub_ca) = authority();
        let material = FirstRoot {
            fleet: FLEET.into(),
            issued: "2026-01-01T00:00:00Z".into(),
            owner: "owner".into(),
            hub_ca,
            clusters: BTreeMap::from([(
                NAME.to_owned(),
                ClusterTrust {
                    environment: "prod".into(),
                    level: Level::Signed,
                },
            )]),
        }
        .make(&SystemRandom::new())
        .unwrap();
        let sealer = FileKey::from_pem(&material.sealer_keys["prod"]).unwrap();
        // This hub has no log: what is tested here is as old as the first fleets.
        let mut document = TrustRoot::parse(material.trust.payload()).unwrap();
        document.log = None;
        let root = FileKey::from_pem(material.root_key.as_ref().unwrap()).unwrap();
        let trust = document.sign(&[&root]).unwrap();
        let parts = Parts {
            key,
            ca,
            trust: vec![Bytes::copy_from_slice(trust.bytes())],
            ahead: Arc::default(),
            store: Arc::new(object_store::memory::InMemory::new()),
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trust.json"), &parts.trust[0]).unwrap();
        let sealed = Arc::new(Memory::default());
        let (state, serving, stop) =
            serve(&parts, &sealed, folder.path(), ([127, 0, 0, 1], 0).into()).await;
        Self {
            state,
            sealed,
            sealer,
            root,
            agents: serving.agents,
            operators: serving.operators.unwrap(),
            folder,
            serving: Some(serving),
            stop,
            parts,
            heads: Mutex::default(),
        }
    }

    pub(crate) async fn end(&mut self) {
        self.state.set_ready(false);
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.stopped().await;
        }
    }

    pub(crate) async fn come_back(&mut self) {
        let (state, serving, stop) =
            serve(&self.parts, &self.sealed, self.folder.path(), self.agents).await;
        self.operators = serving.operators.unwrap();
        (self.state, self.serving, self.stop) = (state, Some(serving), stop);
        self.publish();
    }

    pub(crate) fn operator(&self) -> (reqwest::Client, String, String) {
        let token = std::fs::read_to_string(self.folder.path().join("operator.token")).unwrap();
        (
            reqwest::Client::new(),
            format!("http://{}", self.operators),
            token.trim().to_owned(),
        )
    }

    pub(crate) async fn token(&self) -> String {
        let (http, url, bearer) = self.operator();
        let answer = http
            .post(format!("{url}/api/v1/clusters/{NAME}/join-token"))
            .bearer_auth(bearer)
            .json(&json!({"replace": false}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn ask(&self, path: &str) -> Value {
        let (http, url, bearer) = self.operator();
        http.get(format!("{url}{path}"))
            .bearer_auth(bearer)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }
}

pub(crate) async fn until<F: Future<Output = bool>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> Duration {
    let started = Instant::now();
    while !look().await {
        assert!(started.elapsed() < LIMIT, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

pub(crate) async fn value(api: &Api<ConfigMap>, name: &str) -> Option<String> {
    api.get_opt(name)
        .await
        .unwrap()
        .and_then(|map| map.data)
        .and_then(|data| data.get("x").cloned())
}
