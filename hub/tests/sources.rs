//! Charts and repositories from elsewhere, through a whole hub with real renderer processes. The Helm repository and the
//! registry are stand-ins that speak the real protocols; the repository is served by `git http-backend`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

#[path = "../../fleet/src/source/tests/standin.rs"]
#[allow(dead_code, unreachable_pub)]
mod standin;

use countersign_fleet::source::lock::{
    CommitHex, Lock, LockedArtifact, LockedChart, LockedRepository, Sha256,
};
use standin::{Reply, StandIn, chart};
use support::git::Repo;
use support::http::Server;
use support::hub::World;
use support::until;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}\n  namespace: {{ .Release.Namespace }}\ndata:\n  value: {{ .Values.value | quote }}\n";

fn simple(name: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let description = format!("apiVersion: v2\nname: {name}\nversion: 1.2.3\n");
    let paths =
        ["Chart.yaml", "values.yaml", "templates/a.yaml"].map(|path| format!("{name}/{path}"));
    let [first, values, template] = paths.each_ref().map(String::as_str);
    let mut files = vec![
        (first, description.as_str()),
        (values, "value: one\n"),
        (template, MAP),
    ];
    files.extend(more);
    chart(&files)
}

fn app(name: &str, source: &str) -> (String, String) {
    let text = format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: {name}\nspec:\n  namespace: default\n  source:\n    {source}\n"
    );
    (format!("clusters/metal-fra/{name}.yaml"), text)
}

fn redis(server: &StandIn, version: &str, archive: &[u8]) -> LockedChart {
    LockedChart {
        repository: server.url("/charts"),
        chart: "redis".into(),
        version: version.into(),
        url: server.url("/charts/redis-1.2.3.tgz"),
        digest: Sha256::of(archive),
        resolved: (version != "1.2.3").then(|| "1.2.3".into()),
        dependencies: vec![],
    }
}

fn push(repo: &Repo, files: &[(String, String)], lock: &Lock) {
    let mut all: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let text = lock.text().unwrap();
    all.push(("countersign.lock", &text));
    repo.push(&all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charts_and_repositories_from_elsewhere_become_sealed_objects() {
    let server = StandIn::start().await;
    let archive = simple("redis", &[]);
    server.helm("redis", "1.2.3", &archive);
    let queue = server.oci("charts/queue", "1.2.3", &simple("queue", &[]));
    let other = Repo::new();
    let commit = other.push(&[
        (
            "deploy/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: default}\n",
        ),
        ("elsewhere/b.yaml", "kind: Nonsense\n"),
    ]);
    // The branch has moved on; the pin has not.
    other.push(&[(
        "deploy/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: newer, namespace: default}\n",
    )]);
    let git = Server::start(other.root());

    let registry = format!("oci://{}/charts/queue", server.authority());
    let mut files = vec![
        app(
            "wallet",
            &format!(
                "helm: {{repository: '{}', chart: redis, version: 1.2.3}}",
                server.url("/charts")
            ),
        ),
        app(
            "queue",
            &format!("oci: {{url: '{registry}', version: 1.2.3}}"),
        ),
        app(
            "other",
            &format!("git: {{url: '{}', ref: main, path: deploy}}", git.url()),
        ),
        app("shop", "path: charts/shop"),
    ];
    files.push(("charts/shop/Chart.yaml".into(), format!("apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- name: redis\n  version: ^1.2\n  repository: {}\n", server.url("/charts"))));
    files.push((
        "charts/shop/values.yaml".into(),
        "value: shop\nredis: {value: two}\n".into(),
    ));
    files.push(("charts/shop/templates/a.yaml".into(), MAP.into()));
    let lock = Lock {
        charts: vec![
            redis(&server, "1.2.3", &archive),
            redis(&server, "^1.2", &archive),
        ],
        artifacts: vec![LockedArtifact {
            url: registry,
            version: "1.2.3".into(),
            digest: Sha256::new(&queue).unwrap(),
            resolved: None,
            dependencies: vec![],
        }],
        repositories: vec![LockedRepository {
            url: git.url(),
            r#ref: "main".into(),
            commit: CommitHex::new(&commit.to_string()).unwrap(),
        }],
    };
    let fleet = Repo::new();
    push(&fleet, &files, &lock);
    let world = World::new(&fleet.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("the cluster is sealed", || {
        world.desired("metal-fra").len() == 1
    })
    .await;
    let status = hub.get("/api/v1/fleet").await;
    assert_eq!(
        world.lines("metal-fra"),
        [
            "other other",
            "queue-queue queue",
            "shop-redis shop",
            "shop-shop shop",
            "wallet-redis wallet"
        ],
        "{status:#}"
    );
    assert_eq!(
        world.objects("metal-fra")["shop-redis"]["data"]["value"],
        "two"
    );
    let seen = server.seen();
    assert!(
        !seen.iter().any(
            |one| one.target.contains("index.yaml") || one.target.ends_with("/manifests/1.2.3")
        ),
        "no index and no tag is read for a render: {seen:?}"
    );
    let archives = seen
        .iter()
        .filter(|one| one.target.ends_with("redis-1.2.3.tgz"));
    assert_eq!(archives.count(), 1, "one digest is fetched once");
    hub.end().await;

    // A new process needs nobody: everything is in the data folder.
    drop(git);
    for path in [
        "/charts/redis-1.2.3.tgz",
        &format!("/v2/charts/queue/manifests/{queue}"),
    ] {
        server.put(path, "gone");
    }
    files.push((
        "clusters/metal-fra/own.yaml".into(),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own, namespace: default}\n".into(),
    ));
    push(&fleet, &files, &lock);
    let hub = world.start().await;
    until("the second head", || world.desired("metal-fra").len() == 2).await;
    assert_eq!(world.lines("metal-fra").len(), 6);
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_source_fails_keeps_its_last_good_objects() {
    let server = StandIn::start().await;
    let archive = simple("redis", &[]);
    server.helm("redis", "1.2.3", &archive);
    let url = server.url("/charts");
    let files = |n: u32| {
        vec![
            app(
                "wallet",
                &format!("helm: {{repository: '{url}', chart: redis, version: 1.2.3}}"),
            ),
            (
                "clusters/metal-fra/own.yaml".to_owned(),
                format!(
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: own, namespace: default}}\ndata: {{value: '{n}'}}\n"
                ),
            ),
        ]
    };
    let lock = |content: &[u8]| Lock {
        charts: vec![redis(&server, "1.2.3", content)],
        ..Lock::default()
    };
    let fleet = Repo::new();
    push(&fleet, &files(0), &lock(&archive));
    let world = World::new(&fleet.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("the cluster is sealed", || {
        world.desired("metal-fra").len() == 1
    })
    .await;
    let both = ["own metal-fra", "wallet-redis wallet"];
    assert_eq!(world.lines("metal-fra"), both);

    let bomb = simple("redis", &[("redis/zeros", &"0".repeat(80 << 20))]);
    let mut down = Reply::ok("");
    down.status = 503;
    let cases: [(&str, Vec<u8>, Reply); 4] = [
        (
            "LOCK_MISMATCH",
            b"what was reviewed".to_vec(),
            Reply::ok(archive.clone()),
        ),
        ("SOURCE_UNREACHABLE", b"what nobody has".to_vec(), down),
        (
            "CREDENTIAL_SCOPE",
            b"what lies elsewhere".to_vec(),
            Reply::redirect("http://127.0.0.2:1/x.tgz".into()),
        ),
        ("SIZE_LIMIT", bomb.clone(), Reply::ok(bomb)),
    ];
    for (n, (code, pinned, reply)) in (1..).zip(cases) {
        server.reply("/charts/redis-1.2.3.tgz", reply);
        push(&fleet, &files(n), &lock(&pinned));
        hub.until_fleet_says(code).await;
        until(
            &format!("the other app moves on in spite of {code}"),
            || {
                world
                    .objects("metal-fra")
                    .get("own")
                    .is_some_and(|own| own["data"]["value"].as_str() == Some(&*n.to_string()))
            },
        )
        .await;
        assert_eq!(world.lines("metal-fra"), both, "{code}");
    }
    push(&fleet, &files(5), &Lock::default());
    hub.until_fleet_says("is not pinned in countersign.lock")
        .await;
    assert_eq!(world.lines("metal-fra"), both);
    hub.end().await;
}
