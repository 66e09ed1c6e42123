//! What most benchmarks stand on: a hub that tracks a local repository by its file events, an agent, and one app of
//! ConfigMaps of about 1 KiB, a file each.

use countersign_tests::agent::Agent;
use countersign_tests::cluster::Cluster;
use countersign_tests::git::GitRepo;
use countersign_tests::witness::{self, Witness};
use countersign_tests::world::{FLEET, World};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};

use crate::events::Events;
use crate::floor::DATA;

/// The cluster's name in the fleet.
pub(crate) const CLUSTER: &str = "one";
const DOCUMENT: &str = "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: one\nspec:\n  labels:\n    env: test\n";
/// What every object shows at first.
pub(crate) const FIRST: &str = "first";

/// Witnesses of a fleet that has some; two must have cosigned.
const WITNESSES: [&str; 3] = ["w1.example", "w2.example", "w3.example"];

/// A fleet of one cluster; its objects lie in a namespace of their own.
pub(crate) struct Stand {
    pub(crate) world: World,
    pub(crate) agent: Agent,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    _witnesses: Vec<Witness>,
}

impl Stand {
    /// Starts with an app of so many objects, and waits until all of it stands.
    pub(crate) async fn start(cluster: &Cluster, objects: usize) -> anyhow::Result<Self> {
        Self::start_with(cluster, objects, false).await
    }

    /// The same at level `witnessed`: two of three local witnesses must have cosigned what the agent takes.
    pub(crate) async fn start_witnessed(cluster: &Cluster, objects: usize) -> anyhow::Result<Self> {
        Self::start_with(cluster, objects, true).await
    }

    async fn start_with(
        cluster: &Cluster,
        objects: usize,
        witnessed: bool,
    ) -> anyhow::Result<Self> {
        let namespace = cluster.namespace().await?;
        let repo = GitRepo::new()?;
        repo.write("clusters/one/cluster.yaml", DOCUMENT)?;
        for (path, text) in app("bench", &namespace, objects) {
            repo.write(&path, text)?;
        }
        let commit = repo.commit("the fleet")?;
        let mut world = World::start(repo, &["one=test"]).await?;
        let witnesses = if witnessed {
            demand_witnesses(&mut world).await?
        } else {
            Vec::new()
        };
        let agent = world.join(CLUSTER, cluster).await?;
        let stand = Self {
            world,
            agent,
            client: cluster.client().await?,
            namespace,
            _witnesses: witnesses,
        };
        if objects > 0 {
            stand.settled(&commit).await?;
        }
        Ok(stand)
    }

    /// Waits until the cluster is where the commit wants it and the hub knows that.
    pub(crate) async fn settled(&self, commit: &str) -> anyhow::Result<()> {
        let settled = self.world.settled(commit, &[CLUSTER]).await;
        settled.map_err(|in_vain| {
            anyhow::anyhow!(
                "{in_vain}\nhub:\n{}\nagent:\n{}",
                tail(&self.world.hub.process.log()),
                tail(&self.agent.process.log())
            )
        })?;
        Ok(())
    }

    /// Commits the files; the push is the caller's, who takes the time.
    pub(crate) fn commit(
        &self,
        files: &[(String, String)],
        message: &str,
    ) -> anyhow::Result<String> {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        self.world.repo.commit_files(&files, message)
    }

    pub(crate) fn push(&self) -> anyhow::Result<()> {
        self.world.repo.push(&self.world.bare)
    }

    /// What happens to the objects from now on.
    pub(crate) async fn events(&self) -> anyhow::Result<Events> {
        Events::open(self.config_maps()).await
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Ends both programs and takes the objects away, so that the next benchmark finds an empty cluster.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.agent.stop().await?;
        self.world.hub.stop().await?;
        self.config_maps()
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await?;
        Ok(())
    }
}

/// Starts three witnesses and raises the cluster to `witnessed`.
async fn demand_witnesses(world: &mut World) -> anyhow::Result<Vec<Witness>> {
    let log = world.trust.log_vkey(FLEET)?;
    let mut witnesses = Vec::new();
    for name in WITNESSES {
        witnesses.push(Witness::start(name, std::slice::from_ref(&log)).await?);
    }
    let named: Vec<_> = witnesses
        .iter()
        .map(|witness| (witness.vkey(), witness.url()))
        .collect();
    let file = world.trust.path().join("witnesses.txt");
    std::fs::write(&file, witness::policy(&log, &named, 2))?;
    let file = file.to_string_lossy();
    world
        .succeed(&[
            &["add", "witness-policy", &file],
            &["add", "cluster", "one=test:witnessed"],
        ])
        .await?;
    Ok(witnesses)
}

/// An app's document and its objects, as files.
pub(crate) fn app(
    name: &str,
    namespace: &str,
    objects: usize,
) -> impl Iterator<Item = (String, String)> + use<> {
    let document = format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: {name}\nspec:\n  namespace: {namespace}\n  source:\n    path: apps/{name}\n"
    );
    let name = name.to_owned();
    let document = (objects > 0).then(|| (format!("clusters/{name}.yaml"), document));
    document
        .into_iter()
        .chain((0..objects).map(move |number| file(&name, number, FIRST)))
}

/// One object's file.
pub(crate) fn file(app: &str, number: usize, value: &str) -> (String, String) {
    let name = object(app, number);
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: {value:?}\n  content: {}\n",
        "x".repeat(DATA)
    );
    (format!("apps/{app}/{name}.yaml"), text)
}

/// Its name.
pub(crate) fn object(app: &str, number: usize) -> String {
    format!("{app}-{number:05}")
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default()
        .join("\n")
}
