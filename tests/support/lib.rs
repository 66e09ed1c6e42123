//! What end-to-end tests, the demo and the benchmarks stand on: handles that start the real thing, wait on a condition
//! and always end what they started.
//!
//! - [`cluster::Cluster`]: a real Kubernetes control plane, one a test binary.
//! - [`git::GitRepo`], [`git::GitServer`]: repositories to push to, on disk and over smart HTTP.
//! - [`s3::S3`]: an S3 store with atomic conditional writes.
//! - [`vault::Vault`]: keys in Vault's transit engine.
//! - [`witness::Witness`], [`witness::Omniwitness`]: witnesses of transparency logs, ours and one that isn't.
//! - [`process::Process`]: any program, its log in a file; [`hub`], [`agent`] and [`cli`] know ours.
//! - [`until`]: waits for a condition and shows what it saw last when it gives up.
//! - [`tool`]: the pinned Go tools, built once under `target/tools`.
//!
//! Everything listens on loopback alone. Nothing here depends on the programs' insides: they are started as a user would.
#![forbid(unsafe_code)]

pub mod agent;
/// A stand-in for a Helm repository or an OCI registry, shared with the unit tests of the fleet.
#[path = "../../fleet/src/source/tests/standin.rs"]
#[allow(missing_docs, missing_debug_implementations, clippy::unwrap_used)]
pub mod charts;
pub mod cli;
pub mod cluster;
pub mod git;
pub mod hub;
pub mod operator;
pub mod port;
pub mod process;
pub mod program;
pub mod rogue;
pub mod s3;
pub mod tool;
mod until;
pub mod vault;
mod watchdog;
pub mod witness;
pub mod workspace;
pub mod world;

pub use until::{InVain, Look, until, wait};

/// Makes *ring* the TLS provider of this process. Every handle that needs TLS calls it; calling it again does nothing.
pub fn install_tls() {
    // The error says that a provider is installed already, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
