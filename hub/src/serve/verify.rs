//! A cluster is asked for a word now, and its answer is shown: a receipt in the log, with all that proves it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use countersign_fleet::api::{ProvenEntry, VerifyAnswer, VerifyAsked};
use countersign_ledger::digest::Digest;
use http::StatusCode;
use std::sync::atomic::Ordering;

use super::entries::{Refusal, proven};
use super::guard::problem;
use super::state::State;
use crate::log::Log;

type App = Shared<Arc<State>>;

/// `POST /api/v1/clusters/{cluster}/verify`.
pub(crate) async fn ask(Shared(state): App, Path(name): Path<String>, body: Bytes) -> Response {
    if !body.is_empty()
        && let Err(error) = serde_json::from_slice::<Nothing>(&body)
    {
        return told(Refusal::bad("BAD_REQUEST", error.to_string()));
    }
    match asked(&state, name) {
        Ok(asked) => (StatusCode::ACCEPTED, Json(asked)).into_response(),
        Err(refusal) => told(refusal),
    }
}

/// A question says nothing more.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn asked(state: &State, name: String) -> Result<VerifyAsked, Refusal> {
    log(state)?;
    let cluster = state.cluster(&name).ok_or_else(|| no_cluster(&name))?;
    let requested = state.now();
    let nonce = state.nonces.give(&name, requested);
    cluster.questions.ask(nonce, requested);
    tracing::info!(cluster = name, "a cluster is asked for a word");
    Ok(VerifyAsked {
        cluster: name,
        nonce: nonce.to_string(),
        requested,
        connected: cluster.streams.load(Ordering::Acquire) > 0,
    })
}

/// `GET /api/v1/clusters/{cluster}/verify/{nonce}`.
pub(crate) async fn answer(
    Shared(state): App,
    Path((name, nonce)): Path<(String, String)>,
) -> Response {
    match answered(&state, name, nonce).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => told(refusal),
    }
}

async fn answered(state: &State, name: String, nonce: String) -> Result<VerifyAnswer, Refusal> {
    let log = log(state)?;
    let cluster = state.cluster(&name).ok_or_else(|| no_cluster(&name))?;
    let Some(leaf) = cluster.questions.answer(&nonce) else {
        return Err(Refusal {
            status: StatusCode::NOT_FOUND,
            code: "NO_SUCH_QUESTION",
            message: format!("{name} was not asked this lately"),
        });
    };
    let (receipt, enrolment) = match leaf {
        None => (None, None),
        Some(leaf) => (entry(log, &leaf).await?, enrolment(log, &name).await?),
    };
    Ok(VerifyAnswer {
        cluster: name,
        nonce,
        receipt,
        enrolment,
    })
}

async fn enrolment(log: &Log, name: &str) -> Result<Option<ProvenEntry>, Refusal> {
    let enrolled = log.enrolled(name).map_err(|error| Refusal::fault(&error))?;
    match enrolled {
        Some(enrolled) => entry(log, &enrolled.leaf).await,
        None => Ok(None),
    }
}

async fn entry(log: &Log, leaf: &Digest) -> Result<Option<ProvenEntry>, Refusal> {
    let bytes = log.entry_of(leaf).await;
    match bytes.map_err(|error| Refusal::fault(&error))? {
        Some(bytes) => proven(log, &bytes),
        None => Ok(None),
    }
}

fn log(state: &State) -> Result<&Log, Refusal> {
    state.log.as_ref().ok_or_else(|| Refusal {
        status: StatusCode::CONFLICT,
        code: "NO_LOG",
        message: "this fleet has no log in which clusters could answer".to_owned(),
    })
}

fn no_cluster(name: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        code: "NO_SUCH_CLUSTER",
        message: format!("the trust root lists no cluster {name:?}"),
    }
}

fn told(refusal: Refusal) -> Response {
    problem(refusal.status, refusal.code, refusal.message)
}
