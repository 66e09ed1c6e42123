//! The real agent as its chart starts it where no network leads to a hub: a parcel in the one volume, its report in the other.

use std::{path::Path, time::Duration};

use countersign_tests::{
    cli::Cli,
    cluster::{Cluster, Options},
    git::GitRepo,
    port,
    process::Spec,
    program, until,
    world::World,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::{
    live,
    process::{arguments, kubeconfig},
};
use crate::{
    fixture::{CLUSTER, ONE, config_map},
    renderer,
};

const LIMIT: Duration = Duration::from_secs(120);
const CASE: &str = "airgap";

/// Carries the newest state of the cluster into a folder, as a person does.
fn carry(world: &World, into: &Path) {
    let part = into.join("part");
    let (data, out) = (world.hub.data(), part.clone());
    let args = ["export", "--cluster", ONE, "--out"].map(std::ffi::OsString::from);
    let args = args
        .into_iter()
        .chain([out.into(), "--data".into(), data.into()]);
    Cli::new().ok(args).unwrap();
    std::fs::rename(part, into.join("first.parcel")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_hub_reads_and_writes_the_volumes_of_its_chart_s_values() {
    let repo = GitRepo::new().unwrap();
    let files = [CLUSTER, ("clusters/one/a.yaml", &config_map("a", "v", "1"))];
    repo.commit_files(&files, "the fleet").unwrap();
    let world = World::start(repo, &["one=test"]).await.unwrap();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let client = cluster.client().await.unwrap();
    let objects = renderer::chart(&renderer::workers().await, "countersign-agent", CASE).await;
    live::namespace(&client, "countersign").await;
    for object in objects.iter().filter(|o| o["kind"] != "Pod") {
        live::apply(&client, CASE, object).await;
    }
    until("the first state is sealed", LIMIT, async || {
        let seen = world.operator.cluster(ONE).await?.summary;
        anyhow::ensure!(seen.generation_sealed == 1, "{seen:?}");
        Ok(())
    })
    .await;

    // What the pod's volumes would hold.
    let folder = tempfile::tempdir().unwrap();
    for name in ["trust", "data", "import", "export"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let trust = folder.path().join("trust/trust.json");
    std::fs::copy(world.trust.document(), trust).unwrap();
    carry(&world, &folder.path().join("import"));
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut args = arguments(
        &objects,
        &[
            ("/var/lib/countersign-agent", place("data")),
            ("/etc/countersign/trust", place("trust")),
            ("/import", place("import")),
            ("/export", place("export")),
        ],
        &[
            ("cluster", ONE.to_owned()),
            ("listen", port::free().unwrap().to_string()),
        ],
    );
    let kubeconfig = kubeconfig(&cluster, &client, folder.path()).await;
    args.push(format!("--kubeconfig={}", kubeconfig.display()));
    let program = program::path("countersign-agent").unwrap();
    let agent = Spec::new("agent", program, folder.path())
        .args(args)
        .start()
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    until("what the parcel holds is applied", LIMIT, async || {
        let found = maps.get_opt("a").await.unwrap();
        found.ok_or_else(|| agent.log())
    })
    .await;
    let report = folder.path().join("export/one.report");
    until("its report lies there", LIMIT, async || report.exists()).await;
}
