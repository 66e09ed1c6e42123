//! `countersign witness`: makes and runs a witness of transparency logs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use countersign_ledger::key::FileKey;
use countersign_ledger::tlog::note::Vkey;
use countersign_witness::{Clock, Home, HomeError, OpenError, StateError, Witness, http, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{CODES, Failure};
use crate::log::known::{Known, KnownArgs};
use crate::output::{safe, write};

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign witness init --name witness.example/w1 --data w1
  countersign witness run --data w1 --trust trust.json

A witness cosigns the newest checkpoint of each log that it follows, and only one that continues the one before. So who owns
the hub can't show one history to some clusters and another to the rest. It is worth what its distance to the hub is worth:
run it on another machine, under other hands. Any witness of c2sp.org/tlog-witness will do; this is a small one.

{CODES}"))]
pub struct WitnessArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a witness: its key, its name, its memory.
    #[command(after_help = "\
Example:
  countersign witness init --name witness.example/w1 --data w1 --url https://w1.witness.example

It writes
  DATA/witness.key    signs checkpoints: it never leaves this folder, and has no copy
  DATA/witness.vkey   its public half; goes into the trust root's witness policy
and prints the line for that policy. Name and key are final: a witness that lost its memory gets a new name and a new key.
So don't restore this folder from a backup; make a new witness and let the next trust root name that one.")]
    Init {
        /// The witness's name: a URL without scheme that is yours, unique among all witnesses.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Folder to make; it must be new or empty.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Where logs will reach it, for the printed line.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7446")]
        url: String,
    },
    /// Cosign checkpoints until stopped.
    #[command(after_help = "\
Examples:
  countersign witness run --data w1 --trust trust.json
  countersign witness run --data w1 --log countersign.dev/fleet/acme+530d903a+AekyeRrm… --listen 0.0.0.0:7446

It speaks plain HTTP: requests are signed by the log, answers by the witness, and nothing in them is secret. Before the
internet put a proxy with TLS in front of it.

  POST /add-checkpoint                   as c2sp.org/tlog-witness says
  GET  /<SHA-256 of an origin>/checkpoint  the newest that it cosigned
  GET  /                                 its key and its logs

It does not start (exit code 1) if what it remembers is damaged or gone: a witness that forgot could cosign a fork.")]
    Run {
        /// The folder that `init` made.
        #[arg(long, env = "COUNTERSIGN_WITNESS_DATA", value_name = "DIR")]
        data: PathBuf,
        /// A log to follow, by its key NAME+ID+KEY; may be said often, and twice for a log that changes its key.
        #[arg(long, value_name = "VKEY", required_unless_present = "trust")]
        log: Vec<Vkey>,
        /// Follow the log that this trust root names.
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        /// Address for logs and monitors.
        #[arg(
            long,
            env = "COUNTERSIGN_WITNESS_LISTEN",
            value_name = "ADDR",
            default_value = "127.0.0.1:7446"
        )]
        listen: SocketAddr,
        /// Address for /metrics; without it there are none.
        #[arg(long, env = "COUNTERSIGN_WITNESS_METRICS", value_name = "ADDR")]
        metrics: Option<SocketAddr>,
    },
}

/// Runs it.
pub fn run(args: &WitnessArgs) -> Result<(), Failure> {
    match &args.what {
        What::Init { name, data, url } => init(name, data, url),
        What::Run {
            data,
            log,
            trust,
            listen,
            metrics,
        } => {
            let mut logs = log.clone();
            if let Some(file) = trust {
                let known = KnownArgs {
                    trust: Some(file.clone()),
                    policy: None,
                    vkey: None,
                };
                logs.extend(Known::from_args(&known)?.logs);
            }
            attend(data, &logs, *listen, *metrics)
        }
    }
}

fn init(name: &str, data: &Path, url: &str) -> Result<(), Failure> {
    let key = FileKey::generate(&ring::rand::SystemRandom::new())
        .map_err(|error| Failure::Fault(error.to_string()))?;
    let vkey = Home::make(data, name, &key).map_err(home)?;
    write(&mut std::io::stdout(), &told(&vkey, data, url))
}

/// What the person is told. Pure.
fn told(vkey: &Vkey, data: &Path, url: &str) -> String {
    let data = safe(&data.display().to_string());
    let name = safe(vkey.name());
    // A policy names its witnesses as it likes; the last part of the name is short and reads well.
    let short = name.rsplit('/').next().unwrap_or(&name);
    format!(
        "Witness {name} is made.\n\n\
         \x20 {data}/witness.key    stays here: it never moves, and has no copy\n\
         \x20 {data}/witness.vkey   public\n\n\
         Line for the witness policy of the trust root:\n\
         witness {short} {vkey} {url}\n\n\
         Then run it, with the log's key or the trust root:\n\
         \x20 countersign witness run --data {data} --trust trust.json\n",
        url = safe(url),
    )
}

fn attend(
    data: &Path,
    logs: &[Vkey],
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let home = Home::open(data).map_err(home)?;
    let witness = Arc::new(Witness::open(home, logs, Clock::system()).map_err(opened)?);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Fault(format!("runtime: {error}")))?
        .block_on(until_stopped(witness, listen, metrics))
}

async fn until_stopped(
    witness: Arc<Witness>,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
) -> Result<(), Failure> {
    let fault = |error: std::io::Error| Failure::Fault(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let listener = bind("--listen", listen).await?;
    let stop = CancellationToken::new();
    let measured = match metrics {
        None => None,
        Some(address) => {
            let listener = bind("--metrics", address).await?;
            let router = http::metrics_router(Arc::clone(&witness));
            Some(tokio::spawn(serve(listener, router, stop.clone())))
        }
    };
    let address = listener
        .local_addr()
        .map_err(|e| Failure::Fault(e.to_string()))?;
    let logs: Vec<String> = witness.origins().map(safe).collect();
    tracing::info!(%address, key = %witness.vkey(), logs = logs.join(", "), "witness listening");
    let serving = tokio::spawn(serve(listener, http::router(witness), stop.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    let bug = |error| Failure::Fault(format!("the listener ended in a bug: {error}"));
    serving.await.map_err(bug)?;
    match measured {
        Some(measured) => measured.await.map_err(bug),
        None => Ok(()),
    }
}

async fn bind(option: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Fault(format!("{option} {address}: {error}")))
}

/// A folder that can't be used: whose turn it is.
fn home(error: HomeError) -> Failure {
    match error {
        HomeError::Io { path, error } => Failure::file(&path, &error),
        HomeError::State(error) => state(&error),
        error @ (HomeError::NotEmpty(_)
        | HomeError::InUse(_)
        | HomeError::NotMade(_)
        | HomeError::Name { .. }
        | HomeError::Key { .. }
        | HomeError::Vkey { .. }) => Failure::Mistake(error.to_string()),
    }
}

fn opened(error: OpenError) -> Failure {
    match error {
        OpenError::State(error) => state(&error),
        error @ (OpenError::NotALogKey { .. }
        | OpenError::Origin(_)
        | OpenError::TooManyKeys(_)) => Failure::Mistake(error.to_string()),
    }
}

fn state(error: &StateError) -> Failure {
    match error {
        StateError::Damaged { .. } => Failure::Negative(error.to_string()),
        StateError::Io { .. } => Failure::Fault(error.to_string()),
        StateError::TooManyLogs => Failure::Mistake(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_line_is_one_of_a_witness_policy() {
        let folder = tempfile::tempdir().unwrap();
        let key = FileKey::from_seed(&[7; 32]).unwrap();
        let data = folder.path().join("w1");
        let vkey = Home::make(&data, "witness.example/w1", &key).unwrap();
        let told = told(&vkey, &data, "http://127.0.0.1:7446");
        let line = told
            .lines()
            .find(|line| line.starts_with("witness "))
            .unwrap();
        let policy = format!("{line}\nquorum w1\n");
        let policy = countersign_ledger::tlog::policy::Policy::parse(policy.as_bytes()).unwrap();
        assert_eq!(policy.witness("w1").unwrap().vkey, vkey);
        assert!(!told.contains("PRIVATE"));
    }
}
