//! Hours of a fleet, as its log would hold them: each cluster's heartbeat, commits that change a tenth of the fleet, drifts.
//!
//! Every statement is whole, signed by the key that the trust root or an enrolment gives it, and leads to those before it:
//! an auditor finds nothing wrong.

use countersign_ledger::Digest;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::dsse::{self, PAYLOAD_TYPE};
use countersign_ledger::identity::ObjectId;
use countersign_ledger::key::{FileKey, Sign};
use countersign_ledger::manifest::{AppEntry, Content, Line, Manifest, ObjectLine};
use countersign_ledger::nonce::Nonce;
use countersign_ledger::statement::drift::DriftKind;
use countersign_ledger::statement::enrolment::Method;
use countersign_ledger::statement::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use countersign_ledger::statement::{
    Admission, Desired, Drift, Enrolment, Receipt, Source, Statement, TrustEntry, Verdict,
};
use countersign_ledger::time::Time;
use countersign_ledger::trust::{
    ClusterTrust, Level, LogTrust, NamedKey, RoleKey, RootRole, TrustRoot,
};

use super::stand::{FLEET, vkey};

/// Milliseconds of an hour.
pub(super) const HOUR: u64 = 3_600_000;
/// One commit in so many hours, one drift of each cluster in so many.
const COMMIT_EVERY: u64 = 1;
const DRIFT_EVERY: u64 = 24;
const OBJECT: &[u8] = b"{\"kind\":\"ConfigMap\"}";
const ENVIRONMENT: &str = "prod";

struct Cluster {
    name: String,
    key: FileKey,
    generation: u64,
    head: Option<Digest>,
    seq: u64,
    newest: Option<Digest>,
}

/// A fleet, and what it has said so far.
pub(super) struct History {
    clusters: Vec<Cluster>,
    sealer: FileKey,
    authority: FileKey,
    root: Vec<u8>,
    manifest: Manifest,
    commits: u64,
    now: u64,
    seen: SeenCheckpoint,
}

impl History {
    /// A fleet of so many clusters, whose log begins at `start`, milliseconds since 1970.
    pub(super) fn new(clusters: usize, start: u64) -> anyhow::Result<Self> {
        let clusters = (0..clusters)
            .map(|number| {
                let name = format!("cluster-{number:03}");
                Ok(Cluster {
                    key: key(&name)?,
                    name,
                    generation: 0,
                    head: None,
                    seq: 0,
                    newest: None,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (sealer, authority) = (key("sealer")?, key("authority")?);
        Ok(Self {
            root: root(&clusters, &sealer, &authority)?,
            clusters,
            sealer,
            authority,
            manifest: manifest()?,
            commits: 0,
            now: start,
            seen: SeenCheckpoint {
                size: 0,
                root: countersign_ledger::tlog::merkle::EMPTY_ROOT,
                time: None,
            },
        })
    }

    /// The trust root's document.
    pub(super) fn root(&self) -> &[u8] {
        &self.root
    }

    /// Blobs that the statements name.
    pub(super) fn blobs(&self) -> Vec<&[u8]> {
        let manifest = &self.manifest;
        let sections = manifest.sections().iter().map(|section| section.bytes());
        [manifest.list_bytes(), manifest.apps_bytes(), OBJECT]
            .into_iter()
            .chain(sections)
            .collect()
    }

    /// The log's first entries: the trust root takes effect, clusters enrol.
    pub(super) fn begin(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let trust = Statement::TrustEntry(TrustEntry {
            root: Digest::of(&self.root),
            fleet: FLEET.into(),
            version: 1,
            previous: None,
        });
        let mut entries = vec![sign(&trust, &[&self.authority])?];
        for cluster in &self.clusters {
            let enrolment = Statement::Enrolment(Enrolment {
                fleet: FLEET.into(),
                cluster: cluster.name.clone(),
                uid: format!("uid-{}", cluster.name),
                ca_fingerprint: Digest::of(cluster.name.as_bytes()),
                receipt_key: cluster.key.public(),
                recipient: "age1qqqq".into(),
                method: Method::Token,
                number: 1,
            });
            entries.push(sign(&enrolment, &[&self.authority, &cluster.key])?);
        }
        Ok(entries)
    }

    /// Agents verified a checkpoint of so many entries.
    pub(super) fn saw(&mut self, size: u64, root: Digest) {
        self.seen = SeenCheckpoint {
            size,
            root,
            time: None,
        };
    }

    /// What the hub seals at the beginning of an hour: a commit, and a state for a tenth of the clusters.
    pub(super) fn commit(&mut self, hour: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        if !hour.is_multiple_of(COMMIT_EVERY) {
            return Ok(Vec::new());
        }
        self.commits += 1;
        let source = sign(&Statement::Source(self.source()?), &[&self.sealer])?;
        let named = leaf_hash(&source);
        let commit = commit(self.commits);
        let mut entries = vec![source];
        for at in self.changed(hour) {
            let manifest = self.manifest.digest();
            let Some(cluster) = self.clusters.get_mut(at) else {
                continue;
            };
            cluster.generation += 1;
            let desired = Desired {
                manifest,
                fleet: FLEET.into(),
                cluster: cluster.name.clone(),
                environment: ENVIRONMENT.into(),
                generation: cluster.generation,
                previous: cluster.head,
                commit: commit.clone(),
                source: named,
                renderer: "0.1.0".into(),
                admission: Admission::default(),
                ring: String::new(),
                trust_root: 1,
                permits: Vec::new(),
            };
            let entry = sign(&Statement::Desired(desired), &[&self.sealer])?;
            cluster.head = Some(Digest::of(&entry));
            entries.push(entry);
        }
        Ok(entries)
    }

    /// What clusters say in an hour: those that were told a state, that they applied it; all, that they live; some, of drift.
    pub(super) fn answers(&mut self, hour: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        let changed = self.changed(hour);
        let mut entries = Vec::new();
        for at in 0..self.clusters.len() {
            if hour.is_multiple_of(COMMIT_EVERY) && changed.contains(&at) {
                entries.push(self.receipt(at, ReceiptKind::Sync)?);
            }
            entries.push(self.receipt(at, ReceiptKind::Heartbeat)?);
            if (hour + at as u64).is_multiple_of(DRIFT_EVERY) && self.clusters[at].head.is_some() {
                entries.push(self.drift(at)?);
            }
        }
        self.now += HOUR;
        Ok(entries)
    }

    fn changed(&self, hour: u64) -> std::ops::Range<usize> {
        let tenth = self.clusters.len().div_ceil(10);
        let parts = self.clusters.len() / tenth;
        let from = usize::try_from(hour).unwrap_or_default() % parts * tenth;
        from..from + tenth
    }

    fn source(&self) -> anyhow::Result<Source> {
        Ok(Source {
            fleet: FLEET.into(),
            repository: "ssh://git.example/fleet".into(),
            reference: "refs/heads/main".into(),
            old: if self.commits == 1 {
                String::new()
            } else {
                commit(self.commits - 1)
            },
            new: commit(self.commits),
            tree: commit(self.commits + (1 << 32)),
            commit_sha256: Digest::of(&self.commits.to_be_bytes()),
            author: "Ann Author <ann@example.com>".into(),
            signer: String::new(),
            verdict: Verdict::Unsigned,
        })
    }

    fn receipt(&mut self, at: usize, kind: ReceiptKind) -> anyhow::Result<Vec<u8>> {
        let manifest = self.manifest.digest();
        let cluster = &mut self.clusters[at];
        cluster.seq += 1;
        let receipt = Receipt {
            desired: cluster.head,
            fleet: FLEET.into(),
            cluster: cluster.name.clone(),
            seq: cluster.seq,
            previous: cluster.newest,
            kind,
            generation: cluster.generation,
            manifest: cluster.head.map(|_| manifest),
            checkpoint: self.seen,
            apps: AppCounts {
                applied: 1,
                ..AppCounts::default()
            },
            results: None,
            health: Health::Healthy,
            started: Time::from_ms(self.now)?,
            ended: Time::from_ms(self.now + 250)?,
            agent: "0.1.0".into(),
            nonce: nonce(&cluster.name, self.now),
            attack: None,
            trust_root: 1,
            dropped: 0,
            break_glass: None,
        };
        let entry = sign(&Statement::Receipt(receipt), &[&cluster.key])?;
        cluster.newest = Some(Digest::of(&entry));
        Ok(entry)
    }

    fn drift(&mut self, at: usize) -> anyhow::Result<Vec<u8>> {
        let manifest = self.manifest.digest();
        let time = Time::from_ms(self.now)?;
        let cluster = &mut self.clusters[at];
        cluster.seq += 1;
        let drift = Drift {
            manifest,
            fleet: FLEET.into(),
            cluster: cluster.name.clone(),
            seq: cluster.seq,
            previous: cluster.newest,
            generation: cluster.generation,
            app: "cart".into(),
            object: object(),
            what: DriftKind::Changed,
            managers: vec!["kubectl-edit".into()],
            paths: vec![".data.level".into()],
            healed: true,
            healed_after_ms: 12,
            count: 1,
            first: time,
            last: time,
            samples: None,
            nonce: nonce(&cluster.name, self.now),
        };
        let entry = sign(&Statement::Drift(drift), &[&cluster.key])?;
        cluster.newest = Some(Digest::of(&entry));
        Ok(entry)
    }
}

fn key(name: &str) -> anyhow::Result<FileKey> {
    FileKey::from_seed(Digest::of(name.as_bytes()).as_bytes())
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// What the hub gives a cluster at that time.
fn nonce(cluster: &str, ms: u64) -> String {
    let code = Digest::of(cluster.as_bytes());
    let mut its = [0; 8];
    its.iter_mut()
        .zip(code.as_bytes())
        .for_each(|(to, from)| *to = *from);
    Nonce::new(ms, 0, |_| its).to_string()
}

fn commit(number: u64) -> String {
    format!("{number:040x}")
}

fn object() -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "shop".into(),
        name: "cart".into(),
    }
}

fn manifest() -> anyhow::Result<Manifest> {
    let line = Line::Object(ObjectLine {
        id: object(),
        app: "cart".into(),
        commit: commit(1),
        wave: 0,
        bytes: OBJECT.len() as u64,
        content: Content::Plain {
            sha256: Digest::of(OBJECT),
        },
    });
    let app = AppEntry {
        name: "cart".into(),
        commit: commit(1),
        depends_on: Vec::new(),
        exclusive: false,
        health_rules: Vec::new(),
    };
    Ok(Manifest::build(vec![line], vec![app])?)
}

fn root(clusters: &[Cluster], sealer: &FileKey, authority: &FileKey) -> anyhow::Result<Vec<u8>> {
    let offline = key("root")?;
    let role = RootRole {
        keys: vec![NamedKey {
            key: offline.public(),
            name: "root".into(),
        }],
        threshold: 1,
    };
    let mut root = TrustRoot::new(FLEET, "2025-01-01T00:00:00Z", role, Digest::of(b"ca"));
    let sealers = vec![RoleKey {
        key: sealer.public(),
    }];
    root.sealers.insert(ENVIRONMENT.into(), sealers);
    for cluster in clusters {
        let trust = ClusterTrust {
            environment: ENVIRONMENT.into(),
            level: Level::Signed,
        };
        root.clusters.insert(cluster.name.clone(), trust);
    }
    root.log = Some(LogTrust {
        vkey: vkey()?.to_string(),
        url: None,
    });
    root.agent_cas = vec![RoleKey {
        key: authority.public(),
    }];
    Ok(root.sign(&[&offline])?.bytes().to_vec())
}

fn sign(statement: &Statement, keys: &[&FileKey]) -> anyhow::Result<Vec<u8>> {
    let keys: Vec<&dyn Sign> = keys.iter().map(|key| *key as &dyn Sign).collect();
    let envelope = dsse::sign(PAYLOAD_TYPE, &statement.payload()?, &keys)?;
    Ok(envelope.bytes().to_vec())
}
