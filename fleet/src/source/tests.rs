//! Sources over the real protocols, from stand-ins of a Helm repository, a registry and its token service on loopback.
use std::collections::BTreeSet;
use std::sync::Arc;

use super::cache::Cache;
use super::credentials::{Access, Credentials};
use super::fetch::{Fetcher, GitRefs, GitSources};
use super::lock::{
    ChartPin, CommitHex, Lock, LockedArtifact, LockedChart, LockedRepository, Sha256,
};
use super::resolve::{Request, Resolved, changes, resolve};
use super::web::{Ask, Authorization, Web as _, WebUrl};
use super::{Http, SourceError};
use crate::load::load;
use crate::tree::{MemoryTree, SharedTree};

#[allow(dead_code, unreachable_pub)]
mod standin;

pub(crate) use standin::chart;
use standin::{Reply, StandIn};

/// Two commits of one repository, without a network.
struct Git;

impl GitSources for Git {
    async fn tree(&self, pin: &LockedRepository) -> Result<SharedTree, SourceError> {
        let tree = MemoryTree::new([(
            "deploy/Chart.yaml",
            format!("name: other\nversion: 1.0.0\n# {}\n", pin.commit.as_str()),
        )]);
        Ok(Arc::new(tree))
    }
}

impl GitRefs for Git {
    async fn commit(&self, _: &str, reference: &str) -> Result<CommitHex, SourceError> {
        let letter = if reference == "main" { "a" } else { "b" };
        Ok(CommitHex::new(&letter.repeat(40)).unwrap())
    }
}

struct Stand {
    server: StandIn,
    folder: tempfile::TempDir,
    credentials: String,
}

impl Stand {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            server: StandIn::start().await,
            folder: tempfile::tempdir().unwrap(),
            credentials: String::new(),
        }
    }

    fn http(&self) -> Http {
        let credentials = Credentials::parse(&self.credentials).unwrap();
        let access = Access {
            credentials,
            roots: None,
        };
        Http::new(&access).unwrap()
    }

    fn fetcher(&self) -> Fetcher<Http, Git> {
        Fetcher::new(self.http(), Git, Cache::new(self.folder.path()))
    }

    fn pin(&self, content: &[u8]) -> LockedChart {
        LockedChart {
            repository: self.server.url("/charts"),
            chart: "redis".into(),
            version: "1.2.3".into(),
            url: self.server.url("/charts/redis-1.2.3.tgz"),
            digest: Sha256::of(content),
            resolved: None,
            dependencies: vec![],
        }
    }

    fn artifact(&self, digest: &str) -> ChartPin {
        ChartPin::Artifact(LockedArtifact {
            url: format!("oci://{}/charts/redis", self.server.authority()),
            version: "1.2.3".into(),
            digest: Sha256::new(digest).unwrap(),
            resolved: None,
            dependencies: vec![],
        })
    }

    async fn get(&self, pin: &ChartPin) -> Result<bytes::Bytes, SourceError> {
        self.fetcher().archive(pin).await
    }

    async fn lock(&self, files: &[(&str, String)], update: &[&str], check: bool) -> Resolved {
        let mut tree = MemoryTree::new([("clusters/one/x.yaml", "kind: X\n")]);
        for (path, content) in files {
            tree = tree.with(*path, content.clone());
        }
        let (fleet, _) = load(&tree).unwrap();
        let tree: SharedTree = Arc::new(tree);
        let update: BTreeSet<String> = update.iter().map(|name| (*name).to_owned()).collect();
        let request = Request {
            tree: &tree,
            fleet: &fleet,
            update: &update,
            check,
        };
        resolve(&self.fetcher(), request).await.unwrap()
    }
}

const REDIS: &[(&str, &str)] = &[("redis/Chart.yaml", "name: redis\nversion: 1.2.3\n")];

fn app(name: &str, source: &str) -> String {
    format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  namespace: x\n  source:\n    {source}\n"
    )
}

fn problems(resolved: &Resolved) -> Vec<String> {
    resolved.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_archive_comes_by_its_digest_once_and_survives_an_outage() {
    let stand = Stand::new().await;
    let archive = chart(REDIS);
    stand.server.helm("redis", "1.2.3", &archive);
    let pin = ChartPin::Chart(stand.pin(&archive));
    assert_eq!(stand.get(&pin).await.unwrap(), archive);
    stand
        .server
        .put("/charts/redis-1.2.3.tgz", "something else");
    assert_eq!(stand.get(&pin).await.unwrap(), archive);
    let seen = stand.server.seen();
    assert_eq!(seen.len(), 1, "no index was asked for: {seen:?}");
}

#[tokio::test]
async fn other_bytes_than_the_locked_ones_are_a_lock_mismatch_and_not_kept() {
    let stand = Stand::new().await;
    stand.server.helm(
        "redis",
        "1.2.3",
        &chart(&[("redis/Chart.yaml", "name: evil\n")]),
    );
    let pin = ChartPin::Chart(stand.pin(&chart(REDIS)));
    let error = stand.get(&pin).await.unwrap_err();
    assert_eq!((error.code(), error.is_fault()), ("LOCK_MISMATCH", false));
    assert_eq!(std::fs::read_dir(stand.folder.path()).unwrap().count(), 0);
    // The registry's manifest and layer likewise.
    let digest = stand.server.oci("charts/redis", "1.2.3", &chart(REDIS));
    let layer = format!("/v2/charts/redis/blobs/{}", Sha256::of(&chart(REDIS)));
    stand.server.put(&layer, "evil");
    assert_eq!(
        stand
            .get(&stand.artifact(&digest))
            .await
            .unwrap_err()
            .code(),
        "LOCK_MISMATCH"
    );
    stand
        .server
        .put(&format!("/v2/charts/redis/manifests/{digest}"), "{}");
    let other = Stand {
        folder: tempfile::tempdir().unwrap(),
        server: stand.server.clone(),
        credentials: String::new(),
    };
    assert_eq!(
        other
            .get(&stand.artifact(&digest))
            .await
            .unwrap_err()
            .code(),
        "LOCK_MISMATCH"
    );
}

#[tokio::test]
async fn another_host_sees_no_credential() {
    let mut stand = Stand::new().await;
    let archive = chart(REDIS);
    let elsewhere = StandIn::start().await;
    elsewhere.put("/stolen.tgz", archive.clone());
    let here = stand.server.authority();
    let there = elsewhere.authority();
    let entry = |more: &str| format!("hosts:\n- {{host: '{here}', user: u, password: p{more}}}\n");
    let pin = ChartPin::Chart(stand.pin(&archive));
    stand.server.reply(
        "/charts/redis-1.2.3.tgz",
        Reply::redirect(elsewhere.url("/stolen.tgz")),
    );

    stand.credentials = entry("");
    let error = stand.get(&pin).await.unwrap_err();
    assert_eq!(error.code(), "CREDENTIAL_SCOPE", "{error}");
    assert!(elsewhere.seen().is_empty(), "it was not even asked");

    stand.credentials = entry(&format!(", redirects: ['{there}']"));
    assert_eq!(stand.get(&pin).await.unwrap(), archive);
    assert_eq!(
        stand.server.seen()[0].authorization.as_deref(),
        Some("Basic dTpw")
    );
    let seen = elsewhere.seen();
    assert_eq!((seen.len(), &seen[0].authorization), (1, &None));
}

#[tokio::test]
async fn a_redirect_within_the_host_is_followed_and_a_circle_ends() {
    let mut stand = Stand::new().await;
    stand.credentials = format!(
        "hosts:\n- {{host: '{}', token: t}}\n",
        stand.server.authority()
    );
    let archive = chart(REDIS);
    stand.server.put("/moved.tgz", archive.clone());
    stand.server.reply(
        "/charts/redis-1.2.3.tgz",
        Reply::redirect("/moved.tgz".into()),
    );
    let pin = ChartPin::Chart(stand.pin(&archive));
    assert_eq!(stand.get(&pin).await.unwrap(), archive);
    let seen = stand.server.seen();
    assert!(
        seen.iter()
            .all(|one| one.authorization.as_deref() == Some("Bearer t")),
        "{seen:?}"
    );
    stand.server.reply(
        "/charts/redis-1.2.3.tgz",
        Reply::redirect(stand.pin(&archive).url),
    );
    let pin = ChartPin::Chart(stand.pin(b"other"));
    assert_eq!(stand.get(&pin).await.unwrap_err().code(), "SOURCE_PROTOCOL");
}

#[tokio::test]
async fn a_registry_gets_its_token_from_its_own_realm_alone() {
    let mut stand = Stand::new().await;
    let archive = chart(REDIS);
    let digest = stand.server.oci("charts/redis", "1.2.3", &archive);
    let here = stand.server.authority();
    let elsewhere = StandIn::start().await;
    for service in [&stand.server, &elsewhere] {
        let mut token = Reply::ok("{\"token\":\"t0ken\"}");
        token.wants = Some(("Basic dTpw".into(), "Basic realm=\"x\"".into()));
        service.reply("/token", token);
    }
    let challenge = |realm: String| {
        format!("Bearer realm=\"{realm}\",service=\"r\",scope=\"repository:all:push\"")
    };
    let guard = |realm: String| {
        let token = stand.server.clone();
        token.guard("Bearer t0ken", &challenge(realm));
        let mut own = Reply::ok("{\"token\":\"t0ken\"}");
        own.wants = Some(("Basic dTpw".into(), "Basic realm=\"x\"".into()));
        token.reply("/token", own);
    };
    stand.credentials = format!("hosts:\n- {{host: '{here}', user: u, password: p}}\n");
    let pin = stand.artifact(&digest);

    guard(elsewhere.url("/token"));
    let error = stand.get(&pin).await.unwrap_err();
    assert_eq!(error.code(), "CREDENTIAL_SCOPE", "{error}");
    assert!(elsewhere.seen().is_empty());

    guard(stand.server.url("/token"));
    assert_eq!(stand.get(&pin).await.unwrap(), archive);
    let asked = stand.server.seen();
    let token = asked
        .iter()
        .find(|one| one.target.starts_with("/token"))
        .unwrap();
    assert_eq!(
        token.target,
        "/token?scope=repository%3Acharts%2Fredis%3Apull&service=r"
    );

    let other = Stand {
        folder: tempfile::tempdir().unwrap(),
        server: stand.server.clone(),
        credentials: format!(
            "hosts:\n- {{host: '{here}', user: u, password: p, realm: '{}'}}\n",
            elsewhere.authority()
        ),
    };
    guard(elsewhere.url("/token"));
    assert_eq!(other.get(&pin).await.unwrap(), archive);
    assert_eq!(elsewhere.seen().len(), 1);
}

#[tokio::test]
async fn what_never_ends_is_cut_at_its_limit_and_an_outage_is_a_fault() {
    let stand = Stand::new().await;
    stand.server.put("/big", vec![b'x'; 4096]);
    let ask = |bytes_max| Ask {
        url: WebUrl::parse(&stand.server.url("/big")).unwrap(),
        accept: "",
        authorization: Authorization::Nobody,
        what: "it".into(),
        bytes_max,
    };
    let error = stand.http().get(ask(4095)).await.unwrap_err();
    assert_eq!((error.code(), error.is_fault()), ("SIZE_LIMIT", false));
    assert!(stand.http().get(ask(4096)).await.is_ok());
    let mut broken = Reply::ok("");
    broken.status = 503;
    stand.server.reply("/big", broken);
    let error = stand.http().get(ask(4096)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_fault()),
        ("SOURCE_UNREACHABLE", true)
    );
}

#[tokio::test]
async fn every_source_is_pinned_and_stays_so_until_asked_anew() {
    let stand = Stand::new().await;
    let archive = chart(REDIS);
    stand.server.helm("redis", "1.2.3", &archive);
    let queue = chart(&[(
        "queue/Chart.yaml",
        &format!(
            "name: queue\nversion: 2.0.0\ndependencies:\n- {{name: redis, version: ^1.2, repository: '{}'}}\n",
            stand.server.url("/charts")
        ),
    )]);
    stand.server.oci("charts/queue", "2.0.0", &queue);
    let files = vec![
        (
            "clusters/redis.yaml",
            app(
                "redis",
                &format!(
                    "helm: {{repository: '{}', chart: redis, version: 1.2.3}}",
                    stand.server.url("/charts")
                ),
            ),
        ),
        (
            "clusters/queue.yaml",
            app(
                "queue",
                &format!(
                    "oci: {{url: 'oci://{}/charts/queue', version: 2.0.0}}",
                    stand.server.authority()
                ),
            ),
        ),
        (
            "clusters/other.yaml",
            app(
                "other",
                "git: {url: 'https://git.example.org/other', ref: main, path: deploy}",
            ),
        ),
        ("clusters/shop.yaml", app("shop", "path: charts/shop")),
        (
            "charts/shop/Chart.yaml",
            format!(
                "name: shop\nversion: 1.0.0\ndependencies:\n- {{name: redis, version: 1.x, repository: '{}'}}\n",
                stand.server.url("/charts")
            ),
        ),
    ];
    let resolved = stand.lock(&files, &[], false).await;
    assert_eq!(problems(&resolved), Vec::<String>::new());
    let lock = resolved.lock;
    let pins: Vec<_> = lock
        .charts
        .iter()
        .map(|pin| (pin.version.as_str(), pin.resolved.as_deref()))
        .collect();
    assert_eq!(
        pins,
        [
            ("1.2.3", None),
            ("1.x", Some("1.2.3")),
            ("^1.2", Some("1.2.3"))
        ]
    );
    assert!(
        lock.charts
            .iter()
            .all(|pin| pin.digest == Sha256::of(&archive))
    );
    assert_eq!(lock.artifacts[0].dependencies[0].version, "^1.2");
    assert_eq!(lock.repositories[0].commit.as_str(), "a".repeat(40));
    assert_eq!(changes(&Lock::default(), &lock).len(), 5);

    // The same version with other content: nobody sees it until asked, and then it is said.
    let evil = chart(&[(
        "redis/Chart.yaml",
        "name: redis\nversion: 1.2.3\n# changed\n",
    )]);
    stand.server.helm("redis", "1.2.3", &evil);
    let mut locked = files.clone();
    locked.push(("countersign.lock", lock.text().unwrap()));
    let asked = stand.server.seen().len();
    let again = stand.lock(&locked, &[], false).await;
    assert_eq!(again.lock, lock);
    assert_eq!(
        stand.server.seen().len(),
        asked,
        "what is pinned is not looked up"
    );
    let updated = stand.lock(&locked, &["redis"], false).await;
    let said = changes(&lock, &updated.lock);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].ends_with("(the same version, other content)"),
        "{said:?}"
    );

    let gone: Vec<_> = locked
        .into_iter()
        .filter(|(path, _)| *path != "clusters/queue.yaml")
        .collect();
    let rest = stand.lock(&gone, &[], false).await;
    assert_eq!(
        changes(&lock, &rest.lock).len(),
        2,
        "the chart and what only it needs"
    );
}

#[tokio::test]
async fn what_can_t_be_pinned_is_named_with_file_line_and_field() {
    let stand = Stand::new().await;
    stand.server.put(
        "/charts/index.yaml",
        "entries:\n  redis:\n  - {version: 1.2.3, urls: [x.tgz]}\n",
    );
    let url = stand.server.url("/charts");
    let files = [
        (
            "clusters/redis.yaml",
            app(
                "redis",
                &format!("helm: {{repository: '{url}', chart: redis, version: 1.2.3}}"),
            ),
        ),
        ("clusters/shop.yaml", app("shop", "path: charts/shop")),
        (
            "charts/shop/Chart.yaml",
            format!(
                "name: shop\nversion: 1.0.0\ndependencies:\n- {{name: none, version: 1.x, repository: '{url}'}}\n- {{name: b, version: 1.x, repository: '@b'}}\n"
            ),
        ),
    ];
    let found = problems(&stand.lock(&files, &[], false).await);
    assert_eq!(
        found,
        [
            "charts/shop/Chart.yaml:5: dependencies[1].repository: CHART_INVALID: Chart.yaml:5: dependencies[1].repository: must be a URL that starts with https:// or oci://; the names of repositories on one machine mean nothing elsewhere".to_owned(),
            format!("clusters/redis.yaml:7: spec.source.helm: DIGEST_MISSING: {url}: chart redis 1.2.3 has no SHA-256 digest in its index.yaml, so it can't be pinned"),
        ]
    );
    let found = problems(&stand.lock(&files[..1], &[], true).await);
    assert_eq!(
        found,
        [
            "clusters/redis.yaml:7: spec.source.helm: LOCK_MISMATCH: is not pinned in countersign.lock; run `countersign lock`"
        ]
    );
}
