//! Benchmarks on real control planes. `cargo xtask bench` builds this in release and runs it.
//!
//! Numbers of one run are compared with each other: the machine is as fast in all of them. [`floor`] measures what a bare
//! client gets from the API server; all else is held against it. A file a benchmark; [`stand`] is what they start.
#![forbid(unsafe_code)]

mod drift_to_healed;
mod events;
mod floor;
mod idle;
mod initial_sync;
mod log;
mod memory;
mod push_to_live;
mod report;
mod size;
mod stand;
mod statistics;
mod unrelated_commit;
mod usage;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use countersign_tests::cluster::{Cluster, Options};

use report::Report;
use size::Size;

/// All benchmarks, in the order in which they run.
const NAMES: [&str; 8] = [
    "floor",
    "push_to_live",
    "drift_to_healed",
    "initial_sync",
    "memory",
    "idle",
    "unrelated_commit",
    "log",
];

/// Measures, prints a table and writes a report.
#[derive(Parser)]
struct Args {
    /// Where the JSON report goes
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Where the same as a Markdown table goes
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Only benchmarks whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// A few runs of small sizes, to see that the benchmarks work; their numbers mean nothing
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    countersign_tests::install_tls();
    let args = Args::parse();
    let chosen: Vec<&str> = NAMES
        .into_iter()
        .filter(|name| name.contains(&args.only))
        .collect();
    anyhow::ensure!(
        !chosen.is_empty(),
        "no benchmark's name contains {:?}; there are {}",
        args.only,
        NAMES.join(", ")
    );
    let size = if args.quick { Size::QUICK } else { Size::FULL };
    let mut report = Report::default();
    let done = run(&chosen, &size, &mut report).await;
    // What was measured before a failure is shown all the same.
    print!("{}", report.table());
    report.write(&args.report)?;
    if let Some(path) = &args.markdown {
        std::fs::write(path, report.markdown())
            .with_context(|| format!("write {}", path.display()))?;
    }
    done
}

async fn run(chosen: &[&str], size: &Size, report: &mut Report) -> anyhow::Result<()> {
    if chosen == ["log"] {
        return log::measure(size, report).await.context("log");
    }
    let cluster = Cluster::start(Options::default()).await?;
    // Targets scale with it, whatever else was chosen.
    let floor = floor::measure(&cluster, size, report).await?;
    for name in chosen {
        let done = match *name {
            "push_to_live" => push_to_live::measure(&cluster, size, &floor, report).await,
            "drift_to_healed" => drift_to_healed::measure(&cluster, size, &floor, report).await,
            "initial_sync" => initial_sync::measure(&cluster, size, report).await,
            "memory" => memory::measure(&cluster, size, report).await,
            "idle" => idle::measure(&cluster, size, report).await,
            "unrelated_commit" => unrelated_commit::measure(size, report).await,
            "log" => log::measure(size, report).await,
            _ => Ok(()),
        };
        done.with_context(|| (*name).to_owned())?;
    }
    Ok(())
}
