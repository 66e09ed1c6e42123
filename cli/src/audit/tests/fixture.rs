//! A complete log for tests: signed by keys that follow from their names, with every kind of statement, as static files.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::key::{FileKey, PublicKey, Sign as _};
use countersign_ledger::manifest::{AppEntry, Content, Line, Manifest, ObjectLine};
use countersign_ledger::statement::drift::DriftKind;
use countersign_ledger::statement::enrolment::Method;
use countersign_ledger::statement::infrastructure::{AddressCounts, Phase};
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use countersign_ledger::statement::*;
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

    /// The trust root of a version takes effect.
    pub fn trust(&mut self, version: u64) -> u64 {
        let document = |version: u64| Digest::of(&self.roots[version as usize - 1]);
        let entry = TrustEntry {
            root: document(version),
            fleet: FLEET.into(),
            version,
            previous: (version > 1).then(|| document(version - 1)),
        };
        self.say(&Statement::TrustEntry(entry), &["ca"])
    }

    pub fn enrol(&mut self, cluster: &str, key_name: &str, number: u64) -> u64 {
        let enrolment = Enrolment {
            fleet: FLEET.into(),
            cluster: cluster.into(),
            uid: format!("uid-{cluster}"),
            ca_fingerprint: Digest::of(cluster.as_bytes()),
            receipt_key: public(key_name),
            recipient: "age1qqqq".into(),
            method: Method::Token,
            number,
        };
        self.say(&Statement::Enrolment(enrolment), &["ca", key_name])
    }

    pub fn revoke(&mut self, key_name: &str) -> u64 {
        let revocation = Revocation {
            fleet: FLEET.into(),
            cluster: None,
            key: public(key_name),
            reason: "stolen".into(),
            since: time(self.now),
        };
        self.say(&Statement::Revocation(revocation), &["ca"])
    }

    /// The ref moves to the next commit, which ann signed.
    pub fn source(&mut self) -> u64 {
        self.source_with("ann", Verdict::Verified)
    }

    pub fn source_with(&mut self, signer: &str, verdict: Verdict) -> u64 {
        self.commit += 1;
        let source = Source {
            fleet: FLEET.into(),
            repository: "ssh://git.example/fleet".into(),
            reference: "refs/heads/main".into(),
            old: if self.commit == 1 {
                String::new()
            } else {
                commit(self.commit - 1)
            },
            new: commit(self.commit),
            tree: commit(self.commit + 1_000_000),
            commit_sha256: Digest::of(&self.commit.to_be_bytes()),
            author: "Ann Author <ann@example.com>".into(),
            signer: signer.into(),
            verdict,
        };
        let index = self.say(&Statement::Source(source), &["sealer-prod"]);
        self.source = leaf_hash(self.entries.last().unwrap());
        index
    }

    /// The manifest of objects with these contents; kept as blobs.
    pub fn manifest(&mut self, objects: &[(&str, &str)]) -> Digest {
        let lines = objects
            .iter()
            .map(|(name, content)| {
                let bytes = content.as_bytes().to_vec();
                let sha256 = Digest::of(&bytes);
                self.blobs.insert(sha256, bytes);
                Line::Object(ObjectLine {
                    id: object(name),
                    app: "cart".into(),
                    commit: commit(self.commit),
                    wave: 0,
                    bytes: content.len() as u64,
                    content: Content::Plain { sha256 },
                })
            })
            .collect();
        let app = AppEntry {
            name: "cart".into(),
            commit: commit(self.commit),
            depends_on: Vec::new(),
            exclusive: false,
            health_rules: Vec::new(),
        };
        let manifest = Manifest::build(lines, vec![app]).unwrap();
        for bytes in [manifest.list_bytes(), manifest.apps_bytes()] {
            self.blobs.insert(Digest::of(bytes), bytes.to_vec());
        }
        for section in manifest.sections() {
            self.blobs
                .insert(Digest::of(section.bytes()), section.bytes().to_vec());
        }
        manifest.digest()
    }

    pub fn desired_of(&mut self, cluster: &str, manifest: Digest) -> Desired {
        let known = self.cluster(cluster).clone();
        Desired {
            manifest,
            fleet: FLEET.into(),
            cluster: cluster.into(),
            environment: "prod".into(),
            generation: known.generation + 1,
            previous: known.head,
            commit: commit(self.commit),
            source: self.source,
            renderer: "0.1.0".into(),
            admission: Admission::default(),
            ring: String::new(),
            trust_root: 1,
            permits: Vec::new(),
        }
    }

    /// The next state of a cluster.
    pub fn desired(&mut self, cluster: &str, objects: &[(&str, &str)]) -> u64 {
        let manifest = self.manifest(objects);
        let desired = self.desired_of(cluster, manifest);
        self.seal(desired, "sealer-prod")
    }

    pub fn seal(&mut self, desired: Desired, signer: &str) -> u64 {
        let (name, generation, manifest) = (
            desired.cluster.clone(),
            desired.generation,
            desired.manifest,
        );
        let index = self.say(&Statement::Desired(desired), &[signer]);
        let head = self.last();
        let leaf = leaf_hash(self.entries.last().unwrap());
        let known = self.cluster(&name);
        known.generation = generation;
        known.head = Some(head);
        known.manifest = Some(manifest);
        known.leaf = Some(leaf);
        index
    }

    pub fn receipt_of(&mut self, cluster: &str, kind: ReceiptKind) -> Receipt {
        let known = self.cluster(cluster).clone();
        self.now += MINUTE;
        Receipt {
            desired: known.head,
            fleet: FLEET.into(),
            cluster: cluster.into(),
            seq: known.seq + 1,
            previous: known.receipt,
            kind,
            generation: known.generation,
            manifest: known.manifest,
            checkpoint: SeenCheckpoint {
                size: self.tree.size(),
                root: self.tree.root(),
                time: Some(self.now / 1_000),
            },
            apps: AppCounts {
                applied: 1,
                ..AppCounts::default()
            },
            results: None,
            health: Health::Healthy,
            started: time(self.now),
            ended: time(self.now + 1_000),
            agent: "0.1.0".into(),
            nonce: "00ff".into(),
            attack: None,
            trust_root: 1,
            dropped: 0,
            break_glass: None,
        }
    }

    pub fn countersign(&mut self, receipt: Receipt, key_name: &str) -> u64 {
        let (name, seq) = (receipt.cluster.clone(), receipt.seq);
        let index = self.say(&Statement::Receipt(receipt), &[key_name]);
        let digest = self.last();
        let known = self.cluster(&name);
        known.seq = seq;
        known.receipt = Some(digest);
        index
    }

    pub fn receipt(&mut self, cluster: &str, kind: ReceiptKind) -> u64 {
        let receipt = self.receipt_of(cluster, kind);
        self.countersign(receipt, &format!("receipt-{cluster}"))
    }

    pub fn drift(&mut self, cluster: &str, name: &str, healed: bool) -> u64 {
        self.now += MINUTE;
        let known = self.cluster(cluster).clone();
        let drift = Drift {
            manifest: known.manifest.unwrap(),
            fleet: FLEET.into(),
            cluster: cluster.into(),
            seq: known.seq + 1,
            previous: known.receipt,
            generation: known.generation,
            app: "cart".into(),
            object: object(name),
            what: DriftKind::Changed,
            managers: vec!["kubectl-edit".into()],
            paths: vec![".spec.replicas".into()],
            healed,
            healed_after_ms: if healed { 12 } else { 0 },
            count: 1,
            first: time(self.now),
            last: time(self.now),
            samples: None,
            nonce: String::new(),
        };
        let index = self.say(&Statement::Drift(drift), &[&format!("receipt-{cluster}")]);
        let digest = self.last();
        let known = self.cluster(cluster);
        known.seq += 1;
        known.receipt = Some(digest);
        index
    }

    pub fn override_(&mut self, kind: OverrideKind, cluster: &str, what: &str) -> u64 {
        let this = Override {
            fleet: FLEET.into(),
            kind,
            cluster: Some(cluster.into()),
            app: None,
            what: what.into(),
            reason: "night shift".into(),
            by: "olga".into(),
            issued: time(self.now),
            until: time(self.now + 60 * MINUTE),
        };
        self.say(&Statement::Override(this), &["olga"])
    }

    pub fn reproduction(&mut self, cluster: &str, agrees: bool) -> u64 {
        let known = self.cluster(cluster).clone();
        let this = Reproduction {
            fleet: FLEET.into(),
            cluster: cluster.into(),
            generation: known.generation,
            commit: commit(self.commit),
            desired: known.leaf.unwrap(),
            digest: Digest::of(b"render"),
            agrees,
        };
        self.say(&Statement::Reproduction(this), &["rita"])
    }

    pub fn infrastructure(&mut self) -> u64 {
        let this = Infrastructure {
            workspace: "eks".into(),
            plan: Digest::of(b"plan"),
            fleet: FLEET.into(),
            environment: "prod".into(),
            phase: Phase::Apply,
            addresses: AddressCounts::default(),
            resources: Digest::of(b"resources"),
            commit: commit(self.commit.max(1)),
            run: "run 7".into(),
            by: "ci".into(),
        };
        self.say(&Statement::Infrastructure(this), &["ci"])
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
