//! `countersign-hub`: flags in, [`countersign_hub`] does the rest.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use countersign_hub::config::{Config, ConfigMistake, Options, with_file};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Follows a Git repository and signs what each cluster shall run.
#[derive(Parser)]
#[command(name = "countersign-hub", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow the repository, render, check, seal and serve until SIGTERM or Ctrl-C.
    ///
    /// Example: countersign-hub serve --repo https://git.example.org/acme/fleet.git --data /var/lib/countersign
    Serve(Box<Options>),
    /// Confines this process, then becomes the renderer. Started by `serve` alone.
    #[command(hide = true)]
    Sandbox {
        /// The renderer.
        program: std::path::PathBuf,
    },
}

/// Exit codes: 0 ended as asked, 1 failed, 2 wrong options.
fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Arguments::parse().command {
        Command::Sandbox { program } => {
            eprintln!(
                "countersign-hub: {}",
                countersign_fleet::render::sandbox::enter_and_exec(&program)
            );
            ExitCode::FAILURE
        }
        Command::Serve(options) => match config(*options) {
            Ok(config) => serve(config),
            Err(mistakes) => {
                for mistake in mistakes {
                    eprintln!("countersign-hub: {mistake}");
                }
                ExitCode::from(2)
            }
        },
    }
}

fn config(options: Options) -> Result<Config, Vec<ConfigMistake>> {
    let place = |problem: std::io::Error| {
        vec![ConfigMistake {
            option: "config",
            problem: problem.to_string(),
        }]
    };
    let here = std::env::current_dir().map_err(place)?;
    let program = std::env::current_exe().map_err(place)?;
    let beside = program.parent().unwrap_or(&here);
    Config::new(
        with_file(options).map_err(|mistake| vec![mistake])?,
        &here,
        beside,
    )
}

fn serve(config: Config) -> ExitCode {
    // reqwest, kube and rustls may log what they send; our own spans say what matters.
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if config.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("countersign-hub: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        match countersign_hub::hub::run(config, stop).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("countersign-hub: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
}
