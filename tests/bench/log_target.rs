//! The hub's log alone, on loopback: a target for log load generators (Tessera's hammer: `POST /add` answers with the
//! index, the static files lie beside it). The hub itself has no such route.
#![forbid(unsafe_code)]

#[path = "log/stand.rs"]
mod stand;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use clap::Parser;
use countersign_hub::log::{Log, LogError};
use countersign_hub::store::Store;
use http::StatusCode;

use stand::Stand;

/// Largest entry that is taken, in bytes: what fits an entry's length field.
const ENTRY_BYTES_MAX: usize = 65_535;

/// Serves a log for load generators.
#[derive(Parser)]
struct Args {
    /// Folder of the log; made if it is missing
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen; loopback only, since anybody may append
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.listen.ip().is_loopback(),
        "--listen must be a loopback address: anybody may append"
    );
    let stand = Stand::open(&args.data, None).await?;
    println!("vkey {}", stand::vkey()?);
    // A log has its first checkpoint with its first entry, and load generators read one before they write.
    stand.log.append(vec![Bytes::from_static(b"begin")]).await?;
    let mut published = stand.log.published();
    published.wait_for(Option::is_some).await?;
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    println!("http://{}/", listener.local_addr()?);
    let router = Router::new()
        .route("/add", post(add).with_state(stand.log.clone()))
        .route("/{*path}", get(file).with_state(stand.store.clone()))
        .layer(DefaultBodyLimit::max(ENTRY_BYTES_MAX));
    let served = axum::serve(listener, router).await;
    stand.end().await;
    Ok(served?)
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
