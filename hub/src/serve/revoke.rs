//! A person takes a cluster's word away: from this moment its agent reads nothing, says nothing and renews nothing. What the
//! cluster runs goes on.

use std::sync::Arc;

use countersign_ledger::key::PublicKey;
use tonic::{Code, Status};

use super::enrol;
use super::records::RecordFault;
use super::registry::Revoked;
use super::state::State;

/// Why a cluster was not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRevoked {
    /// Nobody is registered for it.
    #[error("no agent is registered for {0}: there is nothing to revoke")]
    NotRegistered(String),
    /// The record could not be written: nothing changed.
    #[error(transparent)]
    Fault(#[from] RecordFault),
}

/// A cluster whose agent speaks no more.
pub(crate) struct Done {
    /// What was said, the first time.
    pub(crate) record: Arc<Revoked>,
    /// Where the log says so; none in a fleet without a log.
    pub(crate) index: Option<u64>,
    /// Why the log does not say so yet; it will.
    pub(crate) pending: Option<String>,
}

/// Revokes the key registered for `cluster`, first here, then in the log.
pub(crate) async fn revoke(
    state: &State,
    cluster: &str,
    reason: &str,
    by: &str,
) -> Result<Done, NotRevoked> {
    let known = state.cluster(cluster);
    let record = state.registry.revoke(cluster, reason, by, state.now());
    let record = record.await?;
    let record = record.ok_or_else(|| NotRevoked::NotRegistered(cluster.to_owned()))?;
    // Open streams end, and connections are judged anew with each request.
    state.tell_access();
    state.alarm_on(
        cluster,
        "AGENT_REVOKED",
        format!("its agent was revoked by {}: {}", record.by, record.reason),
    );
    // Receipts that are being judged are appended first: what comes after this is refused.
    let _turn = match &known {
        Some(known) => Some(known.receipts.lock().await),
        None => None,
    };
    let pending = match enrol::settle_one(state, cluster).await {
        Ok(()) => None,
        Err(error) => {
            tracing::error!(%error, cluster, "the log does not say yet that the key is revoked");
            Some(error.to_string())
        }
    };
    let at = state
        .log
        .as_ref()
        .map(|log| log.revoked(&PublicKey(record.key)));
    Ok(Done {
        record,
        index: at.and_then(Result::ok).flatten(),
        pending,
    })
}

/// What a revoked agent is told, whatever it asks.
pub(crate) fn revoked() -> Status {
    super::refuse::refuse(Code::PermissionDenied, "AGENT_REVOKED", REVOKED)
}

/// The sentence of it.
pub(crate) const REVOKED: &str = "this agent was revoked: the hub takes no word of it and gives it none; what the cluster runs goes on. A new one joins by `countersign cluster add NAME --replace`";
