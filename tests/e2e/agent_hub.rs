//! An agent against the hub's real serving side and a real API server: it registers, verifies, applies, heals, reports;
//! it takes nothing that is not signed for it; it works with the hub away.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use countersign_agent::{
    agent::{self, StartError},
    config::{Args, Command},
};
use countersign_fleet::api::TrustRootInUse;
use countersign_hub::serve::{
    Authority, Clock, Head, Member, Metrics, Options, Sealed, SealedFault, Serving, Setup, State,
    Trust, Webhooks, start,
};
use countersign_ledger::{
    digest::Digest,
    dsse,
    identity::ObjectId,
    json,
    key::{FileKey, Sign},
    manifest::{AppEntry, Content, Line, Manifest, ObjectLine, TombstoneLine},
    statement::{Admission, Desired},
    trust::{ClusterTrust, Level, init::FirstRoot},
};
use countersign_tests::{cluster::Cluster, install_tls};
use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PKCS_ED25519};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const FLEET: &str = "acme";
const NAME: &str = "metal-fra";
const COMMIT: &str = "c0ffee0000000000000000000000000000000000";
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Memory {
    envelopes: Mutex<Vec<Bytes>>,
    blobs: Mutex<BTreeMap<Digest, Bytes>>,
}

impl Sealed for Memory {
    fn envelopes<'a>(
        &'a self,
        _cluster: &'a str,
        above: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, SealedFault>> {
        let from = usize::try_from(above).unwrap();
        let found = self
            .envelopes
            .lock()
            .unwrap()
            .iter()
            .skip(from)
            .take(limit)
            .cloned()
            .collect();
        async move { Ok(found) }.boxed()
    }

    fn blob<'a>(&'a self, name: &'a Digest) -> BoxFuture<'a, Result<Option<Bytes>, SealedFault>> {
        let found = self.blobs.lock().unwrap().get(name).cloned();
        async move { Ok(found) }.boxed()
    }
}

/// The serving side of a hub; what it serves is sealed by hand.
struct Hub {
    state: Arc<State>,
    sealed: Arc<Memory>,
    sealer: FileKey,
    agents: SocketAddr,
    operators: SocketAddr,
    folder: tempfile::TempDir,
    serving: Option<Serving>,
    stop: CancellationToken,
    parts: Parts,
    heads: Mutex<Vec<Head>>,
}

#[derive(Clone)]
struct Parts {
    key: String,
    ca: String,
    trust: Bytes,
    store: Arc<object_store::memory::InMemory>,
}

async fn serve(
    parts: &Parts,
    sealed: &Arc<Memory>,
    folder: &std::path::Path,
    agents: SocketAddr,
) -> (Arc<State>, Serving, CancellationToken) {
    let metrics = Metrics::default();
    let mut registry = Registry::with_prefix("countersign_hub");
    metrics.register(&mut registry);
    let state = State::open(Setup {
        fleet: FLEET.into(),
        trust: Trust {
            documents: vec![(1, parts.trust.clone())],
            in_use: TrustRootInUse {
                version: 1,
                digest: Digest::of(&parts.trust).to_string(),
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
        store: parts.store.clone(),
        wake: Arc::new(|| {}),
        agents_url: String::new(),
        clock: Clock::system(),
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

impl Hub {
    async fn start() -> Self {
        install_tls();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        let material = FirstRoot {
            fleet: FLEET.into(),
            issued: "2026-01-01T00:00:00Z".into(),
            owner: "owner".into(),
            hub_ca: Digest::of(certificate.der()),
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
        let parts = Parts {
            key: key.serialize_pem(),
            ca: certificate.pem(),
            trust: Bytes::copy_from_slice(material.trust.bytes()),
            store: Arc::new(object_store::memory::InMemory::new()),
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trust.json"), &parts.trust).unwrap();
        let sealed = Arc::new(Memory::default());
        let (state, serving, stop) =
            serve(&parts, &sealed, folder.path(), ([127, 0, 0, 1], 0).into()).await;
        Self {
            state,
            sealed,
            sealer,
            agents: serving.agents,
            operators: serving.operators.unwrap(),
            folder,
            serving: Some(serving),
            stop,
            parts,
            heads: Mutex::default(),
        }
    }

    async fn end(&mut self) {
        self.state.set_ready(false);
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.stopped().await;
        }
    }

    async fn come_back(&mut self) {
        let (state, serving, stop) =
            serve(&self.parts, &self.sealed, self.folder.path(), self.agents).await;
        self.operators = serving.operators.unwrap();
        (self.state, self.serving, self.stop) = (state, Some(serving), stop);
        self.publish();
    }

    fn operator(&self) -> (reqwest::Client, String, String) {
        let token = std::fs::read_to_string(self.folder.path().join("operator.token")).unwrap();
        (
            reqwest::Client::new(),
            format!("http://{}", self.operators),
            token.trim().to_owned(),
        )
    }

    async fn token(&self) -> String {
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

    async fn ask(&self, path: &str) -> Value {
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

    /// Seals a state of these objects, signed by `signer`, and serves it.
    fn seal_with(&self, objects: &[Value], tombstones: &[ObjectId], signer: &dyn Sign) {
        let mut lines = Vec::new();
        let mut names = Vec::new();
        for object in objects {
            let bytes = json::canonical(object).unwrap();
            let sha256 = Digest::of(&bytes);
            lines.push(Line::Object(ObjectLine {
                id: id(object),
                app: "cart".into(),
                commit: COMMIT.into(),
                wave: 0,
                bytes: bytes.len() as u64,
                content: Content::Plain { sha256 },
            }));
            names.push(sha256);
            self.sealed
                .blobs
                .lock()
                .unwrap()
                .insert(sha256, bytes.into());
        }
        for id in tombstones {
            lines.push(Line::Tombstone(TombstoneLine {
                id: id.clone(),
                app: "cart".into(),
                commit: COMMIT.into(),
            }));
        }
        let app = AppEntry {
            name: "cart".into(),
            commit: COMMIT.into(),
            depends_on: vec![],
            exclusive: false,
            health_rules: vec![],
        };
        let manifest = Manifest::build(lines, vec![app]).unwrap();
        let mut keep = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            names.push(digest);
            self.sealed
                .blobs
                .lock()
                .unwrap()
                .insert(digest, Bytes::copy_from_slice(bytes));
        };
        keep(manifest.list_bytes());
        keep(manifest.apps_bytes());
        for section in manifest.sections() {
            keep(section.bytes());
        }
        let mut envelopes = self.sealed.envelopes.lock().unwrap();
        let desired = Desired {
            manifest: manifest.digest(),
            fleet: FLEET.into(),
            cluster: NAME.into(),
            environment: "prod".into(),
            generation: envelopes.len() as u64 + 1,
            previous: envelopes.last().map(|envelope| Digest::of(envelope)),
            commit: COMMIT.into(),
            source: Digest::of(b"source"),
            renderer: "test".into(),
            admission: Admission {
                policies: None,
                verdicts: None,
            },
            ring: "default".into(),
            trust_root: 1,
            permits: vec![],
        };
        let envelope =
            dsse::sign(dsse::PAYLOAD_TYPE, &desired.payload().unwrap(), &[signer]).unwrap();
        envelopes.push(Bytes::copy_from_slice(envelope.bytes()));
        drop(envelopes);
        let head = Head::new(
            desired.generation,
            Bytes::copy_from_slice(envelope.bytes()),
            manifest.digest(),
            [],
            names,
        );
        self.state.publish(NAME, head.clone());
        self.heads.lock().unwrap().push(head);
    }

    fn seal(&self, objects: &[Value], tombstones: &[ObjectId]) {
        self.seal_with(objects, tombstones, &self.sealer);
    }

    /// Serves the newest head again, after a restart.
    fn publish(&self) {
        if let Some(head) = self.heads.lock().unwrap().last().cloned() {
            self.state.publish(NAME, head);
        }
    }

    /// What was sealed last never was: a thief's envelope is not part of the chain.
    fn unseal(&self) {
        self.sealed.envelopes.lock().unwrap().pop();
        self.heads.lock().unwrap().pop();
    }
}

fn id(object: &Value) -> ObjectId {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let version = text("/apiVersion");
    ObjectId {
        group: version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}

fn config_map(namespace: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "labels": {"countersign.dev/app": "cart"}}, "data": {"x": value}})
}

/// A running agent.
struct Agent {
    task: JoinHandle<Result<(), StartError>>,
    stop: CancellationToken,
}

impl Agent {
    fn start(
        hub: &Hub,
        cluster: &Cluster,
        data: &std::path::Path,
        token: &str,
        namespace: &str,
    ) -> Self {
        let mut arguments = vec!["countersign-agent".to_owned(), "run".to_owned()];
        for (flag, value) in [
            ("--hub", format!("https://{}", hub.agents)),
            ("--cluster", NAME.to_owned()),
            (
                "--trust",
                hub.folder.path().join("trust.json").display().to_string(),
            ),
            ("--data", data.display().to_string()),
            ("--token", token.to_owned()),
            ("--kubeconfig", cluster.kubeconfig().display().to_string()),
            ("--namespace", namespace.to_owned()),
            ("--listen", "127.0.0.1:0".to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        let args = Args::read(arguments.into_iter().map(Into::into).collect(), None).unwrap();
        let Command::Run(options) = args.command;
        let stop = CancellationToken::new();
        let task = tokio::spawn(agent::run(*options, stop.clone()));
        Self { task, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) -> Duration {
    let started = Instant::now();
    while !look().await {
        assert!(started.elapsed() < LIMIT, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

async fn value(api: &Api<ConfigMap>, name: &str) -> Option<String> {
    api.get_opt(name)
        .await
        .unwrap()
        .and_then(|map| map.data)
        .and_then(|data| data.get("x").cloned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_applies_heals_and_reports_and_takes_nothing_unsigned_and_needs_no_hub_to_heal() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await.unwrap(), &namespace);
    let mut hub = Hub::start().await;
    let data = tempfile::tempdir().unwrap();
    let token = hub.token().await;
    hub.seal(
        &[
            config_map(&namespace, "a", "1"),
            config_map(&namespace, "b", "1"),
        ],
        &[],
    );
    let agent = Agent::start(&hub, cluster, data.path(), &token, &namespace);

    until("the first state", || async {
        value(&api, "a").await.as_deref() == Some("1")
    })
    .await;
    hub.seal(
        &[
            config_map(&namespace, "a", "2"),
            config_map(&namespace, "b", "1"),
        ],
        &[],
    );
    let took = until("the second state", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    println!("sealed to live: {took:?}");
    let path = format!("/api/v1/clusters/{NAME}");
    until("its report", || async {
        let text = hub.ask(&path).await.to_string();
        text.contains("Healthy") && text.contains("Synced")
    })
    .await;

    // A change behind Git's back is undone, and the hub hears of it.
    let params = PatchParams {
        field_manager: Some("mallory".into()),
        ..PatchParams::default()
    };
    api.patch("a", &params, &Patch::Merge(json!({"data": {"x": "evil"}})))
        .await
        .unwrap();
    let took = until("the healing", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    println!("healed: {took:?}");
    until("the drift's report", || async {
        hub.ask("/api/v1/drifts")
            .await
            .to_string()
            .contains("mallory")
    })
    .await;

    // A thief's envelope: right in everything but the key.
    let thief = FileKey::generate(&SystemRandom::new()).unwrap();
    hub.seal_with(&[config_map(&namespace, "a", "stolen")], &[], &thief);
    until("the refusal", || async {
        hub.ask(&path)
            .await
            .to_string()
            .contains("SIGNATURE_INVALID")
    })
    .await;
    assert_eq!(value(&api, "a").await.as_deref(), Some("2"));
    hub.unseal();

    // The hub is gone: what was verified last is healed all the same, and after a restart of the agent too.
    hub.end().await;
    api.delete("b", &DeleteParams::default()).await.unwrap();
    until("the healing without a hub", || async {
        value(&api, "b").await.as_deref() == Some("1")
    })
    .await;
    agent.stop().await;
    api.patch("a", &params, &Patch::Merge(json!({"data": {"x": "evil"}})))
        .await
        .unwrap();
    let agent = Agent::start(&hub, cluster, data.path(), "", &namespace);
    let took = until("the healing after a restart", || async {
        value(&api, "a").await.as_deref() == Some("2")
    })
    .await;
    println!("healed after a restart without a hub: {took:?}");

    // It comes back, and so does the agent, by its certificate and without a token; a tombstone deletes.
    hub.come_back().await;
    let gone = id(&config_map(&namespace, "b", "1"));
    hub.seal(&[config_map(&namespace, "a", "3")], &[gone]);
    until("the state after the hub came back", || async {
        value(&api, "a").await.as_deref() == Some("3")
    })
    .await;
    until("the deletion", || async {
        value(&api, "b").await.is_none()
    })
    .await;
    until("the deletion's report", || async {
        !hub.state.gone(NAME).is_empty()
    })
    .await;
    agent.stop().await;
}
