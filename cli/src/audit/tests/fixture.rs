//! A complete log for tests: signed by keys that follow from their names, with every kind of statement, as static files.

mod said;

use std::collections::BTreeMap;
use std::path::Path;

use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::key::{FileKey, PublicKey, Sign as _};
use countersign_ledger::nonce::Nonce;
use countersign_ledger::statement::Statement;
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::time::Time;
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::cosignature;
use countersign_ledger::tlog::note::{KeyKind, Note, Vkey};
use countersign_ledger::tlog::tile::bundles_for;
use countersign_ledger::trust::{
    ClusterTrust, Level, LogTrust, NamedKey, Person, PersonKey, RoleKey, RootRole, TrustRoot,
    WitnessTrust,
};

use crate::audit::tree::Tree;

pub const FLEET: &str = "acme";
pub const ORIGIN: &str = "countersign.dev/fleet/acme";
/// The first receipt is written at this time: 2026-11-01T00:00:00Z, in milliseconds.
pub const START: u64 = 1_793_491_200_000;
pub const MINUTE: u64 = 60_000;

/// The key of that name.
pub fn key(name: &str) -> FileKey {
    FileKey::from_seed(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

fn public(name: &str) -> PublicKey {
    key(name).public()
}

fn named(name: &str) -> NamedKey {
    NamedKey {
        key: public(name),
        name: name.to_owned(),
    }
}

pub fn commit(number: u64) -> String {
    format!("{number:040x}")
}

pub fn time(ms: u64) -> Time {
    Time::from_ms(ms).unwrap()
}

/// The nonce that the hub gives a cluster at that time.
pub fn nonce(cluster: &str, ms: u64) -> String {
    let code = Digest::of(cluster.as_bytes());
    let nonce = Nonce::new(ms, 0, |_| code.as_bytes()[..8].try_into().unwrap());
    nonce.to_string()
}

/// What a cluster has said and been told.
#[derive(Default, Clone)]
pub struct Cluster {
    pub generation: u64,
    pub head: Option<Digest>,
    pub manifest: Option<Digest>,
    pub leaf: Option<Digest>,
    pub seq: u64,
    pub receipt: Option<Digest>,
}

/// A log in the making.
pub struct Fixture {
    pub entries: Vec<Vec<u8>>,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub roots: Vec<Vec<u8>>,
    pub clusters: BTreeMap<String, Cluster>,
    pub tree: Tree,
    pub now: u64,
    pub level: Level,
    source: Digest,
    commit: u64,
}

impl Fixture {
    /// A fleet of two clusters, eks-a and metal-b, both of environment prod, with one witness.
    pub fn new(level: Level) -> Self {
        let mut fixture = Self {
            entries: Vec::new(),
            blobs: BTreeMap::new(),
            roots: Vec::new(),
            clusters: BTreeMap::new(),
            tree: Tree::new(),
            now: START,
            level,
            source: Digest::default(),
            commit: 0,
        };
        fixture.root(|_| {});
        fixture
    }

    /// Makes the next trust root.
    pub fn root(&mut self, change: impl FnOnce(&mut TrustRoot)) {
        let role = RootRole {
            keys: vec![named("root")],
            threshold: 1,
        };
        let mut root = TrustRoot::new(FLEET, "2026-11-01T00:00:00Z", role, Digest::of(b"ca"));
        root.version = self.roots.len() as u64 + 1;
        let sealer = |name: &str| vec![RoleKey { key: public(name) }];
        root.sealers.insert("prod".into(), sealer("sealer-prod"));
        root.sealers.insert("test".into(), sealer("sealer-test"));
        for name in ["eks-a", "metal-b"] {
            let trust = ClusterTrust {
                environment: "prod".into(),
                level: self.level,
            };
            root.clusters.insert(name.into(), trust);
        }
        root.log = Some(LogTrust {
            vkey: self.vkey().to_string(),
            url: None,
        });
        root.agent_cas = vec![RoleKey { key: public("ca") }];
        root.overriders = vec![named("olga")];
        root.reproducers = vec![named("rita")];
        root.ci = vec![named("ci")];
        root.people = vec![Person {
            name: "ann".into(),
            keys: vec![PersonKey {
                key: "ssh-ed25519 AAAA ann".into(),
                valid_after: None,
                valid_before: None,
            }],
            paths: vec!["clusters/".into()],
            forge: false,
        }];
        root.witnesses = Some(WitnessTrust {
            policy: format!(
                "witness w1 {}\nquorum w1\n",
                Vkey::new("witness.example/w1", KeyKind::Cosignature, public("w1")).unwrap()
            ),
        });
        change(&mut root);
        let document = root.sign(&[&key("root")]).unwrap();
        self.roots.push(document.bytes().to_vec());
    }

    pub fn vkey(&self) -> Vkey {
        Vkey::new(ORIGIN, KeyKind::Ed25519, public("log")).unwrap()
    }

    pub fn cluster(&mut self, name: &str) -> &mut Cluster {
        self.clusters.entry(name.to_owned()).or_default()
    }

    /// Appends a statement, signed by the keys of these names.
    pub fn say(&mut self, statement: &Statement, signers: &[&str]) -> u64 {
        let keys: Vec<FileKey> = signers.iter().map(|name| key(name)).collect();
        let signs: Vec<&dyn countersign_ledger::key::Sign> = keys
            .iter()
            .map(|key| key as &dyn countersign_ledger::key::Sign)
            .collect();
        let envelope = dsse::sign(PAYLOAD_TYPE, &statement.payload().unwrap(), &signs).unwrap();
        self.append(envelope.bytes().to_vec())
    }

    /// Appends any bytes.
    pub fn append(&mut self, bytes: Vec<u8>) -> u64 {
        self.tree.append(leaf_hash(&bytes)).unwrap();
        self.entries.push(bytes);
        self.entries.len() as u64 - 1
    }

    pub fn last(&self) -> Digest {
        Digest::of(self.entries.last().unwrap())
    }

    /// A log in which all holds and every kind of statement stands: the three states of eks-a are sealed, answered, and
    /// the object `cart` goes from image one to two to three.
    pub fn complete(level: Level) -> Self {
        let mut fixture = Self::new(level);
        fixture.trust(1);
        for name in ["eks-a", "metal-b"] {
            fixture.enrol(name, &format!("receipt-{name}"), 1);
        }
        for round in 1..=3_u64 {
            fixture.source();
            for name in ["eks-a", "metal-b"] {
                let cart = deployment("cart", &format!("registry.example/cart:{round}"));
                fixture.desired(
                    name,
                    &[("cart", &cart), ("config", "{\"kind\":\"ConfigMap\"}")],
                );
                fixture.reproduction(name, true);
            }
            for name in ["eks-a", "metal-b"] {
                fixture.receipt(name, ReceiptKind::Sync);
            }
            fixture.drift("eks-a", "cart", true);
        }
        fixture.infrastructure();
        fixture.receipt("metal-b", ReceiptKind::Heartbeat);
        fixture
    }

    /// The signed and cosigned checkpoint.
    pub fn checkpoint(&self) -> Vec<u8> {
        self.checkpoint_by(&["w1"])
    }

    pub fn checkpoint_by(&self, witnesses: &[&str]) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: ORIGIN.into(),
            size: self.tree.size(),
            root: self.tree.root(),
        };
        let text = checkpoint.text();
        let mut note = Note::new(&text).unwrap();
        note.sign(ORIGIN, &key("log")).unwrap();
        for name in witnesses {
            let name_in_key = format!("witness.example/{name}");
            let time = (self.now + MINUTE) / 1_000;
            note.add(cosignature::sign(&name_in_key, &key(name), time, &text).unwrap());
        }
        note.bytes()
    }

    /// Writes all files.
    pub fn write(&self, folder: &Path) {
        let put = |path: &str, bytes: &[u8]| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let size = self.entries.len() as u64;
        for id in bundles_for(0, size) {
            let from = id.index as usize * 256;
            let entries = self.entries[from..from + usize::from(id.width)].iter();
            put(
                &id.path(),
                &bundle::encode(entries.map(Vec::as_slice)).unwrap(),
            );
        }
        let mut tree = Tree::new();
        for entry in &self.entries {
            for made in tree.append(leaf_hash(entry)).unwrap() {
                put(&made.tile.path(), &made.bytes);
            }
        }
        for made in tree.partial() {
            put(&made.tile.path(), &made.bytes);
        }
        for (digest, bytes) in &self.blobs {
            let hex = digest.to_string();
            put(&format!("blobs/{}/{hex}", &hex[..2]), bytes);
        }
        for (at, root) in self.roots.iter().enumerate() {
            put(&format!("trust/{}.json", at + 1), root);
        }
        put("checkpoint", &self.checkpoint());
    }
}

pub fn object(name: &str) -> ObjectId {
    ObjectId {
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

pub fn deployment(name: &str, image: &str) -> String {
    format!(
        "{{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"shop\"}},\
         \"spec\":{{\"template\":{{\"spec\":{{\"containers\":[{{\"image\":\"{image}\",\"name\":\"main\"}}]}}}}}}}}"
    )
}
