//! `countersign lock` as a person runs it. The Helm repository is a stand-in that speaks the real protocol; the other
//! repository is served by `git http-backend`.

use std::path::Path;

use countersign_tests::charts::{StandIn, chart};
use countersign_tests::cli::{Cli, Output};
use countersign_tests::git::{GitRepo, GitServer};
use countersign_tests::tool::Tool;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  value: from elsewhere\n";

struct Stand {
    folder: tempfile::TempDir,
    charts: StandIn,
}

impl Stand {
    async fn new() -> Self {
        let charts = StandIn::start().await;
        let description = "apiVersion: v2\nname: redis\nversion: 1.2.3\n";
        let files = [
            ("redis/Chart.yaml", description),
            ("redis/templates/a.yaml", MAP),
        ];
        charts.helm("redis", "1.2.3", &chart(&files));
        let stand = Self {
            folder: tempfile::tempdir().unwrap(),
            charts,
        };
        stand.write(
            "clusters/one/x.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
        );
        stand
    }

    fn repo(&self) -> std::path::PathBuf {
        self.folder.path().join("fleet")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn app(&self, name: &str, source: &str) {
        let text = format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  source:\n    {source}\n"
        );
        self.write(&format!("clusters/{name}.yaml"), &text);
    }

    async fn run(&self, command: &'static str, more: &[&str]) -> Output {
        let mut args: Vec<String> = vec![
            command.into(),
            "--repo".into(),
            self.repo().display().to_string(),
        ];
        args.extend([
            "--sources".into(),
            self.folder.path().join("sources").display().to_string(),
        ]);
        args.extend(more.iter().map(|word| (*word).to_owned()));
        tokio::task::spawn_blocking(move || Cli::new().run(args).unwrap())
            .await
            .unwrap()
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.repo().join("countersign.lock")).unwrap_or_default()
    }
}

fn renderer() -> String {
    Tool::Renderer.path().unwrap().display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apps_name_elsewhere_is_pinned_rendered_and_checked() {
    let stand = Stand::new().await;
    let other = GitRepo::new().unwrap();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";
    let first = other
        .commit_files(&[("deploy/a.yaml", map)], "one")
        .unwrap();
    let bare = GitRepo::bare("other").unwrap();
    other.push(&bare).unwrap();
    let server = GitServer::start(bare.root()).unwrap();

    stand.app(
        "wallet",
        &format!(
            "helm: {{repository: '{}', chart: redis, version: 1.2.3}}",
            stand.charts.url("/charts")
        ),
    );
    stand.app(
        "other",
        &format!(
            "git: {{url: '{}', ref: main, path: deploy}}",
            server.url("other")
        ),
    );
    let unpinned = stand.run("lock", &["--check"]).await;
    assert_eq!(unpinned.code, Some(1), "{unpinned:?}");
    assert!(
        unpinned
            .stdout
            .contains("clusters/wallet.yaml:6: spec.source.helm: LOCK_MISMATCH"),
        "{unpinned:?}"
    );
    assert_eq!(stand.charts.seen(), [], "a check asks nobody");

    let made = stand.run("lock", &[]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stdout.contains("added    redis 1.2.3 of http://"),
        "{made:?}"
    );
    assert!(stand.lock().contains(&first), "{}", stand.lock());
    let text = stand.lock();
    for args in [&["--check"][..], &[]] {
        let again = stand.run("lock", args).await;
        assert_eq!(
            (again.code, again.stdout.as_str()),
            (Some(0), "countersign.lock is whole\n")
        );
    }
    assert_eq!(stand.lock(), text);

    let renderer = tokio::task::spawn_blocking(renderer).await.unwrap();
    let rendered = stand
        .run("render", &["--cluster", "one", "--renderer", &renderer])
        .await;
    assert_eq!(rendered.code, Some(0), "{rendered:?}");
    for name in ["name: wallet", "name: other", "value: from elsewhere"] {
        assert!(rendered.stdout.contains(name), "{name}: {rendered:?}");
    }

    // The branch moves: the pin stays until one asks.
    let second = other
        .commit_files(&[("deploy/a.yaml", "kind: Other\n")], "two")
        .unwrap();
    other.push(&bare).unwrap();
    assert_eq!(
        stand.run("lock", &[]).await.stdout,
        "countersign.lock is whole\n"
    );
    let moved = stand.run("lock", &["--update", "other"]).await;
    assert!(
        moved.stdout.contains(&format!("{first} → {second}")),
        "{moved:?}"
    );
    assert_eq!(moved.stdout.lines().count(), 1, "{moved:?}");

    std::fs::remove_file(stand.repo().join("clusters/wallet.yaml")).unwrap();
    let vain = stand.run("lock", &["--check"]).await;
    assert_eq!(vain.code, Some(1), "{vain:?}");
    assert!(vain.stdout.contains("removed  redis 1.2.3"), "{vain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_pinned_writes_nothing_and_says_whose_turn_it_is() {
    let stand = Stand::new().await;
    let url = stand.charts.url("/charts");
    stand.app(
        "wallet",
        &format!("helm: {{repository: '{url}', chart: redis, version: 9.9.9}}"),
    );
    let wrong = stand.run("lock", &[]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(
        wrong
            .stderr
            .contains("clusters/wallet.yaml:6: spec.source.helm: SOURCE_NOT_FOUND:"),
        "{wrong:?}"
    );
    assert!(wrong.stderr.contains("the newest is 1.2.3"), "{wrong:?}");

    stand.app(
        "wallet",
        "helm: {repository: 'http://127.0.0.1:1', chart: redis, version: 1.2.3}",
    );
    let down = stand.run("lock", &[]).await;
    assert_eq!(down.code, Some(3), "{down:?}");
    assert!(down.stderr.contains("SOURCE_UNREACHABLE"), "{down:?}");

    stand.app("wallet", "hlem: {}");
    let broken = stand.run("lock", &[]).await;
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(
        broken.stderr.contains("the lock was left as it is"),
        "{broken:?}"
    );
    assert!(!Path::new(&stand.repo()).join("countersign.lock").exists());
}
