//! A renderer that gives one thing in one process and another in the next (DECISIONS 13): the app is blocked, everybody
//! is told, and the others move on. Real worker processes, of which the second is made to lie about one app.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_fleet::admit::{Candidate, PolicySet, Verdict};
use countersign_fleet::desired::{Desired, EncryptedSecrets, Fresh, RenderCache, Renderer};
use countersign_fleet::render::{
    Config as Workers, Files, Launcher, RenderFailure, RenderRequest, WorkerId,
};
use countersign_hub::config::Config;
use countersign_hub::pipeline::sources;
use countersign_hub::pipeline::stage::Stage;
use countersign_hub::pipeline::workers::{Judge, Pool, Rendering};
use support::git::Repo;
use support::hub::World;
use support::until;

/// Whatever is named so comes out otherwise from each process but the first.
const MOODY: &str = "moody";

struct Moody {
    pool: Pool,
    again: AtomicU32,
}

impl Renderer for Moody {
    fn version(&self) -> String {
        self.pool.version()
    }

    async fn render(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
    ) -> Result<Fresh, RenderFailure> {
        self.pool.render(files, request).await
    }

    async fn render_again(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
        first: Option<WorkerId>,
    ) -> Result<Fresh, RenderFailure> {
        let mut fresh = self.pool.render_again(files, request, first).await?;
        assert_ne!(fresh.worker, first, "it is another process");
        for object in &mut fresh.objects {
            if object.json["metadata"]["name"] == MOODY {
                let number = self.again.fetch_add(1, Ordering::Relaxed);
                object.json["data"]["value"] = format!("again {number}").into();
            }
        }
        Ok(fresh)
    }
}

impl Judge for Moody {
    async fn judge(
        &self,
        set: &PolicySet,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Verdict>, RenderFailure> {
        self.pool.judge(set, candidates).await
    }
}

async fn stage(config: &Config, launcher: Launcher) -> Arc<dyn Stage> {
    let pool =
        countersign_fleet::render::Workers::start(Workers::new(&config.render.program, launcher));
    Arc::new(Rendering::new(Desired {
        renderer: Moody {
            pool: Pool(pool.await.unwrap()),
            again: AtomicU32::new(0),
        },
        sources: sources::fetcher(config).unwrap(),
        cache: RenderCache::default(),
        secrets: EncryptedSecrets::Refused,
    }))
}

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: \"{value}\"}}\n"
    )
}

fn app(name: &str) -> String {
    format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  source: {{path: apps/{name}}}\n"
    )
}

fn push(repo: &Repo, moody: &[(&str, &str)], calm: &str) -> String {
    let mut files = vec![
        ("clusters/one/own.yaml".to_owned(), map("own", "1")),
        ("clusters/moody.yaml".to_owned(), app(MOODY)),
        ("clusters/calm.yaml".to_owned(), app("calm")),
        ("apps/calm/a.yaml".to_owned(), map("calm", calm)),
    ];
    files.extend(
        moody
            .iter()
            .map(|(name, value)| (format!("apps/moody/{name}.yaml"), map(name, value))),
    );
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    repo.push(&files).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_renders_otherwise_in_another_process_is_blocked_and_everybody_is_told() {
    let repo = Repo::new();
    push(&repo, &[(MOODY, "1"), ("x", "1")], "1");
    let world = World::new(&repo.path(), &[("one", "prod")]);
    let hub = world.start_with(stage).await;
    until("the first head", || world.desired("one").len() == 1).await;
    // What was new was sealed at once; the second process is asked right after.
    hub.until_fleet_says("NONDETERMINISTIC").await;
    let app = hub.get("/api/v1/apps/moody").await.to_string();
    assert!(
        app.contains("two renders of the same input differ"),
        "{app}"
    );
    let alarms = hub.get("/api/v1/clusters/one").await["alarms"].take();
    let alarm = |one: &serde_json::Value| one["code"] == "NONDETERMINISTIC";
    let raised = alarms.as_u64().is_some_and(|count| count > 0)
        || alarms.as_array().is_some_and(|all| all.iter().any(alarm));
    assert!(raised, "{alarms}");

    // From then on it is blocked; the others move on.
    push(&repo, &[(MOODY, "1"), ("x", "1")], "2");
    until("calm moves", || {
        world.objects("one")["calm"]["data"]["value"] == "2"
    })
    .await;
    assert_eq!(
        world.objects("one")["moody"]["data"]["value"],
        "1",
        "its last good state"
    );

    // Another content is another render: sealed once, found out again.
    let heads = world.desired("one").len();
    push(&repo, &[(MOODY, "3"), ("x", "1")], "2");
    until("tried again", || world.desired("one").len() > heads).await;
    hub.until_fleet_says("NONDETERMINISTIC").await;

    // What deletes is rendered twice before anything is signed: it never is.
    let heads = world.desired("one").len();
    let commit = push(&repo, &[(MOODY, "4")], "2");
    hub.until_fleet_says(&commit).await;
    hub.until_processed(&commit).await;
    assert!(
        !world.lines("one").iter().any(|line| line.starts_with('-')),
        "{:?}",
        world.lines("one")
    );
    assert_eq!(
        world.desired("one").len(),
        heads,
        "nothing of it was signed"
    );
    hub.end().await;
}
