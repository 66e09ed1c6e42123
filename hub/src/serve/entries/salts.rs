//! Salts of Secrets for second renderers. What is asked for is signed by a key that the newest trust root lists for them,
//! for a few minutes; whoever else has a commitment could guess at what it commits to.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_fleet::api::{SALTS_MAX, SALTS_SECONDS_MAX, SALTS_TYPE, SaltsAnswer, SaltsRequest};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::trust::{Role, VerifiedRoot};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use jiff::Timestamp;

use super::Refusal;
use super::accept::signer;
use crate::log::Log;
use crate::serve::guard::problem;
use crate::serve::limits::SALTS_BODY_BYTES_MAX;
use crate::serve::state::State;

/// The handler of `POST /log/salts`.
pub(crate) fn handler(state: Arc<State>) -> MethodRouter {
    post(give)
        .with_state(state)
        .layer(DefaultBodyLimit::max(SALTS_BODY_BYTES_MAX))
}

async fn give(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    match answer(&state, &body) {
        Ok(bytes) => {
            let kinds = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-store"),
            ];
            (kinds, bytes).into_response()
        }
        Err(refusal) => problem(refusal.status, refusal.code, refusal.message),
    }
}

fn answer(state: &State, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let trust = state.trust();
    let (Some(log), Some(root)) = (&state.log, &trust.newest) else {
        return Err(Refusal::not_ready());
    };
    let (asked, by) = read(body, root, state.now())?;
    let found = find(log, &asked)?;
    tracing::info!(
        by,
        cluster = asked.cluster,
        salts = found.salts.len(),
        "salts were given to a second renderer"
    );
    serde_json::to_vec(&found).map_err(|error| Refusal::fault(&error))
}

/// Who asks for what, and may. Pure.
fn read(
    body: &[u8],
    root: &VerifiedRoot,
    now: Timestamp,
) -> Result<(SaltsRequest, String), Refusal> {
    let bad = |why: String| Refusal::bad("SALTS_REQUEST", why);
    let envelope =
        Envelope::parse(body, &Limits::entry()).map_err(|error| bad(error.to_string()))?;
    if envelope.payload_type() != SALTS_TYPE {
        return Err(bad(format!("the payload type must be {SALTS_TYPE}")));
    }
    let (by, _) = signer(&envelope, root, Role::Reproducer)?;
    let asked: SaltsRequest =
        serde_json::from_slice(envelope.payload()).map_err(|error| bad(error.to_string()))?;
    if asked.fleet != root.fleet() || !root.document().clusters.contains_key(&asked.cluster) {
        return Err(bad("is of another fleet or cluster".to_owned()));
    }
    let left = asked.until.duration_since(now).as_secs();
    if !(0..=SALTS_SECONDS_MAX).contains(&left) {
        return Err(bad(format!(
            "until must be within {SALTS_SECONDS_MAX} s from now, which is {now}"
        )));
    }
    if asked.commitments.len() > SALTS_MAX {
        return Err(bad(format!("at most {SALTS_MAX} commitments")));
    }
    Ok((asked, by))
}

fn find(log: &Log, asked: &SaltsRequest) -> Result<SaltsAnswer, Refusal> {
    let mut answer = SaltsAnswer::default();
    for commitment in &asked.commitments {
        let salt = log
            .salt(&asked.cluster, commitment)
            .map_err(|error| Refusal::fault(&error))?;
        if let Some(salt) = salt {
            answer.salts.insert(*commitment, STANDARD.encode(salt));
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use countersign_ledger::Digest;
    use countersign_ledger::dsse;
    use countersign_ledger::key::Sign;
    use jiff::SignedDuration;

    use super::super::accept::tests::{key, root};
    use super::*;

    fn asks(by: &str, change: impl Fn(&mut SaltsRequest)) -> Result<String, &'static str> {
        let mut asked = SaltsRequest {
            fleet: "acme".into(),
            cluster: "eks".into(),
            until: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60),
            commitments: vec![Digest::of(b"commitment")],
        };
        change(&mut asked);
        let payload = serde_json::to_vec(&asked).unwrap();
        let key = key(by);
        let signers: [&dyn Sign; 1] = [&key];
        let envelope = dsse::sign(SALTS_TYPE, &payload, &signers).unwrap();
        let read = read(envelope.bytes(), &root(), Timestamp::UNIX_EPOCH);
        read.map(|(_, by)| by).map_err(|refusal| refusal.code)
    }

    #[test]
    fn salts_are_for_second_renderers_of_this_fleet_and_not_for_long() {
        assert_eq!(asks("rita", |_| {}), Ok("rita".to_owned()));
        for other in ["olga", "sealer", "nobody"] {
            assert_eq!(asks(other, |_| {}), Err("SIGNATURE_INVALID"), "{other}");
        }
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        for until in [at(-1), at(SALTS_SECONDS_MAX + 1)] {
            assert_eq!(
                asks("rita", |asked| asked.until = until),
                Err("SALTS_REQUEST")
            );
        }
        for change in [
            |asked: &mut SaltsRequest| asked.fleet = "other".into(),
            |asked: &mut SaltsRequest| asked.cluster = "other".into(),
            |asked: &mut SaltsRequest| asked.commitments = vec![Digest::of(b"x"); SALTS_MAX + 1],
        ] {
            assert_eq!(asks("rita", change), Err("SALTS_REQUEST"));
        }
    }
}
