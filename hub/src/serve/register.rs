//! An agent's first call: a join token, or the token of its service account, for a client certificate of its receipt key.

use std::str::FromStr as _;

use countersign_proto::agent::v1 as wire;
use tonic::Status;

use countersign_ledger::statement::enrolment::Method;
use jiff::Timestamp;

use super::csr;
use super::enrol;
use super::join::JoinRefused;
use super::limits::JOIN_TOKEN_SECONDS;
use super::refuse::{fault, refuse};
use super::registry::{Candidate, NotRegistered, RegisterError, hex};
use super::state::State;
use super::tokens::{RedeemError, Stored, redeem};
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
    let identity = request.identity.clone().unwrap_or_default();
    let key = csr::key(&request.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
    age::x25519::Recipient::from_str(&request.encryption_recipient).map_err(|e| {
        Status::invalid_argument(format!(
            "encryption_recipient is not an age recipient (age1…): {e}"
        ))
    })?;
    if countersign_ledger::name::check("cluster", &request.cluster).is_err()
        || !(1..=64).contains(&identity.uid.len())
        || identity.ca_fingerprint.len() != 32
    {
        return Err(Status::invalid_argument(
            "cluster or identity is not of a form that exists",
        ));
    }
    let now = state.now();
    let proof = prove(state, &request, &key, now).await?;
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
        ca_fingerprint: hex(&identity.ca_fingerprint),
        kubernetes: text(identity.kubernetes),
        token: proof.by,
        method: proof.method,
        replace: proof.replace,
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
    if let Err(error) = enrol::settle_one(state, &candidate.cluster).await {
        // It is said again when the agent enrols, and at the next start.
        tracing::error!(%error, "the log does not say yet that the key before counts no more");
    }
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

/// How an agent proved which cluster it is of.
struct Proof {
    method: Method,
    /// The join token's id, or the service account.
    by: String,
    replace: bool,
}

async fn prove(
    state: &State,
    request: &wire::RegisterRequest,
    key: &[u8; 32],
    now: Timestamp,
) -> Result<Proof, Status> {
    let cluster = request.cluster.as_str();
    match (
        request.token.is_empty(),
        request.service_account_token.is_empty(),
    ) {
        (true, false) => {
            let token = &request.service_account_token;
            let by = state.issuers.check(cluster, token, now).await;
            let by = by.map_err(|why| not_joined(cluster, &why))?;
            Ok(Proof {
                method: Method::ServiceAccount,
                by,
                replace: false,
            })
        }
        (false, true) => {
            let (token, stored) = redeem(&state.records, &request.token, cluster, key, now)
                .await
                .map_err(|error| match error {
                    RedeemError::Refused(why) => {
                        tracing::warn!(cluster, %why, "a join token was refused");
                        token_refused()
                    }
                    RedeemError::Fault(error) => fault(&error),
                })?;
            if before_revocation(state, cluster, &stored) {
                tracing::warn!(
                    cluster,
                    "a join token from before the revocation was refused"
                );
                return Err(token_refused());
            }
            Ok(Proof {
                method: Method::Token,
                by: token.id().to_owned(),
                replace: stored.replace,
            })
        }
        (true, true) | (false, false) => Err(Status::invalid_argument(
            "either a join token or the token of a service account is needed",
        )),
    }
}

/// Was it made before the agent that is registered was revoked? Then it was made for that one.
fn before_revocation(state: &State, cluster: &str, stored: &Stored) -> bool {
    let registered = state.registration(cluster);
    let revoked = registered.and_then(|known| state.registry.revoked(&known.key));
    let life = jiff::SignedDuration::from_secs(JOIN_TOKEN_SECONDS);
    revoked.is_some_and(|revoked| stored.expires.duration_since(revoked.since) < life)
}

fn token_refused() -> Status {
    refuse(tonic::Code::Unauthenticated, "TOKEN_REFUSED", TOKEN_REFUSED)
}

/// One sentence for every reason; the hub's own log has the reason.
fn not_joined(cluster: &str, why: &JoinRefused) -> Status {
    match why {
        JoinRefused::Fault(error) => fault(error),
        JoinRefused::NotAllowed | JoinRefused::Token(_) => {
            tracing::warn!(cluster, %why, "a service account was refused");
            refuse(
                tonic::Code::Unauthenticated,
                "SERVICE_ACCOUNT_REFUSED",
                "the service account's token does not count for this cluster; the hub's log says why",
            )
        }
    }
}

/// One sentence for every reason, so that tokens can't be probed.
const TOKEN_REFUSED: &str = "the join token does not count: unknown, expired, used, or for another cluster; make a new one with `countersign cluster add`";

/// The newcomer is refused, and the one that is registered shows an alarm.
fn told_both(state: &State, candidate: &Candidate, why: &NotRegistered) -> Status {
    let (cluster, code) = match why {
        NotRegistered::SecondKey { cluster } => (cluster, "SECOND_KEY"),
        NotRegistered::SecondName { other } => (other, "SECOND_NAME"),
        NotRegistered::SharedKey { other } => (other, "SHARED_KEY"),
        NotRegistered::KeyRevoked { cluster } => {
            state.alarm_on(
                cluster,
                "KEY_REVOKED",
                "a revoked agent asked to be registered again and was refused",
            );
            return refuse(
                tonic::Code::PermissionDenied,
                "KEY_REVOKED",
                why.to_string(),
            );
        }
    };
    state.warn_on(
        cluster,
        code,
        format!(
            "an agent asked to be registered as {} and was refused: {why}",
            candidate.cluster
        ),
    );
    refuse(tonic::Code::PermissionDenied, code, why.to_string())
}
