//! What the demo plays on: two control planes, a repository with this project's own fleet, a hub and two agents.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_tests::{
    agent::Agent,
    cluster::{Cluster, Options},
    git::GitRepo,
    program,
    tool::Tool,
    witness::{Witness, policy},
    workspace,
    world::{FLEET, World, repo_with},
};

use super::story::Story;

/// The clusters of this project's own fleet, with their environments in the trust root.
pub(super) const CLUSTERS: [(&str, &str); 2] =
    [("eks-eu-west-1", "production"), ("metal-fra", "staging")];

/// The cluster whose level is `witnessed`; the other one is at `signed`.
const WITNESSED: &str = "metal-fra";

/// A cluster and the agent that keeps it.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) cluster: Cluster,
    pub(super) client: kube::Client,
    pub(super) agent: Agent,
}

/// Everything that runs.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) witness: Witness,
    pub(super) members: Vec<Member>,
}

impl Stage {
    /// Builds what is not built, starts everything and waits until the first commit is live.
    ///
    /// # Errors
    /// The step that failed.
    pub(super) async fn build(story: &mut Story, kubeconfigs: &[PathBuf]) -> anyhow::Result<Stage> {
        story
            .step("programs and tools are built", programs())
            .await?;
        let clusters = story
            .step(
                "two Kubernetes control planes are up",
                clusters(kubeconfigs),
            )
            .await?;
        let mut world = story
            .step("a trust root is made, the hub tracks the repository", hub())
            .await?;
        let name = format!("a witness is made, {WITNESSED} demands its word");
        let witness = story.step(&name, witness(&mut world)).await?;
        let members = story
            .step("both clusters join", join(&world, clusters))
            .await?;
        Ok(Stage {
            world,
            witness,
            members,
        })
    }

    /// The names of the clusters.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.members.iter().map(|member| member.name).collect()
    }

    /// Where to look while everything is up.
    pub(super) fn directions(&self) -> String {
        let mut text = format!(
            "  countersign status --data {}\n  git clone {}\n",
            self.world.hub.data().display(),
            self.world.bare.path().display()
        );
        for member in &self.members {
            text.push_str(&format!(
                "  kubectl --kubeconfig {} get all -A    # {}\n",
                member.cluster.kubeconfig().display(),
                member.name
            ));
        }
        text
    }
}

async fn programs() -> anyhow::Result<((), String)> {
    tokio::task::spawn_blocking(|| {
        program::path("countersign-hub")?;
        for tool in [Tool::TestCluster, Tool::Kwok, Tool::Renderer] {
            tool.path()?;
        }
        Ok(((), "kept under target/ for the next run".to_owned()))
    })
    .await?
}

async fn clusters(kubeconfigs: &[PathBuf]) -> anyhow::Result<(Vec<Cluster>, String)> {
    if !kubeconfigs.is_empty() {
        let clusters = kubeconfigs
            .iter()
            .map(|path| Cluster::existing(path))
            .collect::<anyhow::Result<Vec<_>>>()?;
        return Ok((clusters, "yours".to_owned()));
    }
    let node = |name: &str, runtime: &str| Options {
        nodes: (1..=2)
            .map(|n| {
                let labels = vec![("countersign.dev/runtime".to_owned(), runtime.to_owned())];
                (format!("{name}-{n}"), labels)
            })
            .collect(),
        ..Options::default()
    };
    let (eks, metal) = futures::try_join!(
        Cluster::start(node("eks", "eks")),
        Cluster::start(node("metal", "metal"))
    )?;
    let detail = format!(
        "etcd, kube-apiserver, controller manager and scheduler each; nodes are simulated\n{}\n{}",
        eks.server(),
        metal.server()
    );
    Ok((vec![eks, metal], detail))
}

async fn hub() -> anyhow::Result<(World, String)> {
    let root = workspace::root();
    let folder = |name: &str| root.join(name);
    let (clusters, apps, policies) = (
        folder("clusters"),
        folder("manifests/apps"),
        folder("policies"),
    );
    let repo: GitRepo = repo_with(&[
        (Path::new(&clusters), "clusters"),
        (Path::new(&apps), "manifests/apps"),
        (Path::new(&policies), "policies"),
    ])?;
    let names: Vec<String> = CLUSTERS
        .iter()
        .map(|(name, environment)| format!("{name}={environment}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::start(repo, &names).await?;
    let detail = format!(
        "repository {}\nhub for agents {}, for operators {}",
        world.bare.path().display(),
        world.hub.agents_url(),
        world.hub.operators_url()
    );
    Ok((world, detail))
}

/// A witness, and the next trust root: one cluster applies nothing that the witness has not cosigned.
async fn witness(world: &mut World) -> anyhow::Result<(Witness, String)> {
    let log = world.trust.log_vkey(FLEET)?;
    let witness = Witness::start("witness.example/demo", std::slice::from_ref(&log)).await?;
    let file = world.trust.path().join("witnesses.txt");
    std::fs::write(&file, policy(&log, &[(witness.vkey(), witness.url())], 1))?;
    let (_, environment) = CLUSTERS
        .into_iter()
        .find(|(name, _)| *name == WITNESSED)
        .context("no such cluster")?;
    world
        .succeed(&[
            &["add", "witness-policy", &file.to_string_lossy()],
            &[
                "add",
                "cluster",
                &format!("{WITNESSED}={environment}:witnessed"),
            ],
        ])
        .await?;
    let detail = format!(
        "{} at {}; trust root version 2 is signed and published",
        witness.vkey().name(),
        witness.url()
    );
    Ok((witness, detail))
}

async fn join(world: &World, clusters: Vec<Cluster>) -> anyhow::Result<(Vec<Member>, String)> {
    let mut members = Vec::new();
    for ((name, _), cluster) in CLUSTERS.into_iter().zip(clusters) {
        members.push(Member {
            name,
            client: cluster.client().await?,
            agent: world.join(name, &cluster).await?,
            cluster,
        });
    }
    let commit = world.repo.head()?;
    let names: Vec<&str> = members.iter().map(|member| member.name).collect();
    let fleet = world
        .settled(&commit, &names)
        .await
        .with_context(|| logs(world, &members))?;
    let detail = fleet
        .clusters
        .iter()
        .map(|cluster| {
            format!(
                "{}: {} apps, {} objects, generation {}, {} and {}",
                cluster.name,
                cluster.apps,
                cluster.objects,
                cluster.generation_applied,
                cluster.sync.word(),
                cluster.health.word()
            )
        })
        .collect::<Vec<_>>()
        .join("\n");
    Ok((members, detail))
}

fn logs(world: &World, members: &[Member]) -> String {
    let mut text = format!("hub:\n{}", tail(&world.hub.process.log()));
    for member in members {
        text.push_str(&format!(
            "\nagent of {}:\n{}",
            member.name,
            tail(&member.agent.process.log())
        ));
    }
    text
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
