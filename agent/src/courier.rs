//! A cluster that no network reaches: parcels of its hub lie in one folder, reports of the agent in another, and a person
//! carries them.
//!
//! Inside the agent a stand-in for the hub answers the same calls out of those folders, so that everything that checks, applies
//! and countersigns is the same code, and no check can be left out. What a parcel says is believed as little as what a hub
//! says.
//!
//! ```text
//! import folder ─► [`parcel`] ─► [`desk`]: which parcel leads on from here ─► [`service`] ─► pull, receipts (as ever)
//!                                                              queue, position ─► [`bag`] ─► export folder
//! ```

mod bag;
mod desk;
mod folder;
mod parcel;
mod service;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use countersign_proto::agent::v1 as proto;
use countersign_proto::agent::v1::agents_server::AgentsServer;
use countersign_proto::limits::HEAD_BYTES_MAX;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::engine::Engine;
use crate::pull::roots::follow;

pub use bag::Bag;
use desk::Desk;
use service::Service;

/// Bytes between the two ends of a connection within this process.
const PIPE_BYTES: usize = 256 << 10;
/// Between two looks for the first trust root.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The enrolment that this agent signed and that a person is to carry.
pub type Signed = Arc<Mutex<Option<proto::EnrolRequest>>>;

/// A connection to the stand-in; each call opens one.
#[derive(Debug, Clone)]
pub struct Line(mpsc::UnboundedSender<io::Result<DuplexStream>>);

impl Line {
    /// Opens a connection.
    ///
    /// # Errors
    /// When the stand-in has ended.
    pub fn open(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.0
            .send(Ok(far))
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

/// Starts the stand-in for the hub of `cluster` over the parcels in `folder`, until `stop`.
///
/// # Errors
/// When the folder can't be watched.
pub fn start(
    folder: &Path,
    fleet: &str,
    cluster: &str,
    engine: &Arc<Engine>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> io::Result<(Line, Signed)> {
    let told = Arc::clone(engine);
    let tell = move |code: &'static str, file: &str, text: &str| {
        told.refused_once(code, file, &format!("{file}: {text}"));
    };
    let desk = Arc::new(Desk::new(fleet, cluster, Box::new(tell)));
    let watcher = folder::watch(folder, Arc::clone(&desk))?;
    let (line, connections) = mpsc::unbounded_channel();
    let signed = Signed::default();
    let service = AgentsServer::new(Service::new(desk, Arc::clone(&signed)))
        .max_decoding_message_size(HEAD_BYTES_MAX)
        .max_encoding_message_size(HEAD_BYTES_MAX);
    tasks.spawn(async move {
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(
                UnboundedReceiverStream::new(connections),
                stop.cancelled_owned(),
            );
        if let Err(error) = serving.await {
            tracing::error!(%error, "parcels are read no more");
        }
        drop(watcher);
    });
    Ok((Line(line), signed))
}

/// The trust root of this digest, out of any parcel in the folder, and those that follow it; waits until one is there.
pub async fn first_root(folder: &Path, digest: &Digest) -> Result<Roots, String> {
    loop {
        let (folder, wanted) = (folder.to_owned(), *digest);
        let found = tokio::task::spawn_blocking(move || root_in(&folder, &wanted));
        if let Some(roots) = found.await.map_err(|error| error.to_string())?? {
            return Ok(roots);
        }
        tracing::warn!("no parcel brings the trust root yet; trying again");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn root_in(folder: &Path, digest: &Digest) -> Result<Option<Roots>, String> {
    for path in folder::parcels(folder).map_err(|error| error.to_string())? {
        let Ok(parcel) = parcel::Parcel::read(&path) else {
            continue;
        };
        let documents = parcel.trust_roots();
        let Some(pinned) = documents.iter().find(|bytes| Digest::of(bytes) == *digest) else {
            continue;
        };
        let root = VerifiedRoot::pinned(pinned, digest, &RingVerifier);
        let mut roots = Roots::new(root.map_err(|refusal| refusal.to_string())?);
        follow(&mut roots, &documents).map_err(|refusal| refusal.to_string())?;
        return Ok(Some(roots));
    }
    Ok(None)
}

/// Where a cluster's report lies.
#[must_use]
pub fn report_path(folder: &Path, cluster: &str) -> PathBuf {
    folder.join(format!("{cluster}.report"))
}

#[cfg(test)]
mod tests;
