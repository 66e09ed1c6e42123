//! `cargo xtask demo`: the whole story on two real control planes, told as it happens.
//!
//! [`stage`] starts what is needed, [`scenes`] is what is shown, [`story`] tells it. Everything is a child of this process
//! and ends with it, whatever ends it.

mod auditor;
mod fork;
mod rogue;
mod scenes;
mod stage;
mod story;

use std::path::PathBuf;

use clap::Args;
use stage::Stage;
use story::Story;

/// What the demo may be told.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run the story once, end everything and exit; non-zero if a step failed. Without it the fleet stays up to be
    /// looked at until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Write what happened to this file: {"steps":[{"name","ok","seconds","detail"}]}.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Use clusters that you have already: first the one that plays eks-eu-west-1, then the one that plays metal-fra.
    #[arg(long, value_name = "FILE", num_args = 1)]
    kubeconfig: Vec<PathBuf>,
}

/// Runs the demo.
///
/// # Errors
/// The first step that failed; the report is written all the same.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        matches!(options.kubeconfig.len(), 0 | 2),
        "--kubeconfig is given twice (eks-eu-west-1, then metal-fra) or not at all"
    );
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(tell(options))
}

async fn tell(options: &Options) -> anyhow::Result<()> {
    let mut story = Story::default();
    let result = acts(options, &mut story).await;
    if let Some(path) = &options.report {
        story.write(path)?;
    }
    result
}

async fn acts(options: &Options, story: &mut Story) -> anyhow::Result<()> {
    println!(
        "Countersign: every deployment is signed twice. Two clusters, one hub, one repository.\n"
    );
    let mut stage = Stage::build(story, &options.kubeconfig).await?;
    scenes::play(story, &mut stage).await?;
    if options.once {
        println!("\nThe end: everything that was started has ended.");
        return Ok(());
    }
    println!(
        "\nThe fleet stays up. Look around, then press Ctrl-C:\n{}",
        stage.directions()
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use countersign_tests::cluster::{Cluster, Options as Control};
    use k8s_openapi::api::core::v1::Namespace;

    use super::*;

    /// They are somebody's own: the story plays on them as on its own ones, and leaves them up.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_story_plays_on_clusters_that_are_there_and_leaves_them_up() {
        let own = || {
            let nodes = vec![("node-1".to_owned(), Vec::new())];
            Cluster::start(Control {
                nodes,
                ..Control::default()
            })
        };
        let (eks, metal) = futures::try_join!(own(), own()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let options = Options {
            once: true,
            report: Some(report.clone()),
            kubeconfig: [&eks, &metal]
                .map(|own| own.kubeconfig().to_owned())
                .to_vec(),
        };
        let told = tell(&options).await;
        let text = std::fs::read_to_string(report).unwrap();
        told.unwrap_or_else(|error| panic!("{error:#}\n{text}"));
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let steps = report["steps"].as_array().unwrap();
        assert!(
            steps.len() > 4 && steps.iter().all(|step| step["ok"] == true),
            "{text}"
        );
        assert_eq!(steps[1]["detail"], "yours");
        for own in [eks, metal] {
            let client = own.client().await.unwrap();
            let namespaces: kube::Api<Namespace> = kube::Api::all(client);
            assert!(namespaces.get_opt("kube-system").await.unwrap().is_some());
        }
    }
}
