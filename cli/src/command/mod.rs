//! One command a file.

pub mod attest;
pub mod audit;
pub mod ci;
pub mod cluster;
pub mod completions;
pub mod diff;
pub mod export;
pub mod health;
pub mod import;
pub mod lint;
pub mod lock;
pub mod log;
pub mod overrides;
pub mod permit;
pub mod render;
pub mod reproduce;
pub mod status;
pub mod sync;
pub mod trust;
pub mod verify;
pub mod witness;

use crate::exit::Failure;

/// Runs what waits for the hub.
pub(crate) fn wait<T>(what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Fault(format!("runtime: {e}")))?
        .block_on(what)
}
