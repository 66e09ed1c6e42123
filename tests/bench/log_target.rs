//! The hub's log alone, on loopback: a target for log load generators (Tessera's hammer: `POST /add` answers with the
//! index, the static files lie beside it), or with `--measure` its own load. The hub itself has no such route.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use clap::Parser;
use countersign_hub::log::{self, Log, LogError, LogMetrics, Timing};
use countersign_hub::seal::{FileSigner, Signer};
use countersign_hub::serve::Clock;
use countersign_hub::store::{Index, Location, Store};
use countersign_ledger::key::FileKey;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

/// Largest entry that is taken, in bytes: what fits an entry's length field.
const ENTRY_BYTES_MAX: usize = 65_535;

/// Serves a log for load generators, or measures appends.
#[derive(Parser)]
struct Args {
    /// Folder of the log; made if it is missing
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen; loopback only, since anybody may append
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Measure for so many seconds instead of listening
    #[arg(long, value_name = "SECONDS")]
    measure: Option<u64>,
    /// Appends that wait at the same time, when measuring
    #[arg(long, value_name = "NUMBER", default_value_t = 128)]
    writers: usize,
    /// Bytes of an entry, when measuring
    #[arg(long, value_name = "BYTES", default_value_t = 1_024)]
    entry_bytes: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.listen.ip().is_loopback(),
        "--listen must be a loopback address: anybody may append"
    );
    std::fs::create_dir_all(&args.data)?;
    let store = Store::open(&Location::Folder(args.data.join("store")))?;
    let index = Arc::new(Index::open(&args.data.join("index.sqlite"))?);
    // A key that everybody knows: what it signs is worth nothing.
    let key = FileKey::from_seed(&[1; 32]).map_err(|error| anyhow::anyhow!("{error}"))?;
    let signer: Arc<dyn Signer> = Arc::new(FileSigner::new(key));
    let vkey = log::vkey("bench", signer.as_ref())?;
    println!("vkey {vkey}");
    let parts = log::Parts {
        signer,
        keys: vec![vkey],
        policy: None,
        timing: Timing::default(),
        clock: Clock::system(),
        metrics: LogMetrics::default(),
        alarm: Arc::new(|code, text| eprintln!("{code}: {text}")),
        stop: CancellationToken::new(),
    };
    let log = Log::open(store.clone(), index, parts).await?;
    match args.measure {
        Some(seconds) => measure(&log, &args, Duration::from_secs(seconds)).await,
        None => serve(log, store, args.listen).await,
    }
}

async fn measure(log: &Log, args: &Args, time: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let writers = (0..args.writers).map(|writer| {
        let (log, bytes) = (log.clone(), args.entry_bytes);
        tokio::spawn(async move {
            let (mut waits, mut number) = (Vec::new(), 0_u64);
            while began.elapsed() < time {
                let mut entry = format!("{writer} {number} {:?}", began).into_bytes();
                entry.resize(bytes.max(entry.len()), b'.');
                number += 1;
                let sent = Instant::now();
                log.append(vec![entry.into()]).await?;
                waits.push(sent.elapsed());
            }
            Ok::<_, LogError>(waits)
        })
    });
    let mut waits = Vec::new();
    for writer in futures::future::join_all(writers).await {
        waits.extend(writer??);
    }
    let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |share: usize| {
        waits
            .get(waits.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{} appends, {rate:.0} a second; p50 {:?}, p99 {:?}",
        waits.len(),
        at(50),
        at(99)
    );
    let size = log
        .claimed()
        .borrow()
        .as_ref()
        .map_or(0, |signed| signed.size);
    let published = |signed: &Option<Arc<log::Signed>>| {
        signed.as_ref().is_some_and(|signed| signed.size >= size)
    };
    let mut watched = log.published();
    tokio::time::timeout(Duration::from_secs(60), watched.wait_for(published))
        .await
        .context("the tiles of what was appended are not published within a minute")??;
    println!(
        "{size} entries published {:?} after the start",
        began.elapsed()
    );
    Ok(())
}

async fn serve(log: Log, store: Store, listen: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}/", listener.local_addr()?);
    let router = Router::new()
        .route("/add", post(add).with_state(log))
        .route("/{*path}", get(file).with_state(store))
        .layer(DefaultBodyLimit::max(ENTRY_BYTES_MAX));
    Ok(axum::serve(listener, router).await?)
}

async fn add(State(log): State<Log>, entry: Bytes) -> (StatusCode, String) {
    match log.append(vec![entry]).await {
        Ok(appended) => {
            let index = appended.indexes.first().copied().unwrap_or_default();
            (StatusCode::OK, index.to_string())
        }
        Err(LogError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy".to_owned()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn file(State(store): State<Store>, Path(path): Path<String>) -> (StatusCode, Bytes) {
    match store.get(&path).await {
        Ok(Some(bytes)) => (StatusCode::OK, bytes),
        Ok(None) => (StatusCode::NOT_FOUND, Bytes::new()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into()),
    }
}
