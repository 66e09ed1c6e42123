//! The real hub as its chart starts it: the pod's arguments and mounted files, read-only where the pod's are, with the
//! repository, the object store and the webhooks that the values name.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use countersign_tests::{
    cli::Trust,
    git::{Bare, GitRepo, GitServer},
    port,
    process::{Process, Spec},
    program,
    s3::S3,
    tool::Tool,
    until, workspace,
};
use futures::TryStreamExt as _;
use object_store::ObjectStore as _;

use super::process::arguments;
use crate::{
    fixture::{CLUSTER, config_map},
    renderer,
};

const LIMIT: Duration = Duration::from_secs(120);
/// Where the hub keeps what it writes, and what is mounted beside it.
const DATA: &str = "/var/lib/countersign";

/// What stands in the pod's volumes.
pub(super) struct Volumes {
    folder: tempfile::TempDir,
}

impl Volumes {
    pub(super) fn new(trust: &Trust) -> Self {
        let volumes = Self {
            // Short: the operators' socket is a path of at most 108 bytes.
            folder: tempfile::Builder::new().prefix("cs-").tempdir().unwrap(),
        };
        for name in ["data", "tmp"] {
            std::fs::create_dir(volumes.path(name)).unwrap();
        }
        volumes.file("trust/trust.json", std::fs::read(trust.document()).unwrap());
        for entry in std::fs::read_dir(trust.hub_keys()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            volumes.file(&format!("keys/{name}"), std::fs::read(&path).unwrap());
        }
        volumes
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file as a pod sees that of a mounted Secret: it can't be written, and it is a link into a folder of its version.
    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let version = folder.join("..2026_01_01");
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join(name), content).unwrap();
        let mode = std::fs::Permissions::from_mode(0o440);
        std::fs::set_permissions(version.join(name), mode).unwrap();
        let data = folder.join("..data");
        if !data.exists() {
            symlink("..2026_01_01", &data).unwrap();
        }
        symlink(Path::new("..data").join(name), path).unwrap();
    }

    fn place(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

pub(super) struct Run {
    pub(super) hub: Process,
    address: std::net::SocketAddr,
    operators: std::net::SocketAddr,
    data: PathBuf,
}

/// Starts the hub with the arguments of one of the chart's cases.
async fn run(
    case: &str,
    volumes: &Volumes,
    mounts: &[(&str, &str)],
    instead: &[(&str, String)],
    more: &[String],
) -> Run {
    run_in(case, volumes, mounts, instead, more, &[]).await
}

/// [`run`], with the pod's variables, some of them replaced.
pub(super) async fn run_in(
    case: &str,
    volumes: &Volumes,
    mounts: &[(&str, &str)],
    instead: &[(&str, String)],
    more: &[String],
    env: &[(&str, String)],
) -> Run {
    let objects = renderer::chart(&renderer::workers().await, "countersign-hub", case).await;
    let (address, operators) = (port::free().unwrap(), port::free().unwrap());
    let tool = tokio::task::spawn_blocking(|| Tool::Renderer.path());
    let tool = tool.await.unwrap().unwrap();
    let mut all = vec![
        ("listen", address.to_string()),
        ("operator-listen", operators.to_string()),
        ("renderer", tool.to_str().unwrap().to_owned()),
    ];
    all.extend(instead.iter().cloned());
    let places: Vec<(&str, String)> = [(DATA, "data"), ("/tmp", "tmp")]
        .iter()
        .chain(&[
            ("/etc/countersign/trust", "trust"),
            ("/etc/countersign/keys", "keys"),
        ])
        .chain(mounts)
        .map(|(mount, name)| (*mount, volumes.place(name)))
        .collect();
    let args = arguments(&objects, &places, &all);
    let variables = variables(&objects, &places, env);
    let mut spec = Spec::new(
        "hub",
        program::path("countersign-hub").unwrap(),
        volumes.folder.path(),
    )
    .args(args)
    .args(more)
    .env("TMPDIR", volumes.path("tmp"));
    for (name, value) in variables {
        spec = spec.env(name, value);
    }
    let mut hub = spec.start().unwrap();
    for address in [address, operators] {
        hub.listening(address, LIMIT).await.unwrap();
    }
    Run {
        hub,
        address,
        operators,
        data: volumes.path("data"),
    }
}

/// The pod's variables, with its mounts put where this machine has them.
fn variables(
    objects: &[serde_json::Value],
    places: &[(&str, String)],
    instead: &[(&str, String)],
) -> Vec<(String, String)> {
    let deployment = objects.iter().find(|o| o["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().into_iter().flatten();
    let placed = |name: &str, value: &str| {
        if let Some((_, value)) = instead.iter().find(|(known, _)| *known == name) {
            return value.clone();
        }
        let place = places.iter().find(|(mount, _)| value.starts_with(mount));
        place.map_or_else(|| value.to_owned(), |(mount, at)| value.replace(mount, at))
    };
    variables
        .map(|variable| {
            let text = |field: &str| variable[field].as_str().unwrap();
            let (name, value) = (text("name"), text("value"));
            (name.to_owned(), placed(name, value))
        })
        .collect()
}

impl Run {
    /// A request as a probe of the pod makes it, its certificate verified by the fleet's own authority.
    async fn probe(&self, trust: &Trust, path: &str) -> u16 {
        let authority = std::fs::read(trust.hub_keys().join("hub-ca.crt")).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .build()
            .unwrap();
        let url = format!("https://127.0.0.1:{}{path}", self.address.port());
        client.get(url).send().await.unwrap().status().as_u16()
    }

    pub(super) async fn sees(&self, commit: &str) {
        let token = std::fs::read_to_string(self.data.join("operator.token")).unwrap();
        let client = reqwest::Client::new();
        until(&format!("the hub has sealed {commit}"), LIMIT, async || {
            let url = format!("http://{}/api/v1/fleet", self.operators);
            let answer = client.get(url).bearer_auth(token.trim()).send().await?;
            let fleet: countersign_fleet::api::Fleet =
                serde_json::from_slice(&answer.bytes().await?)?;
            anyhow::ensure!(
                fleet
                    .source
                    .commit
                    .as_ref()
                    .is_some_and(|seen| seen.id == commit)
                    && fleet.source.processed.is_some()
                    && fleet.clusters.iter().any(|one| one.generation_sealed > 0),
                "{:?}\n{}",
                fleet.source,
                self.hub.log()
            );
            Ok(())
        })
        .await;
    }
}

pub(super) fn fleet(name: &str) -> (GitRepo, Bare, String) {
    let repo = GitRepo::new().unwrap();
    let own = config_map("own", "v", "1");
    let commit = repo
        .commit_files(&[CLUSTER, ("clusters/one/own.yaml", &own)], "the fleet")
        .unwrap();
    let bare = GitRepo::bare(name).unwrap();
    repo.push(&bare).unwrap();
    (repo, bare, commit)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_works_with_the_least_that_its_chart_s_values_can_say() {
    let (_repo, bare, commit) = fleet("fleet");
    let trust = Trust::init("test", &["one=test"]).unwrap();
    let volumes = Volumes::new(&trust);
    let repo = bare.path().to_str().unwrap().to_owned();
    let run = run("minimal", &volumes, &[], &[("repo", repo)], &[]).await;
    run.sees(&commit).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(run.probe(&trust, path).await, 200, "{path}");
    }
    assert_eq!(run.probe(&trust, "/webhooks/github").await, 404);
    let written: Vec<String> = folder(&volumes.path("data"));
    assert!(written.contains(&"store".to_owned()), "{written:?}");
}

fn folder(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_works_with_all_that_its_chart_s_values_can_say() {
    let (repo, bare, first) = fleet("shop/fleet");
    let server = GitServer::start_with_token(bare.root(), "open sesame").unwrap();
    let s3 = S3::start("countersign").await.unwrap();
    let trust = Trust::init("test", &["one=test"]).unwrap();
    let volumes = Volumes::new(&trust);
    volumes.file("git/token", "open sesame\n");
    let authority = std::fs::read(trust.hub_keys().join("hub-ca.crt")).unwrap();
    volumes.file("git/ca.crt", authority);
    let identity = workspace::root().join("fleet/src/sops/cases/identity.txt");
    volumes.file("age/identity", std::fs::read(identity).unwrap());
    volumes.file("webhooks/github", "it is me");
    volumes.file("webhooks/gitea", "and me");
    let key = |name: &str| {
        let env = s3.env();
        let found = env.iter().find(|(variable, _)| *variable == name);
        found.unwrap().1.clone()
    };
    volumes.file(
        "store/credentials",
        format!(
            "{}\n{}\n",
            key("AWS_ACCESS_KEY_ID"),
            key("AWS_SECRET_ACCESS_KEY")
        ),
    );
    let run = run(
        "full",
        &volumes,
        &[
            ("/etc/countersign/git", "git"),
            ("/etc/countersign/age", "age"),
            ("/etc/countersign/webhooks", "webhooks"),
            ("/etc/countersign/store", "store"),
        ],
        &[
            ("repo", server.url("shop/fleet")),
            ("ref", "main".to_owned()),
            ("store-region", key("AWS_REGION")),
        ],
        &[format!("--store-endpoint={}", s3.endpoint())],
    )
    .await;
    run.sees(&first).await;
    let sealed: Vec<_> = s3
        .store()
        .unwrap()
        .list(Some(&"store/claims".into()))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        sealed.len(),
        2,
        "the trust root and what is sealed are in the bucket"
    );
    assert!(!folder(&volumes.path("data")).contains(&"store".to_owned()));
    // It polls every five minutes: only the forge's webhook can have woken it.
    let second = repo
        .commit_files(
            &[("clusters/one/own.yaml", &config_map("own", "v", "2"))],
            "two",
        )
        .unwrap();
    repo.push(&bare).unwrap();
    let body = serde_json::json!({
        "ref": "refs/heads/main",
        "after": second,
        "repository": {"full_name": "shop/fleet"},
    })
    .to_string();
    let url = format!("https://{}", run.address);
    assert_eq!(
        crate::sources::post_to(&url, crate::sources::Forge::Github, &body, "it is me", "1").await,
        202
    );
    run.sees(&second).await;
}
