//! `cargo xtask demo`: the project at work on two real control planes.

use std::time::Instant;

use countersign_tests::{
    cluster::{Cluster, Options},
    tool::Tool,
};

use crate::tools;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// End at once in place of waiting for Ctrl-C
    #[arg(long)]
    brief: bool,
}

/// The demo's clusters: name and the runtime that its nodes are labelled with.
const CLUSTERS: [(&str, &str); 2] = [("eks-frankfurt", "eks"), ("metal-berlin", "metal")];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    for tool in [Tool::TestCluster, Tool::Kwok] {
        tools::build(tool)?;
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(show(args))
}

async fn show(args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    let [first, second] = CLUSTERS.map(|(name, runtime)| Cluster::start(options(name, runtime)));
    let (first, second) = tokio::try_join!(first, second)?;
    println!(
        "two control planes are ready after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let kubectl = Tool::TestCluster.path()?;
    for ((name, _), cluster) in CLUSTERS.iter().zip([&first, &second]) {
        println!(
            "{name}: {}\n  {} kubectl --kubeconfig {} get nodes",
            cluster.server(),
            kubectl.display(),
            cluster.kubeconfig().display()
        );
    }
    if !args.brief {
        println!("Ctrl-C ends them");
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}

fn options(name: &str, runtime: &str) -> Options {
    let node = |number: u32| {
        (
            format!("{name}-{number}"),
            vec![("runtime".to_owned(), runtime.to_owned())],
        )
    };
    Options {
        nodes: vec![node(1), node(2)],
        ..Options::default()
    }
}
