//! A thousand apps: a commit costs what it changes. Real renderer processes, a real store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;

use support::git::Repo;
use support::hub::{Running, World};
use support::until;

const APPS: usize = 1000;
/// Every so many of them is built from a base of its own; the first three share one.
const BUILT_EVERY: usize = 4;

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: \"{value}\"\n"
    )
}

fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        ("clusters/one/x.yaml".to_owned(), map("x", "1")),
        (
            "base/shared/kustomization.yaml".to_owned(),
            "resources: [a.yaml]\n".to_owned(),
        ),
        ("base/shared/a.yaml".to_owned(), map("shared", "1")),
    ]);
    for n in 0..APPS {
        let name = format!("app{n}");
        files.insert(
            format!("clusters/{name}.yaml"),
            format!("apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: {name}\nspec:\n  source:\n    path: apps/{name}\n"),
        );
        files.insert(format!("apps/{name}/a.yaml"), map(&name, "1"));
        if n % BUILT_EVERY == 0 {
            let base = if n / BUILT_EVERY < 3 {
                ", ../../base/shared"
            } else {
                ""
            };
            let build = format!("namePrefix: {name}-\nresources: [a.yaml{base}]\n");
            files.insert(format!("apps/{name}/kustomization.yaml"), build);
        }
    }
    files
}

fn push(repo: &Repo, files: &BTreeMap<String, String>) -> String {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    repo.push(&files).to_string()
}

/// One sample of the hub's metrics; 0 if it is not there.
async fn metric(hub: &Running, name: &str) -> u64 {
    let text = hub.metrics().await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_apps_a_commit_renders_the_readers_of_what_it_changes() {
    let repo = Repo::new();
    let mut now = files();
    let commit = push(&repo, &now);
    let world = World::new(&repo.path(), &[("one", "prod")]);
    let hub = world.start().await;
    hub.until_fleet_says(&commit).await;
    until("the first head", || world.desired("one").len() == 1).await;
    hub.until_processed(&commit).await;
    const RENDERS: &str = "countersign_hub_renders_total ";
    let cold = metric(&hub, RENDERS).await;
    assert_eq!(
        cold,
        APPS as u64 + 1,
        "each app once, and the cluster's folder"
    );

    now.insert("docs/README.md".to_owned(), "nobody reads me\n".to_owned());
    let commit = push(&repo, &now);
    hub.until_processed(&commit).await;
    assert_eq!(metric(&hub, RENDERS).await, cold);
    assert_eq!(world.desired("one").len(), 1, "no new state");
    assert_eq!(world.sources().len(), 2, "one source entry a commit");

    now.insert("base/shared/a.yaml".to_owned(), map("shared", "2"));
    let commit = push(&repo, &now);
    hub.until_processed(&commit).await;
    assert_eq!(
        metric(&hub, RENDERS).await,
        cold + 3,
        "three apps read that file"
    );
    assert_eq!(world.objects("one")["app0-shared"]["data"]["value"], "2");

    now.insert("apps/app501/a.yaml".to_owned(), map("app501", "2"));
    let commit = push(&repo, &now);
    hub.until_processed(&commit).await;
    assert_eq!(metric(&hub, RENDERS).await, cold + 4);
    assert_eq!(world.objects("one")["app501"]["data"]["value"], "2");

    now.insert("apps/app502/a.yaml".to_owned(), "kind: [".to_owned());
    let commit = push(&repo, &now);
    hub.until_processed(&commit).await;
    assert_eq!(
        metric(&hub, "countersign_hub_apps_kept{code=\"YAML_INVALID\"} ").await,
        1
    );
    assert_eq!(
        world.objects("one")["app502"]["data"]["value"],
        "1",
        "its last good object"
    );
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_an_unchanged_fleet_of_a_thousand_apps_renders_nothing() {
    let repo = Repo::new();
    let mut now = files();
    let commit = push(&repo, &now);
    let world = World::new(&repo.path(), &[("one", "prod")]);
    let hub = world.start().await;
    hub.until_processed(&commit).await;
    const RENDERS: &str = "countersign_hub_renders_total ";
    // What was rendered twice is kept.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while world.renders_kept() < APPS as u64 + 1 {
        assert!(
            std::time::Instant::now() < deadline,
            "{} are kept",
            world.renders_kept()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    hub.end().await;

    let hub = world.start().await;
    hub.until_processed(&commit).await;
    assert_eq!(metric(&hub, RENDERS).await, 0, "all of it was known");
    assert_eq!(world.desired("one").len(), 1, "no new state");
    now.insert("base/shared/a.yaml".to_owned(), map("shared", "2"));
    let commit = push(&repo, &now);
    hub.until_processed(&commit).await;
    assert_eq!(metric(&hub, RENDERS).await, 3, "three apps read that file");
    assert_eq!(world.objects("one")["app0-shared"]["data"]["value"], "2");
    hub.end().await;
}
