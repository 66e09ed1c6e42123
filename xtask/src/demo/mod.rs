//! `cargo xtask demo`: the whole story on two real control planes, told as it happens.
//!
//! [`stage`] starts what is needed, [`scenes`] is what is shown, [`story`] tells it. Everything is a child of this process
//! and ends with it, whatever ends it.

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
