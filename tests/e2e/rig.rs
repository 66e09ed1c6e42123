//! The agent's engine on a real API server, without a hub: what it shall run is put in by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_agent::apply::client::{self, ApiServer};
use countersign_agent::engine::{Engine, Settings};
use countersign_agent::keys::{Folder, Keys};
use countersign_agent::metrics::Metrics;
use countersign_agent::news::DriftRecord;
use countersign_agent::plan::{App, Desired, Want};
use countersign_agent::saved::Saved;
use countersign_agent::world::Sync;
use countersign_agent::{heal, health, sync};
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::secret::{self, Commitment};
use countersign_tests::cluster::Cluster;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) struct Rig {
    pub(crate) engine: Arc<Engine>,
    pub(crate) newest: watch::Sender<Option<Arc<Desired>>>,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) stop: CancellationToken,
    pub(crate) recipient: age::x25519::Recipient,
    pub(crate) desired: Desired,
    pub(crate) namespace: String,
    pub(crate) objects: BTreeMap<ObjectId, Value>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn rig(dir: &Path, namespace: &str) -> Rig {
    rig_on(
        Cluster::shared().await.unwrap(),
        dir,
        namespace,
        Settings::default(),
    )
    .await
}

pub(crate) async fn rig_on(
    cluster: &Cluster,
    dir: &Path,
    namespace: &str,
    settings: Settings,
) -> Rig {
    let api = ApiServer::connect(Some(cluster.kubeconfig()), None)
        .await
        .unwrap();
    let saved = Arc::new(Saved::open(dir).unwrap());
    let keys = Keys::load_or_make(Box::new(Folder(saved.keys())))
        .await
        .unwrap();
    let recipient = keys.recipient().parse().unwrap();
    let (engine, queues) = Engine::new(
        api,
        Arc::clone(&saved),
        Arc::new(Metrics::default()),
        keys.secret_key(),
        settings,
    );
    engine.discover().await.unwrap();
    for (id, held) in saved.inventory().unwrap() {
        engine.world().restore(Arc::new(id), held);
    }
    let (newest, newest_out) = watch::channel(None);
    let (applied_in, applied) = watch::channel(0);
    let stop = CancellationToken::new();
    tokio::spawn(heal::run(Arc::clone(&engine), queues.jobs, stop.clone()));
    tokio::spawn(health::probe::run(
        Arc::clone(&engine),
        queues.probes,
        stop.clone(),
    ));
    tokio::spawn(sync::run(
        Arc::clone(&engine),
        newest_out,
        applied_in,
        stop.clone(),
    ));
    Rig {
        engine,
        newest,
        applied,
        stop,
        recipient,
        desired: Desired::default(),
        namespace: namespace.to_owned(),
        objects: BTreeMap::new(),
    }
}

pub(crate) fn id_of(object: &Value) -> ObjectId {
    let version = object["apiVersion"].as_str().unwrap();
    ObjectId {
        group: version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: object["kind"].as_str().unwrap().to_owned(),
        namespace: object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("")
            .to_owned(),
        name: object["metadata"]["name"].as_str().unwrap().to_owned(),
    }
}

impl Rig {
    pub(crate) fn app(&mut self, name: &str) -> &mut App {
        self.desired.apps.entry(name.into()).or_insert_with(|| App {
            name: name.into(),
            commit: "c0ffee".into(),
            depends_on: vec![],
            exclusive: false,
        })
    }

    pub(crate) fn want(&mut self, app: &str, wave: i32, mut object: Value) -> Arc<ObjectId> {
        object["metadata"]["labels"]["countersign.dev/app"] = app.into();
        let id = Arc::new(id_of(&object));
        let bytes = serde_json::to_vec(&object).unwrap();
        let (blob, commitment) = if id.kind == "Secret" {
            let salt = [7; secret::SALT_BYTES];
            let blob = age::encrypt(&self.recipient, &secret::plaintext(&salt, &bytes)).unwrap();
            (blob, Some(Commitment::to(&salt, &bytes)))
        } else {
            (bytes, None)
        };
        let digest = Digest::of(&blob);
        let length = blob.len() as u64;
        self.engine
            .saved
            .keep(&[(digest, Bytes::from(blob))])
            .unwrap();
        self.app(app);
        self.desired.objects.insert(
            Arc::clone(&id),
            Want {
                app: app.into(),
                wave,
                blob: digest,
                bytes: length,
                commitment,
            },
        );
        self.desired.tombstones.remove(&id);
        self.objects.insert((*id).clone(), object);
        id
    }

    pub(crate) fn remove(&mut self, id: &Arc<ObjectId>) {
        let want = self.desired.objects.remove(id).unwrap();
        self.desired.tombstones.insert(Arc::clone(id), want.app);
    }

    pub(crate) fn push(&mut self) {
        self.desired.generation += 1;
        self.newest
            .send_replace(Some(Arc::new(self.desired.clone())));
    }

    pub(crate) async fn applied(&mut self) {
        let generation = self.desired.generation;
        let wait = self.applied.wait_for(|applied| *applied == generation);
        if tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .is_err()
        {
            let world = self.engine.world();
            let failed: Vec<String> = world
                .iter()
                .filter(|(_, object)| object.sync != Sync::Synced)
                .map(|(id, object)| format!("{id}: {:?} {:?}", object.sync, object.health))
                .collect();
            panic!("generation {generation} is not applied: {failed:#?}");
        }
    }

    pub(crate) async fn get(&self, id: &ObjectId) -> Option<Value> {
        let path = self.engine.kinds().path(id, None).unwrap();
        let answer = self.engine.api.get(&path, client::FULL).await.unwrap();
        answer
            .status
            .is_success()
            .then(|| serde_json::from_slice(&answer.body).unwrap())
    }

    /// Somebody else's write.
    pub(crate) async fn rival(
        &self,
        method: Method,
        id: &ObjectId,
        query: &str,
        content: &'static str,
        body: Value,
    ) -> u16 {
        let path = self.engine.kinds().path(id, None).unwrap();
        let body = Some((content, Bytes::from(body.to_string())));
        let answer = self
            .engine
            .api
            .call(
                method,
                &format!("{path}{query}"),
                client::FULL,
                body,
                client::CALL_MAX,
            )
            .await
            .unwrap();
        answer.status.as_u16()
    }

    pub(crate) fn drifts(&self) -> Vec<DriftRecord> {
        self.engine.news().drifts().cloned().collect()
    }

    pub(crate) async fn drift_of(&self, id: &ObjectId) -> DriftRecord {
        until("a drift record", || async {
            self.drifts().into_iter().find(|drift| *drift.id == *id)
        })
        .await
    }

    pub(crate) fn config_map(&self, name: &str, data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}, "data": data})
    }

    pub(crate) fn namespace(&mut self) -> Arc<ObjectId> {
        let namespace = self.namespace.clone();
        self.want(
            "base",
            0,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        )
    }
}

pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

pub(crate) fn unique(prefix: &str) -> String {
    format!(
        "{prefix}-{}-{}",
        std::process::id(),
        countersign_agent::clock::unix_millis() % 100_000
    )
}

pub(crate) fn deployment(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
            {"name": "main", "image": "example.org/x:1", "args": ["a"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}}}})
}
