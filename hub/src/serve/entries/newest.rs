//! The newest state of a cluster, for a person who is about to say something of it while witnesses are away: the static files
//! don't have it yet.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use countersign_fleet::api::ProvenEntry;
use http::StatusCode;
use http::header::CACHE_CONTROL;

use super::{Refusal, open, proven};
use crate::serve::guard::problem;
use crate::serve::state::State;

/// The handler of `GET /log/newest/{cluster}`.
pub(crate) fn handler(state: Arc<State>) -> MethodRouter {
    get(newest).with_state(state)
}

async fn newest(Shared(state): Shared<Arc<State>>, Path(cluster): Path<String>) -> Response {
    match find(&state, &cluster) {
        Ok(found) => ([(CACHE_CONTROL, "no-store")], Json(found)).into_response(),
        Err(refusal) => problem(refusal.status, refusal.code, refusal.message),
    }
}

fn find(state: &State, cluster: &str) -> Result<ProvenEntry, Refusal> {
    let log = open(state)?;
    let none = || Refusal {
        status: StatusCode::NOT_FOUND,
        code: "NO_STATE",
        message: format!("nothing was sealed for a cluster {cluster:?}"),
    };
    let head = state.cluster(cluster).and_then(|known| known.newest.get());
    let head = head.ok_or_else(none)?;
    proven(log, head.envelope())?.ok_or_else(none)
}
