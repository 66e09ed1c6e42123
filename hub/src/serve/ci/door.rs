//! `POST /log/infrastructure`: the bearer's word, signed by the hub and put into the log. The same words again are the same
//! entry: nothing in it is of the moment.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_fleet::api::ci::{Attested, InfrastructureWord};
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, PAYLOAD_TYPE, pae};
use countersign_ledger::statement::Infrastructure;
use countersign_ledger::statement::infrastructure::{AddressCounts, Phase};
use countersign_ledger::trust::VerifiedRoot;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;

use super::token::{self, NoToken};
use super::workflows::WorkflowRefused;
use crate::serve::entries::{self, Refusal};
use crate::serve::guard::problem;
use crate::serve::limits::{ENTRIES_AT_ONCE, ENTRY_BLOB_BYTES_MAX, ENTRY_BODY_BYTES_MAX};
use crate::serve::state::State;

#[derive(Clone)]
struct Door {
    state: Arc<State>,
    places: Arc<Semaphore>,
}

/// The handler.
pub(crate) fn handler(state: Arc<State>) -> MethodRouter {
    let door = Door {
        state,
        places: Arc::new(Semaphore::new(ENTRIES_AT_ONCE)),
    };
    post(take)
        .with_state(door)
        .layer(DefaultBodyLimit::max(ENTRY_BODY_BYTES_MAX))
}

async fn take(
    Shared(door): Shared<Door>,
    headers: HeaderMap,
    body: Result<Json<InfrastructureWord>, JsonRejection>,
) -> Response {
    let Ok(place) = door.places.clone().try_acquire_owned() else {
        return problem(
            StatusCode::TOO_MANY_REQUESTS,
            "BUSY",
            "too many entries at once; ask again",
        );
    };
    let word = match body {
        Ok(Json(word)) => word,
        Err(error) => return problem(error.status(), "BODY_INVALID", error.body_text()),
    };
    // A task of its own: a caller that goes away half-way must not leave an entry in the log that nobody was told of.
    let taken = tokio::spawn(async move {
        let _place = place;
        enter(&door.state, &headers, word).await
    });
    let answer = match taken.await {
        Ok(answer) => answer,
        Err(error) => Err(Refusal::fault(&error)),
    };
    match answer {
        Ok(attested) => Json(attested).into_response(),
        Err(refusal) => problem(refusal.status, refusal.code, refusal.message),
    }
}

async fn enter(
    state: &State,
    headers: &HeaderMap,
    word: InfrastructureWord,
) -> Result<Attested, Refusal> {
    let trust = state.trust();
    let Some(root) = &trust.newest else {
        return Err(Refusal::not_ready());
    };
    let by = bearer(state, headers, root, &word).await?;
    let (statement, list) = statement(word, root, by)?;
    let Some(signer) = &state.agent_ca else {
        return Err(Refusal::unprocessable(
            "NO_AGENT_CA",
            "this hub has no key with which it could sign for a token",
        ));
    };
    let payload = statement
        .payload()
        .map_err(|error| Refusal::unprocessable("STATEMENT_INVALID", error.to_string()))?;
    let signature = signer
        .sign(&pae(PAYLOAD_TYPE, &payload))
        .await
        .map_err(|error| Refusal::fault(&error))?;
    let envelope = Envelope::assemble(PAYLOAD_TYPE, &payload, &[(signer.public(), signature)]);
    let attested = Bytes::copy_from_slice(envelope.bytes());
    let proof = entries::enter_for_token(state, envelope, statement, list).await?;
    Ok(Attested {
        envelope: STANDARD.encode(&attested),
        proof: STANDARD.encode(proof.bytes()),
    })
}

/// Whose word it is: the token counts, for this workspace and this environment.
async fn bearer(
    state: &State,
    headers: &HeaderMap,
    root: &VerifiedRoot,
    word: &InfrastructureWord,
) -> Result<String, Refusal> {
    let text = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = text.and_then(|text| text.strip_prefix("Bearer "));
    let token =
        token.ok_or_else(|| Refusal::forbidden("CI_TOKEN_MISSING", "needs a bearer token"))?;
    if token::is_ours(token) {
        let now = state.now().as_second();
        let claims = token::read(token, root, now).map_err(|error| {
            let code = match error {
                NoToken::Unknown => "CI_TOKEN_UNKNOWN",
                NoToken::Expired => "CI_TOKEN_EXPIRED",
            };
            Refusal::forbidden(code, error.to_string())
        })?;
        if claims.workspace != word.workspace || claims.environment != word.environment {
            return Err(Refusal::forbidden(
                "CI_TOKEN_SCOPE",
                "the token is of another workspace or environment",
            ));
        }
        return Ok(format!("token {}", claims.name));
    }
    let checked = state
        .guests
        .workflows
        .check(token, &word.workspace, &word.environment, state.now())
        .await;
    checked.map_err(|error| match error {
        WorkflowRefused::Fault(fault) => Refusal::fault(&fault),
        WorkflowRefused::Token(_) | WorkflowRefused::NotAllowed | WorkflowRefused::Claim(_) => {
            Refusal::forbidden("WORKFLOW_REFUSED", error.to_string())
        }
    })
}

/// The statement, and the list that it names.
fn statement(
    word: InfrastructureWord,
    root: &VerifiedRoot,
    by: String,
) -> Result<(Infrastructure, Bytes), Refusal> {
    let bad = |what: &str| Refusal::bad("BODY_INVALID", what.to_owned());
    let phase = match word.phase.as_str() {
        "plan" => Phase::Plan,
        "apply" => Phase::Apply,
        _ => return Err(bad("phase must be plan or apply")),
    };
    let list = STANDARD
        .decode(&word.resources)
        .map_err(|_| bad("resources must be base64"))?;
    if list.len() > ENTRY_BLOB_BYTES_MAX {
        return Err(bad("resources are too large"));
    }
    let plan: Digest = word
        .plan
        .parse()
        .map_err(|_| bad("plan must be a SHA-256 in hex"))?;
    let statement = Infrastructure {
        workspace: word.workspace,
        plan,
        fleet: root.fleet().to_owned(),
        environment: word.environment,
        phase,
        addresses: AddressCounts {
            create: word.create,
            update: word.update,
            delete: word.delete,
            replace: word.replace,
        },
        resources: Digest::of(&list),
        commit: word.commit,
        run: word.run,
        by,
    };
    Ok((statement, list.into()))
}
