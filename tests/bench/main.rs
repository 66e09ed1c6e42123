//! Benchmarks on real control planes. `cargo xtask bench` builds this in release and runs it.
//!
//! Numbers of one run are compared with each other: the machine is as fast in all of them. [`floor`] measures what a bare
//! client gets from the API server; all else is held against it.
#![forbid(unsafe_code)]

mod floor;
mod report;
mod statistics;

use std::path::PathBuf;

use clap::Parser;
use countersign_tests::cluster::{Cluster, Options};

use report::Report;

/// Measures, prints a table and writes a report.
#[derive(Parser)]
struct Args {
    /// Where the JSON report goes
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Only benchmarks whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut report = Report::default();
    if "floor".contains(&args.only) {
        let cluster = Cluster::start(Options::default()).await?;
        floor::measure(&cluster, &mut report).await?;
    }
    anyhow::ensure!(
        !report.is_empty(),
        "no benchmark's name contains {:?}",
        args.only
    );
    print!("{}", report.table());
    report.write(&args.report)
}
