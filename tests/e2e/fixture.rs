//! A fleet of one cluster, ready to be pushed to: what most tests start from.

use countersign_tests::{
    agent::Agent,
    cluster::{Cluster, Options},
    git::GitRepo,
    hub,
    world::World,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

/// The only cluster's name in its fleet.
pub(crate) const ONE: &str = "one";
/// Its folder's document.
pub(crate) const CLUSTER: (&str, &str) = (
    "clusters/one/cluster.yaml",
    "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: one\nspec:\n  labels:\n    env: test\n",
);

/// A hub, a control plane and the agent between them, all of it settled at the first commit.
pub(crate) struct Stand {
    pub(crate) world: World,
    cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) agent: Agent,
}

impl Stand {
    /// Starts with these files beside the cluster's document.
    pub(crate) async fn new(files: &[(&str, &str)]) -> Self {
        Self::with(files, Options::default(), |options| options).await
    }

    /// [`Stand::new`] with a cluster and a hub as wanted.
    pub(crate) async fn with(
        files: &[(&str, &str)],
        cluster: Options,
        hub: impl FnOnce(hub::Options) -> hub::Options,
    ) -> Self {
        let repo = GitRepo::new().unwrap();
        let mut all = vec![CLUSTER];
        all.extend(files);
        let commit = repo.commit_files(&all, "the fleet").unwrap();
        let cluster = Cluster::start(cluster).await.unwrap();
        let world = World::start_with(repo, &["one=test"], hub).await.unwrap();
        let stand = Self::join(world, cluster).await;
        stand.settled(&commit).await;
        stand
    }

    /// In a world that stands, joined a moment ago.
    pub(crate) async fn join(world: World, cluster: Cluster) -> Self {
        let agent = world.join(ONE, &cluster).await.unwrap();
        let client = cluster.client().await.unwrap();
        Self {
            world,
            cluster,
            client,
            agent,
        }
    }

    /// Commits, pushes and waits until the cluster is where the commit wants it.
    pub(crate) async fn push(&self, files: &[(&str, &str)]) -> String {
        let commit = self.world.push_files(files, "a change").unwrap();
        self.settled(&commit).await;
        commit
    }

    /// Deletes a file, commits, pushes and waits.
    pub(crate) async fn remove(&self, file: &str) -> String {
        self.world.repo.remove(file).unwrap();
        let commit = self.world.push("a removal").unwrap();
        self.settled(&commit).await;
        commit
    }

    /// Waits until the cluster is where `commit` wants it, synced and healthy.
    pub(crate) async fn settled(&self, commit: &str) {
        if let Err(in_vain) = self.world.settled(commit, &[ONE]).await {
            panic!("{in_vain}\n{}", self.logs());
        }
    }

    /// The end of both logs, for a failure's message.
    pub(crate) fn logs(&self) -> String {
        let tail = |log: String| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        format!(
            "hub:\n{}\nagent:\n{}",
            tail(self.world.hub.process.log()),
            tail(self.agent.process.log())
        )
    }

    /// The control plane, which runs as long as this stands.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// ConfigMaps of a namespace.
    pub(crate) fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The UID of a ConfigMap that must be there.
    pub(crate) async fn uid(&self, namespace: &str, name: &str) -> String {
        let found = self.config_maps(namespace).get(name).await;
        found.unwrap().metadata.uid.unwrap()
    }

    /// One value of a ConfigMap, if it is there.
    pub(crate) async fn value(&self, namespace: &str, name: &str, key: &str) -> Option<String> {
        let found = self.config_maps(namespace).get_opt(name).await.unwrap();
        found?.data?.get(key).cloned()
    }
}

/// A ConfigMap of one key.
pub(crate) fn config_map(name: &str, key: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  {key}: {value:?}\n"
    )
}

/// An App of plain files for every cluster.
pub(crate) fn plain_app(name: &str, path: &str) -> String {
    format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: {name}\nspec:\n  source:\n    path: {path}\n"
    )
}
