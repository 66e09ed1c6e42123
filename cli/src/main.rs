//! `countersign`: the operators' command.

#![forbid(unsafe_code)]
// A program has no callers: `pub` marks what a module shows to the others.
#![allow(unreachable_pub)]

mod args;
mod audit;
mod command;
mod entry;
mod exit;
mod hub;
mod key;
mod local;
mod log;
mod output;
mod sources;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use exit::Failure;

/// An audit reads millions of small texts.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The second call in a process would fail; this is the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(renderer) = sandboxed() {
        // Nothing may have started a thread by now; this returns only with the reason why not.
        let error = countersign_fleet::render::sandbox::enter_and_exec(&renderer);
        eprintln!("countersign: sandbox: {error}");
        return ExitCode::from(3);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let color = cli.color.on_stdout();
    let outcome = match cli.command {
        Command::Status(args) => command::status::run(&args, color),
        Command::Lint(args) => command::lint::run(&args),
        Command::Render(args) => command::render::run(&args),
        Command::Diff(args) => command::diff::run(&args, color),
        Command::Lock(args) => command::lock::run(&args),
        Command::Sync(args) => command::sync::run(&args),
        Command::Verify(args) => command::verify::run(&args),
        Command::Permit(args) => command::permit::run(&args, color),
        Command::Pause(args) => command::overrides::pause(&args),
        Command::Resume(args) => command::overrides::resume(&args),
        Command::Override(args) => command::overrides::overrides(&args),
        Command::BreakGlass(args) => command::overrides::break_glass(&args),
        Command::Audit(args) => command::audit::run(&args, color),
        Command::Attest(args) => command::attest::run(&args),
        Command::Ci(args) => command::ci::run(&args),
        Command::Trust(args) => command::trust::run(&args),
        Command::Cluster(args) => command::cluster::run(&args),
        Command::Log(args) => command::log::run(&args),
        Command::Reproduce(args) => command::reproduce::run(&args),
        Command::Witness(args) => command::witness::run(&args),
        Command::Export(args) => command::export::run(&args),
        Command::Import(args) => command::import::run(&args),
        Command::Health(args) => return health(&args),
        Command::Completions(args) => command::completions::completions(&args),
        Command::Man(args) => command::completions::man(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ended(&failure),
    }
}

/// The renderer's path, if this process was started to become it: `countersign sandbox PATH`.
fn sandboxed() -> Option<std::path::PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    let asked = arguments.next()? == "sandbox";
    arguments.next().filter(|_| asked).map(Into::into)
}

fn ended(failure: &Failure) -> ExitCode {
    eprintln!("countersign: {failure}");
    ExitCode::from(failure.code())
}

fn health(args: &command::health::HealthArgs) -> ExitCode {
    match command::health::run(args, &mut std::io::stdin(), &mut std::io::stdout()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("countersign: {}", output::safe(&error.to_string()));
            ExitCode::from(error.code())
        }
    }
}
