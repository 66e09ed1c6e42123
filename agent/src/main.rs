//! `countersign-agent`: arguments to options, options to [`countersign_agent::agent::run`], signals to a stop.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use countersign_agent::agent;
use countersign_agent::config::{Args, Command, ConfigError, LogFormat, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two are enough for one cluster; the default is one a core, and a node may have 128.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let args = match Args::read(
        std::env::args_os().collect(),
        std::env::var_os("COUNTERSIGN_AGENT_CONFIG"),
    ) {
        Ok(args) => args,
        Err(ConfigError::Usage(usage)) => usage.exit(),
        Err(error) => {
            eprintln!("countersign-agent: {error}");
            return ExitCode::from(2);
        }
    };
    let Command::Run(options) = args.command;
    if let Err(error) = log(&options) {
        eprintln!("countersign-agent: --log {}: {error}", options.log);
        return ExitCode::from(2);
    }
    // The second call in a process errs; here it is the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(8)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("countersign-agent: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(*options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stopper = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopper.cancel();
    });
    let witness = match options.witness() {
        Some(settings) => Some(countersign_witness::attend(&settings, stop.clone()).await?),
        None => None,
    };
    let ended = agent::run(options, stop.clone()).await;
    stop.cancel();
    if let Some(witness) = witness {
        witness.await?;
    }
    Ok(ended?)
}

fn log(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    use tracing_subscriber::EnvFilter;
    // kube logs whole answers when it can't read them: never, they may hold a Secret.
    let filter = EnvFilter::try_new(&options.log)?.add_directive("kube_client=off".parse()?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        // Escape codes in a file help nobody.
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
