//! Every new render once more, after it was sealed, by another worker (DECISIONS 13): beside the next commits, so that
//! none of them waits for it. One render at a time, so that one worker is free for what is new.

use std::sync::Arc;

use countersign_fleet::model::Fleet;
use countersign_fleet::tree::SharedTree;
use countersign_ledger::Digest;
use tokio::sync::mpsc;

use crate::pipeline::cluster;
use crate::pipeline::stage::{Ask, RenderedApp, Stage};

/// Commits whose renders wait to be repeated; when there are more, the next commit waits. A worker repeats faster than
/// people push.
const COMMITS_WAITING_MAX: usize = 256;
/// Differences that wait to be heard. There is hardly ever one.
const DIFFERED_MAX: usize = 256;

/// The renders of one commit that were done once.
pub(super) struct Unrepeated {
    pub(super) tree: SharedTree,
    pub(super) fleet: Arc<Fleet>,
    pub(super) renders: Vec<Once>,
}

/// A render of an app on a cluster that was done once.
pub(super) struct Once {
    pub(super) cluster: String,
    pub(super) app: String,
    pub(super) first: RenderedApp,
}

/// A render whose repetition gave something else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differed {
    pub(super) cluster: String,
    pub(super) app: String,
    /// What it gave first: [`cluster::name_of`].
    pub(super) name: Digest,
}

/// The task that repeats; it ends with this.
pub(super) struct Repeats {
    waiting: mpsc::Sender<Unrepeated>,
    differed: mpsc::Receiver<Differed>,
}

impl Repeats {
    pub(super) fn start(stage: Arc<dyn Stage>) -> Self {
        let (waiting, mut commits) = mpsc::channel(COMMITS_WAITING_MAX);
        let (tell, differed) = mpsc::channel(DIFFERED_MAX);
        tokio::spawn(async move {
            while let Some(commit) = commits.recv().await {
                for differed in repeat(&*stage, commit, &tell).await {
                    if tell.send(differed).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self { waiting, differed }
    }

    /// Has renders repeated.
    pub(super) async fn add(&self, commit: Unrepeated) {
        if !commit.renders.is_empty() {
            // The task ends with us alone.
            let _ = self.waiting.send(commit).await;
        }
    }

    /// The next difference.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub(super) async fn differed(&mut self) -> Option<Differed> {
        self.differed.recv().await
    }
}

async fn repeat(
    stage: &dyn Stage,
    commit: Unrepeated,
    tell: &mpsc::Sender<Differed>,
) -> Vec<Differed> {
    let mut differed = Vec::new();
    for Once {
        cluster: name,
        app,
        first,
    } in commit.renders
    {
        if tell.is_closed() {
            break;
        }
        let Some(cluster) = commit.fleet.clusters.get(&name) else {
            continue;
        };
        let ask = Ask {
            tree: &commit.tree,
            change: None,
            fleet: &commit.fleet,
            cluster,
        };
        let failure = stage.again(ask, &app, &first).await.err();
        if failure.is_some_and(|failure| failure.code == cluster::NOT_REPEATABLE) {
            differed.push(Differed {
                cluster: name,
                app,
                name: cluster::name_of(&first.objects),
            });
        }
    }
    differed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use countersign_fleet::admit::Verdict;
    use countersign_fleet::failure::AppFailure;
    use countersign_fleet::kinds::Kinds;
    use countersign_fleet::load::load;
    use countersign_fleet::model::Cluster;
    use countersign_fleet::object::Object;
    use countersign_fleet::tree::MemoryTree;
    use futures::future::BoxFuture;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::pipeline::policies::PolicyFiles;
    use crate::pipeline::stage::RenderedApps;

    /// Repeats when it is let, and gives something else for one app.
    struct Moody(Semaphore);

    impl Stage for Moody {
        fn version(&self) -> String {
            "moody".into()
        }
        fn apps<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, RenderedApps> {
            Box::pin(async { BTreeMap::new() })
        }
        fn touched(&self, _: Ask<'_>) -> bool {
            true
        }
        fn again<'a>(
            &'a self,
            _: Ask<'a>,
            app: &'a str,
            _: &'a RenderedApp,
        ) -> BoxFuture<'a, Result<(), AppFailure>> {
            Box::pin(async move {
                self.0.acquire().await.unwrap().forget();
                match app {
                    "moody" => Err(AppFailure::new(cluster::NOT_REPEATABLE, "differs")),
                    "away" => Err(AppFailure::new("RENDER_CRASHED", "a worker ended").as_fault()),
                    _ => Ok(()),
                }
            })
        }
        fn admit<'a>(
            &'a self,
            _: &'a Cluster,
            _: &'a PolicyFiles,
            _: &'a [&'a Object],
        ) -> BoxFuture<'a, Result<Vec<Verdict>, AppFailure>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn renders(&self) -> u64 {
            0
        }
    }

    fn commit(apps: &[&str]) -> Unrepeated {
        let document =
            "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata: {name: one}\n";
        let tree = MemoryTree::new([("clusters/one/cluster.yaml", document)]);
        let (fleet, _) = load(&tree).unwrap();
        let once = |app: &&str| Once {
            cluster: "one".into(),
            app: (*app).into(),
            first: RenderedApp {
                objects: Arc::default(),
                fresh: true,
                workers: Vec::new(),
                kinds: Arc::new(Kinds::of(
                    &countersign_fleet::document::Kubernetes::default(),
                )),
                warnings: Vec::new(),
            },
        };
        Unrepeated {
            tree: Arc::new(tree),
            fleet: Arc::new(fleet),
            renders: apps.iter().map(once).collect(),
        }
    }

    #[tokio::test]
    async fn no_commit_waits_for_repeated_renders_and_a_difference_is_told() {
        let stage = Arc::new(Moody(Semaphore::new(0)));
        let mut repeats = Repeats::start(stage.clone());
        for _ in 0..3 {
            let added = repeats.add(commit(&["calm", "away"]));
            tokio::time::timeout(Duration::from_secs(5), added)
                .await
                .unwrap();
        }
        repeats.add(commit(&["calm", "moody"])).await;
        stage.0.add_permits(8);
        let differed = tokio::time::timeout(Duration::from_secs(5), repeats.differed()).await;
        let want = Differed {
            cluster: "one".into(),
            app: "moody".into(),
            name: cluster::name_of(&[]),
        };
        assert_eq!(differed.unwrap(), Some(want));
    }
}
