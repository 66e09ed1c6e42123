//! `cargo xtask bench`: builds the benchmark program in release and runs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use countersign_tests::{program, tool::Tool, workspace};

use crate::{step, tools};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only benchmarks whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where the JSON report goes; target/bench/report.json if not given
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where the same as a Markdown table goes
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// A few runs of small sizes, to see that the benchmarks work; their numbers mean nothing
    #[arg(long)]
    quick: bool,
    /// Use the dev build: quick to try, its numbers mean nothing
    #[arg(long)]
    dev: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    for tool in [Tool::TestCluster, Tool::Kwok] {
        tools::build(tool)?;
    }
    let mut argv = vec!["cargo", "build", "--workspace", "--bins", "--locked"];
    if !args.dev {
        argv.push("--release");
    }
    step::command(workspace::root(), &[], &argv)?;
    let programs = workspace::target().join(if args.dev { "debug" } else { "release" });
    let mut bench = Command::new(programs.join("countersign-bench"));
    bench.env(program::BUILT, &programs).stdin(Stdio::null());
    let report = args
        .report
        .clone()
        .unwrap_or_else(|| workspace::target().join("bench/report.json"));
    bench.arg("--report").arg(report);
    if let Some(markdown) = &args.markdown {
        bench.arg("--markdown").arg(markdown);
    }
    if args.quick {
        bench.arg("--quick");
    }
    if let Some(only) = &args.only {
        bench.args(["--only", only]);
    }
    let status = bench.status().context("run countersign-bench")?;
    ensure!(status.success(), "the benchmarks ended with {status}");
    Ok(())
}
