//! A hub in this process, with real renderer processes, on a repository and a data folder of the test. What it sealed is
//! read back from its store's files, as an outsider would.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use countersign_fleet::render::Launcher;
use countersign_hub::config::{Config, Options};
use countersign_hub::hub::{HubError, run_with};
use countersign_hub::pipeline::stage::Stage;
use countersign_hub::pipeline::workers;
use countersign_ledger::Digest;
use countersign_ledger::bundle;
use countersign_ledger::claim::Claim;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::manifest::{Line, Section, SectionList};
use countersign_ledger::statement::{Desired, Source, Statement};
use countersign_ledger::trust::init::FirstRoot;
use countersign_ledger::trust::{ClusterTrust, Level};
use tokio_util::sync::CancellationToken;

/// The renderer, built once.
pub fn renderer() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("countersign-renderer");
        let status = Command::new("go")
            .args(["build", "-ldflags=-s -w", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("renderer"))
            .envs([("CGO_ENABLED", "0"), ("GOFLAGS", "-trimpath")])
            .status();
        assert!(
            status
                .expect("go is needed to build the renderer")
                .success()
        );
        program
    };
    BUILT.get_or_init(build).clone()
}

/// A data folder with trust root and keys.
pub struct World {
    folder: tempfile::TempDir,
    repo: PathBuf,
}

pub struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), HubError>>,
    agents: String,
    operators: String,
    token: PathBuf,
}

impl World {
    /// `clusters`: name and environment.
    pub fn new(repo: &Path, clusters: &[(&str, &str)]) -> Self {
        super::crypto();
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::DigitalSignature,
        ];
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let ca = params.self_signed(&key).unwrap();
        let trust = |environment: &str| ClusterTrust {
            environment: environment.to_owned(),
            level: Level::Signed,
        };
        let root = FirstRoot {
            fleet: "acme".into(),
            issued: "2026-11-25T00:00:00Z".into(),
            owner: "test".into(),
            hub_ca: Digest::of(ca.der()),
            clusters: clusters
                .iter()
                .map(|(name, environment)| ((*name).to_owned(), trust(environment)))
                .collect(),
        };
        let made = root.make(&ring::rand::SystemRandom::new()).unwrap();
        std::fs::write(folder.path().join("trust.json"), made.trust.bytes()).unwrap();
        write(&keys.join("hub-ca.crt"), &ca.pem());
        write(&keys.join("hub-ca.key"), &key.serialize_pem());
        write(&keys.join("log.key"), made.log_key.as_ref().unwrap());
        write(
            &keys.join("agent-ca.key"),
            made.agent_ca_key.as_ref().unwrap(),
        );
        for (environment, key) in &made.sealer_keys {
            write(&keys.join(format!("sealer-{environment}.key")), key);
        }
        Self {
            folder,
            repo: repo.to_owned(),
        }
    }

    pub async fn start(&self) -> Running {
        self.start_with(async |config, launcher| workers::start(config, launcher).await.unwrap())
            .await
    }

    /// [`World::start`] with another stage for rendering.
    pub async fn start_with(
        &self,
        stage: impl AsyncFnOnce(&Config, Launcher) -> Arc<dyn Stage>,
    ) -> Running {
        let (agents, operators) = (free_address(), free_address());
        let options = Options {
            repo: Some(self.repo.display().to_string()),
            data: Some(self.folder.path().to_owned()),
            listen: Some(agents.clone()),
            operator_listen: Some(operators.clone()),
            renderer: Some(renderer()),
            poll_seconds: Some(3600),
            shutdown_seconds: Some(5),
            ..Options::default()
        };
        let config = Config::new(options, Path::new("/"), Path::new("/")).unwrap();
        let launcher = Launcher::Sandbox {
            program: env!("CARGO_BIN_EXE_countersign-hub").into(),
            arguments: vec!["sandbox".into()],
        };
        let stage = stage(&config, launcher).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(run_with(config, stage, stop.clone()));
        Running {
            stop,
            task,
            agents,
            operators,
            token: self.folder.path().join("operator.token"),
        }
    }

    /// Renders that a next start finds.
    pub fn renders_kept(&self) -> u64 {
        let path = self.folder.path().join("renders.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
        let count = connection.query_row("SELECT count(*) FROM render", [], |row| {
            row.get::<_, i64>(0)
        });
        u64::try_from(count.unwrap()).unwrap()
    }

    fn store(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("store").join(path)).unwrap()
    }

    fn blob(&self, digest: &Digest) -> Vec<u8> {
        let name = digest.to_string();
        let bytes = self.store(&format!("blobs/{}/{name}", &name[..2]));
        assert_eq!(Digest::of(&bytes), *digest);
        bytes
    }

    /// All entries, in the order of their claims.
    pub fn entries(&self) -> Vec<Statement> {
        let mut entries = Vec::new();
        for number in 0.. {
            if !self
                .folder
                .path()
                .join("store")
                .join(Claim::path(number))
                .exists()
            {
                return entries;
            }
            let claim = Claim::parse(&self.store(&Claim::path(number))).unwrap();
            for envelope in
                bundle::decode(&self.store(&format!("staging/{}", claim.staging))).unwrap()
            {
                let envelope = Envelope::parse(envelope, &Limits::entry()).unwrap();
                entries.push(Statement::parse(envelope.payload()).unwrap());
            }
        }
        entries
    }

    pub fn sources(&self) -> Vec<Source> {
        self.entries()
            .into_iter()
            .filter_map(|entry| {
                if let Statement::Source(source) = entry {
                    Some(source)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The heads of a cluster, by generation.
    pub fn desired(&self, cluster: &str) -> Vec<Desired> {
        let of = |entry| {
            if let Statement::Desired(desired) = entry {
                Some(desired)
            } else {
                None
            }
        };
        self.entries()
            .into_iter()
            .filter_map(of)
            .filter(|desired| desired.cluster == cluster)
            .collect()
    }

    /// Lines of the newest head: `name app`, `-name app`, `?name app`, with the first bytes of the commit left out.
    pub fn lines(&self, cluster: &str) -> Vec<String> {
        let Some(head) = self.desired(cluster).pop() else {
            return Vec::new();
        };
        let list = SectionList::parse(&self.blob(&head.manifest)).unwrap();
        let sections = list
            .sections
            .iter()
            .map(|named| Section::parse(&named.prefix, &self.blob(&named.digest)).unwrap());
        let mut lines: Vec<String> = sections
            .flat_map(Section::into_lines)
            .map(|line| match line {
                Line::Object(line) => {
                    if line.id.kind != "Secret" {
                        self.blob(line.content.blob());
                    }
                    format!("{} {}", line.id.name, line.app)
                }
                Line::Tombstone(line) => format!("-{} {}", line.id.name, line.app),
                Line::Orphan(line) => format!("?{} {}", line.id.name, line.app),
            })
            .collect();
        lines.sort();
        lines
    }

    /// Objects of the newest head by name, as JSON.
    pub fn objects(&self, cluster: &str) -> BTreeMap<String, serde_json::Value> {
        let Some(head) = self.desired(cluster).pop() else {
            return BTreeMap::new();
        };
        let list = SectionList::parse(&self.blob(&head.manifest)).unwrap();
        let sections = list
            .sections
            .iter()
            .map(|named| Section::parse(&named.prefix, &self.blob(&named.digest)).unwrap());
        let lines = sections.flat_map(Section::into_lines);
        let object = |line| {
            if let Line::Object(line) = line {
                Some((
                    line.id.name.clone(),
                    serde_json::from_slice(&self.blob(line.content.blob())).unwrap(),
                ))
            } else {
                None
            }
        };
        lines.filter_map(object).collect()
    }
}

impl Running {
    /// `GET` of the operators' API.
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let Ok(token) = std::fs::read_to_string(&self.token) else {
            return serde_json::Value::Null;
        };
        let request = reqwest::Client::new()
            .get(format!("http://{}{path}", self.operators))
            .bearer_auth(token.trim());
        match request.send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => serde_json::Value::Null,
        }
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> u16 {
        let token = std::fs::read_to_string(&self.token).unwrap();
        let request = reqwest::Client::new()
            .post(format!("http://{}{path}", self.operators))
            .bearer_auth(token.trim())
            .json(body);
        request.send().await.unwrap().status().as_u16()
    }

    /// What the hub tells Prometheus.
    pub async fn metrics(&self) -> String {
        let client = reqwest::Client::builder()
            .danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let request = client.get(format!("https://{}/metrics", self.agents));
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Waits until a commit went through all stages.
    pub async fn until_processed(&self, commit: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let source = self.get("/api/v1/fleet").await["source"].take();
            if source["commit"]["id"] == commit && source["state"] == "UpToDate" {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{commit} never went through: {source:#}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Waits until the fleet's status, as JSON text, holds a text.
    pub async fn until_fleet_says(&self, text: &str) -> serde_json::Value {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let fleet = self.get("/api/v1/fleet").await;
            if fleet.to_string().contains(text) {
                return fleet;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "never said {text}: {fleet:#}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}
