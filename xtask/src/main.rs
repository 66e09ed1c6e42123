//! Every development command: `cargo xtask <command>`.
#![forbid(unsafe_code)]

mod bench;
mod codegen;
mod demo;
mod long;
mod sources;
mod step;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use countersign_tests::{tool, workspace};

/// Development commands of Countersign.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every check and every test, as CI does
    Test(test::Args),
    /// Checks the rules that no compiler knows: dependency directions, names, the lock file
    Tidy,
    /// Builds the pinned Go programs into target/tools and prints where they are
    Tools,
    /// Writes the Go types of the renderer's frames from their .proto file
    Codegen {
        /// Write nothing; fail if the committed file differs
        #[arg(long)]
        check: bool,
    },
    /// Runs the whole story on two real control planes and tells it as it happens
    Demo(demo::Options),
    /// Measures, prints a table and writes target/bench/report.json
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let missing = tool::missing();
    for one in &missing {
        eprintln!("missing: {one}");
    }
    if !missing.is_empty() {
        return ExitCode::FAILURE;
    }
    let done = match args.command {
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
        Command::Tools => tools::run(),
        Command::Codegen { check } => codegen::run(workspace::root(), check),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
