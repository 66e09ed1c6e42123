//! An agent's first call: a join token for a client certificate of its receipt key.

use std::str::FromStr as _;

use countersign_proto::agent::v1 as wire;
use tonic::Status;

use super::csr;
use super::refuse::{fault, refuse};
use super::registry::{Candidate, NotRegistered, RegisterError, hex};
use super::state::State;
use super::tokens::{RedeemError, redeem};
use super::wire::text;

/// Registers an agent, or gives the same answer again if its first was lost.
///
/// # Cancel safety
/// May be dropped at any point; the agent asks again with the same token and key.
pub(crate) async fn register(
    state: &State,
    request: wire::RegisterRequest,
) -> Result<wire::RegisterResponse, Status> {
    let outcome = attempt(state, request).await;
    state.metrics.registration(match &outcome {
        Ok(_) => "OK",
        Err(status) if status.code() == tonic::Code::Unavailable => "FAULT",
        Err(_) => "REFUSED",
    });
    outcome
}

async fn attempt(
    state: &State,
    request: wire::RegisterRequest,
) -> Result<wire::RegisterResponse, Status> {
    let identity = request.identity.unwrap_or_default();
    let key = csr::key(&request.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
    age::x25519::Recipient::from_str(&request.encryption_recipient).map_err(|e| {
        Status::invalid_argument(format!(
            "encryption_recipient is not an age recipient (age1…): {e}"
        ))
    })?;
    if countersign_ledger::name::check("cluster", &request.cluster).is_err()
        || identity.uid.len() > 64
    {
        return Err(Status::invalid_argument(
            "cluster or identity is not of a form that exists",
        ));
    }
    let now = state.now();
    let (token, stored) = redeem(&state.records, &request.token, &request.cluster, &key, now)
        .await
        .map_err(|error| match error {
            RedeemError::Refused(why) => {
                tracing::warn!(cluster = request.cluster, %why, "a join token was refused");
                refuse(tonic::Code::Unauthenticated, "TOKEN_REFUSED", TOKEN_REFUSED)
            }
            RedeemError::Fault(error) => fault(&error),
        })?;
    if state.cluster(&request.cluster).is_none() {
        return Err(refuse(
            tonic::Code::FailedPrecondition,
            "UNKNOWN_CLUSTER",
            "the trust root lists no cluster of that name",
        ));
    }
    let candidate = Candidate {
        cluster: request.cluster,
        key,
        recipient: request.encryption_recipient,
        cluster_uid: identity.uid,
        ca_fingerprint: hex(&identity
            .ca_fingerprint
            .slice(..identity.ca_fingerprint.len().min(32))),
        kubernetes: text(identity.kubernetes),
        token: token.id().to_owned(),
        replace: stored.replace,
    };
    let registration =
        state
            .registry
            .register(&candidate, now)
            .await
            .map_err(|error| match error {
                RegisterError::Refused(why) => told_both(state, &candidate, &why),
                RegisterError::Fault(error) => fault(&error),
            })?;
    state.tell_access();
    tracing::info!(
        cluster = candidate.cluster,
        key = registration.key_digest(),
        number = registration.number,
        "agent registered"
    );
    state.tell_registered();
    let certificate = state
        .authority
        .client_certificate(&state.fleet, &candidate.cluster, &key, now)
        .map_err(|e| fault(&e))?;
    Ok(wire::RegisterResponse {
        certificate,
        trust_roots: state
            .trust()
            .documents
            .iter()
            .map(|(_, bytes)| bytes.clone())
            .collect(),
    })
}

/// One sentence for every reason, so that tokens can't be probed.
const TOKEN_REFUSED: &str = "the join token does not count: unknown, expired, used, or for another cluster; make a new one with `countersign cluster add`";

/// The newcomer is refused, and the one that is registered shows an alarm.
fn told_both(state: &State, candidate: &Candidate, why: &NotRegistered) -> Status {
    let (cluster, code) = match why {
        NotRegistered::SecondKey { cluster } => (cluster, "SECOND_KEY"),
        NotRegistered::SecondName { other } => (other, "SECOND_NAME"),
        NotRegistered::SharedKey { other } => (other, "SHARED_KEY"),
    };
    state.alarm_on(
        cluster,
        code,
        format!(
            "an agent asked to be registered as {} and was refused: {why}",
            candidate.cluster
        ),
    );
    refuse(tonic::Code::PermissionDenied, code, why.to_string())
}
