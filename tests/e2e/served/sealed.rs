//! What the hub serves, sealed by hand and kept in memory.

use std::{collections::BTreeMap, sync::Mutex};

use bytes::Bytes;
use countersign_hub::serve::{Head, Sealed, SealedFault};
use countersign_ledger::{
    digest::Digest,
    dsse,
    identity::ObjectId,
    json,
    key::Sign,
    manifest::{AppEntry, Content, Line, Manifest, ObjectLine, TombstoneLine},
    statement::{Admission, Desired},
};
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};

use super::{COMMIT, FLEET, Hub, NAME};

#[derive(Default)]
pub(crate) struct Memory {
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

impl Hub {
    /// Seals a state of these objects, signed by `signer`, and serves it.
    pub(crate) fn seal_with(&self, objects: &[Value], tombstones: &[ObjectId], signer: &dyn Sign) {
        let app = AppEntry {
            name: "cart".into(),
            commit: COMMIT.into(),
            depends_on: vec![],
            exclusive: false,
            health_rules: vec![],
        };
        self.seal_apps(vec![app], objects, tombstones, signer);
    }

    /// Seals a state of these apps; each object's label names its app.
    pub(crate) fn seal_apps(
        &self,
        apps: Vec<AppEntry>,
        objects: &[Value],
        tombstones: &[ObjectId],
        signer: &dyn Sign,
    ) {
        let mut lines = Vec::new();
        let mut names = Vec::new();
        for object in objects {
            let bytes = json::canonical(object).unwrap();
            let sha256 = Digest::of(&bytes);
            lines.push(Line::Object(ObjectLine {
                id: id(object),
                app: object["metadata"]["labels"]["countersign.dev/app"]
                    .as_str()
                    .unwrap()
                    .into(),
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
        let manifest = Manifest::build(lines, apps).unwrap();
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
            trust_root: self.parts.trust.len() as u64,
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

    pub(crate) fn seal(&self, objects: &[Value], tombstones: &[ObjectId]) {
        self.seal_with(objects, tombstones, &self.sealer);
    }

    /// Serves the newest head again, after a restart.
    pub(crate) fn publish(&self) {
        if let Some(head) = self.heads.lock().unwrap().last().cloned() {
            self.state.publish(NAME, head);
        }
    }

    /// What was sealed last never was: a thief's envelope is not part of the chain.
    pub(crate) fn unseal(&self) {
        self.sealed.envelopes.lock().unwrap().pop();
        self.heads.lock().unwrap().pop();
    }
}

pub(crate) fn id(object: &Value) -> ObjectId {
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

pub(crate) fn config_map(namespace: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "labels": {"countersign.dev/app": "cart"}}, "data": {"x": value}})
}
