//! A witness as a part of another program: one call makes its folder if there is none, opens it and listens.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_ledger::tlog::note::Vkey;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::home::{Home, HomeError};
use crate::http;
use crate::serve::serve;
use crate::witness::{OpenError, Witness};

/// What a witness inside another program is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its folder; made with a new key at the first start.
    pub folder: PathBuf,
    /// Its name; final.
    pub name: String,
    /// The logs that it follows.
    pub logs: Vec<Vkey>,
    /// Where it listens.
    pub listen: SocketAddr,
}

/// It can't attend.
#[derive(Debug, thiserror::Error)]
pub enum AttendError {
    /// Its folder.
    #[error("witness: {0}")]
    Home(#[from] HomeError),
    /// Its state, or its logs.
    #[error("witness: {0}")]
    Open(#[from] OpenError),
    /// Its address.
    #[error("witness: {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
}

/// Listens until `stop`; the task then ends by itself.
///
/// # Errors
/// [`AttendError`]; nothing listens then.
pub async fn attend(
    settings: &Settings,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, AttendError> {
    let random = ring::rand::SystemRandom::new();
    let home = Home::open_or_make(&settings.folder, &settings.name, &random)?;
    let witness = Arc::new(Witness::open(home, &settings.logs, Clock::system())?);
    let address = settings.listen;
    let at = |error| AttendError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(at)?;
    let bound = listener.local_addr().map_err(at)?;
    let logs: Vec<&str> = witness.origins().collect();
    tracing::info!(address = %bound, key = %witness.vkey(), logs = logs.join(", "), "witness listening");
    Ok(tokio::spawn(serve(listener, http::router(witness), stop)))
}
