//! The hub as a process, from outside: where it listens, what it takes, what a flood costs it, and that no credential is
//! ever seen again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_hub::serve::access::{Surface, TABLE};
use countersign_tests::{
    cli::Trust,
    git::{Bare, GitRepo, GitServer},
    hub::{Hub, Options},
    operator::Operator,
    until,
    world::World,
};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    fixture::{CLUSTER, config_map, plain_app},
    sources::{Forge, post, seen},
};

const LIMIT: Duration = Duration::from_secs(60);
/// Requests of the flood; each is a TLS stream's worth of work for an unoptimised hub.
const FLOOD: usize = 4_000;
/// How much a flood may leave behind, bytes.
const FLOOD_BYTES_MAX: u64 = 20 << 20;

/// Children, children's children, and so on.
fn descendants(of: u32) -> BTreeSet<u32> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) {
            let rest = stat.rsplit(')').next().unwrap_or_default();
            if let Some(parent) = rest
                .split_whitespace()
                .nth(1)
                .and_then(|text| text.parse::<u32>().ok())
            {
                parents.insert(pid, parent);
            }
        }
    }
    let mut found = BTreeSet::from([of]);
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            found.remove(&of);
            return found;
        }
        found.extend(more);
    }
}

/// Inodes of the sockets that a process holds open.
fn sockets(pid: u32) -> BTreeSet<String> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let text = link.to_str()?;
            Some(text.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

/// Internet sockets of a process: protocol, local address as the kernel writes it, state.
fn internet(pid: u32) -> Vec<(String, String, String)> {
    let held = sockets(pid);
    let mut found = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let table =
            std::fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if held.contains(fields[9]) {
                found.push((
                    protocol.to_owned(),
                    fields[1].to_owned(),
                    fields[3].to_owned(),
                ));
            }
        }
    }
    found
}

/// Paths of the Unix sockets on which a process accepts connections.
fn unix_listeners(pid: u32) -> BTreeSet<String> {
    let held = sockets(pid);
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "00010000" && held.contains(fields[6]))
        .map(|fields| {
            fields
                .get(7)
                .copied()
                .unwrap_or("without a path")
                .to_owned()
        })
        .collect()
}

fn address(written: &str) -> SocketAddr {
    let (ip, port) = written.split_once(':').unwrap();
    let ip = u32::from_str_radix(ip, 16).unwrap().swap_bytes();
    (Ipv4Addr::from(ip), u16::from_str_radix(port, 16).unwrap()).into()
}

const LISTENING: &str = "0A";

/// THREATS 1.2: repo-server RCE of July 2026.
#[tokio::test(flavor = "multi_thread")]
async fn threat_repo_server_rce_the_hub_listens_where_it_says_and_nowhere_else() {
    let repo = GitRepo::new().unwrap();
    let commit = repo
        .commit_files(
            &[
                CLUSTER,
                ("clusters/a.yaml", &plain_app("a", "apps/a")),
                ("apps/a/a.yaml", &config_map("a", "v", "1")),
            ],
            "the fleet",
        )
        .unwrap();
    let world = World::start(repo, &["one=test"]).await.unwrap();
    seen(&world.operator, &commit).await;
    let pid = world.hub.process.pid();

    let listeners: BTreeSet<SocketAddr> = internet(pid)
        .iter()
        .filter(|(protocol, _, state)| protocol.starts_with("tcp") && state == LISTENING)
        .map(|(_, local, _)| address(local))
        .collect();
    let operators = world.hub.operators_url();
    let operators: SocketAddr = operators.trim_start_matches("http://").parse().unwrap();
    assert_eq!(listeners, BTreeSet::from([world.hub.agents(), operators]));
    assert!(
        internet(pid)
            .iter()
            .all(|(protocol, ..)| protocol.starts_with("tcp"))
    );
    // Bound in a folder of its own, then moved into place, so that the kernel shows where it was made.
    let sockets_of_hub = unix_listeners(pid);
    let data = world.hub.data().to_str().unwrap().to_owned();
    assert!(
        sockets_of_hub.len() == 1 && sockets_of_hub.iter().all(|path| path.starts_with(&data)),
        "{sockets_of_hub:?}"
    );
    assert!(world.hub.operator_socket().exists());

    let workers = descendants(pid);
    assert!(!workers.is_empty(), "something must have rendered");
    for worker in workers {
        assert_eq!(internet(worker), [], "a worker has no way to a network");
        assert_eq!(unix_listeners(worker), BTreeSet::new());
        assert!(
            sockets(worker).len() <= 1,
            "nothing but the pair that it was given"
        );
    }
}

/// THREATS 1.2: CVE-2023-50726.
#[tokio::test(flavor = "multi_thread")]
async fn threat_cve_2023_50726_no_endpoint_takes_manifests_or_unknown_fields() {
    let writing: BTreeSet<&str> = TABLE
        .iter()
        .filter(|row| row.method != "GET")
        .map(|row| row.path)
        .filter(|path| !path.starts_with("/grpc."))
        .collect();
    let known = BTreeSet::from([
        "/webhooks/github",
        "/webhooks/gitlab",
        "/webhooks/gitea",
        "/countersign.agent.v1.Agents/Register",
        "/countersign.agent.v1.Agents/Renew",
        "/countersign.agent.v1.Agents/TrustRoots",
        "/countersign.agent.v1.Agents/Heads",
        "/countersign.agent.v1.Agents/Blobs",
        "/countersign.agent.v1.Agents/Report",
        // A cluster's own signed word, and blobs that it names: nothing of it is ever applied anywhere.
        "/countersign.agent.v1.Agents/Receipts",
        "/countersign.agent.v1.Agents/PutBlobs",
        // A cluster's own key, signed by itself.
        "/countersign.agent.v1.Agents/Enrol",
        // What outsiders signed, by keys of the trust root: read by those whom it concerns, never applied.
        "/log/entries",
        "/log/infrastructure",
        // A trust root, by the threshold's signatures.
        "/log/trust",
        // A question that a second renderer's key signs.
        "/log/salts",
        "/api/v1/clusters/{cluster}/join-token",
        // Where an agent stands that no network reaches, and the file with its own signed words.
        "/api/v1/clusters/{cluster}/parcel",
        "/api/v1/clusters/{cluster}/report",
        "/api/v1/clusters/{cluster}/revoke",
        // A question with nothing in it.
        "/api/v1/clusters/{cluster}/verify",
        "/api/v1/ci-tokens",
        "/api/v1/sync",
        "/api/v1/permits",
    ]);
    assert_eq!(
        writing, known,
        "a new way in: say here why it takes no manifests"
    );

    let repo = GitRepo::new().unwrap();
    repo.commit_files(&[CLUSTER], "the fleet").unwrap();
    let world = World::start(repo, &["one=test"]).await.unwrap();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    for row in TABLE
        .iter()
        .filter(|row| row.surface == Surface::Operators && row.method == "POST")
    {
        let path = row
            .path
            .trim_start_matches("/api/v1/")
            .replace("{cluster}", "one");
        for body in [
            json!({"manifests": [object]}),
            object.clone(),
            json!([object]),
        ] {
            let error = world
                .operator
                .post::<Value>(&path, &body)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(": 400 ") || error.contains(": 422 "),
                "{path} {body}: {error}"
            );
        }
    }
}

struct Followed {
    repo: GitRepo,
    bare: Bare,
    _server: GitServer,
    _trust: Trust,
    _folder: tempfile::TempDir,
    hub: Hub,
    operator: Operator,
}

/// A hub that follows a repository over HTTP with a token, woken by GitHub's webhook alone.
async fn followed(token: &str, secret: &str, more: &[&str]) -> Followed {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let repo = GitRepo::new().unwrap();
    let first = repo.commit_files(&[CLUSTER], "the fleet").unwrap();
    let bare = GitRepo::bare("fleet").unwrap();
    repo.push(&bare).unwrap();
    let server = GitServer::start_with_token(bare.root(), token).unwrap();
    let trust = Trust::init("test", &["one=test"]).unwrap();
    let options = Options::new(server.url("fleet"), &trust)
        .args([
            "--git-token-file".into(),
            file("token", token).into_os_string(),
            "--webhook-github-secret-file".into(),
            file("secret", secret).into_os_string(),
            "--webhook-repository".into(),
            "casino/fleet".into(),
            "--poll-seconds".into(),
            "3600".into(),
        ])
        .args(more.iter().copied());
    let hub = Hub::start(options).await.unwrap();
    let operator = Operator::of(&hub).unwrap();
    seen(&operator, &first).await;
    Followed {
        repo,
        bare,
        _server: server,
        _trust: trust,
        _folder: folder,
        hub,
        operator,
    }
}

impl Followed {
    /// Commits, pushes, and tells the hub as GitHub would.
    async fn push(&self, n: u32, secret: &str) {
        let own = config_map("own", "v", &n.to_string());
        let commit = self
            .repo
            .commit_files(&[("clusters/one/own.yaml", &own)], "a change")
            .unwrap();
        self.repo.push(&self.bare).unwrap();
        let body = json!({"ref": "refs/heads/main", "after": commit, "repository": {"full_name": "casino/fleet"}});
        assert_eq!(
            post(
                &self.hub,
                Forge::Github,
                &body.to_string(),
                secret,
                &format!("push-{n}")
            )
            .await,
            202
        );
        seen(&self.operator, &commit).await;
    }

    /// Resident memory, bytes.
    fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.hub.process.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }
}

/// THREATS 1.1: argo-cd#1142, CVE-2024-40634, CVE-2026-42294.
#[tokio::test(flavor = "multi_thread")]
async fn threat_argo_cd_1142_a_flood_of_webhooks_costs_no_memory_and_hides_no_push() {
    let stand = followed("open sesame", "it is me", &[]).await;
    let client = Arc::new(
        reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap(),
    );
    let url = format!("{}/webhooks/github", stand.hub.agents_url());
    let flood = async |count: usize| {
        let answers = futures::stream::iter(0..count).map(|n| {
            let (client, url) = (Arc::clone(&client), url.clone());
            async move {
                let size = if n % 100 == 0 { 2 << 20 } else { 4 << 10 };
                let answer = client
                    .post(url)
                    .header("X-GitHub-Event", "push")
                    .header("X-GitHub-Delivery", n.to_string())
                    .header("X-Hub-Signature-256", format!("sha256={:064x}", n))
                    .body(vec![b'x'; size])
                    .send()
                    .await;
                answer.map_or(0, |answer| answer.status().as_u16())
            }
        });
        let answers: Vec<u16> = answers.buffer_unordered(64).collect().await;
        // A connection that is closed over a body that is too large may be seen as an error.
        let odd: BTreeSet<u16> = answers
            .iter()
            .copied()
            .filter(|code| ![0, 401, 413].contains(code))
            .collect();
        assert_eq!(odd, BTreeSet::new());
        assert!(answers.iter().filter(|code| **code == 401).count() > count / 2);
    };
    flood(FLOOD / 8).await;
    let before = stand.resident();
    flood(FLOOD).await;
    let after = stand.resident();
    assert!(
        after < before + FLOOD_BYTES_MAX,
        "{before} bytes before, {after} after"
    );
    tokio::join!(flood(FLOOD / 8), stand.push(2, "it is me"));
}

/// A text in the forms in which it could be seen again.
fn forms(canary: &str) -> Vec<String> {
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![canary.to_owned(), hex.to_uppercase(), hex];
    // Inside a longer text, base64 starts at any of three places.
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(canary.bytes());
        let whole = STANDARD.encode(&bytes);
        forms.push(whole[4..whole.len() - 4].to_owned());
    }
    forms
}

/// THREATS 1.1: CVE-2024-31216, GHSA-6w87-g839-9wv7, CVE-2022-31098, CVE-2022-29810, RUSTSEC-2024-0358.
#[tokio::test(flavor = "multi_thread")]
async fn threat_cve_2024_31216_no_credential_of_a_hub_reaches_its_log_metrics_or_answers() {
    let (token, secret) = ("canary-git-8b1f0c7d55e2", "canary-hook-93ac7e1140bd");
    let stand = followed(token, secret, &["--log", "trace"]).await;
    stand.push(2, secret).await;
    assert_eq!(
        post(&stand.hub, Forge::Github, "{", secret, "odd").await,
        400
    );
    assert_eq!(
        post(&stand.hub, Forge::Github, "{}", "another", "odd").await,
        401
    );
    let join = stand.operator.join_token("one").await.unwrap().token;
    let bearer = std::fs::read_to_string(stand.hub.operator_token())
        .unwrap()
        .trim()
        .to_owned();
    let mut seen = BTreeMap::new();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    for (name, url) in [
        ("metrics", format!("{}/metrics", stand.hub.agents_url())),
        ("readyz", format!("{}/readyz", stand.hub.agents_url())),
        (
            "refused",
            format!("{}/api/v1/fleet?token={bearer}", stand.hub.operators_url()),
        ),
    ] {
        seen.insert(
            name,
            client.get(url).send().await.unwrap().text().await.unwrap(),
        );
    }
    for (name, path) in [
        ("fleet", "fleet"),
        ("cluster", "clusters/one"),
        ("permits", "permits"),
    ] {
        let answer: Value = stand.operator.get(path).await.unwrap();
        seen.insert(name, answer.to_string());
    }
    // The remote vanishes: errors are written, too.
    let Followed {
        hub,
        operator,
        _server: server,
        ..
    } = stand;
    drop(server);
    let _: Result<Value, _> = operator.post("sync", &json!({})).await;
    until("the hub says that its remote is away", LIMIT, async || {
        let fleet = operator.fleet().await?;
        anyhow::ensure!(!fleet.source.code.is_empty(), "{:?}", fleet.source);
        Ok(())
    })
    .await;
    seen.insert(
        "fleet without remote",
        operator.get::<Value>("fleet").await.unwrap().to_string(),
    );
    seen.insert("log", hub.process.log());
    assert!(
        seen["log"].contains("TRACE"),
        "the log must be at its most talkative"
    );
    for canary in [token, secret, &bearer, &join] {
        for form in forms(canary) {
            for (name, text) in &seen {
                assert!(!text.contains(&form), "{name} holds a credential as {form}");
            }
        }
    }
}
