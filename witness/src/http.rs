//! The protocol over HTTP: `POST /add-checkpoint`, `GET /<SHA-256 of the origin, hex>/checkpoint`, and a page that says
//! who this is.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_ledger::digest::Digest;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use tower_http::timeout::TimeoutLayer;

use crate::decide::Refusal;
use crate::limits::{BODY_BYTES_MAX, IN_FLIGHT_MAX, REQUEST_MAX};
use crate::witness::{NotCosigned, Witness};

/// The content type of a 409: the body is the known size.
const SIZE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A checkpoint is new every few minutes, and a monitor wants the newest.
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");
const SOON: HeaderValue = HeaderValue::from_static("1");

#[derive(Clone)]
struct Shared {
    witness: Arc<Witness>,
    places: Arc<Semaphore>,
}

/// All routes. Nobody is asked who they are: a request is worth what the log's signature in it is worth.
pub fn router(witness: Arc<Witness>) -> Router {
    routes(witness, REQUEST_MAX)
}

fn routes(witness: Arc<Witness>, request_max: Duration) -> Router {
    let shared = Shared {
        witness,
        places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
    };
    Router::new()
        .route("/", get(about))
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(checkpoint))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            request_max,
        ))
        .with_state(shared)
}

/// The witness's metrics as OpenMetrics text, for a listener of their own.
pub fn metrics_router(witness: Arc<Witness>) -> Router {
    Router::new().route(
        "/metrics",
        get(move || async move {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], witness.metrics().text())
        }),
    )
}

async fn add_checkpoint(State(shared): State<Shared>, body: Body) -> Response {
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        shared.witness.metrics().turned_away.inc();
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(RETRY_AFTER, SOON)],
            "too many requests are in the works\n",
        )
            .into_response();
    };
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        let text = format!("the body has more than {BODY_BYTES_MAX} bytes, or was cut off\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    };
    // Runs to its end even if the caller goes away: a checkpoint is remembered whole or not at all.
    let answered = tokio::task::spawn_blocking(move || {
        let _place = place;
        shared.witness.add_checkpoint(&body)
    });
    match answered.await {
        Ok(Ok(lines)) => ([(CONTENT_TYPE, TEXT)], lines).into_response(),
        Ok(Err(why)) => not_cosigned(&why),
        Err(error) => {
            tracing::error!(%error, "a request ended in a bug");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn not_cosigned(why: &NotCosigned) -> Response {
    match why {
        NotCosigned::Refused(refusal @ Refusal::NotTheKnown { known, .. }) => (
            refusal.status(),
            [(CONTENT_TYPE, SIZE)],
            format!("{known}\n"),
        )
            .into_response(),
        NotCosigned::Refused(refusal) => (
            refusal.status(),
            [(CONTENT_TYPE, TEXT)],
            format!("{refusal}\n"),
        )
            .into_response(),
        // What the disk said is for the log, not for strangers.
        NotCosigned::Fault(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, TEXT)],
            "the witness could not make it durable\n",
        )
            .into_response(),
    }
}

async fn checkpoint(State(shared): State<Shared>, Path(origin): Path<String>) -> Response {
    // One spelling: a digest with its prefix is another address.
    let origin: Option<Digest> = (origin.len() == 64).then(|| origin.parse().ok()).flatten();
    match origin.and_then(|origin| shared.witness.newest(&origin)) {
        Some(checkpoint) => (
            [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, FRESH)],
            Body::from(checkpoint),
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "no checkpoint cosigned yet\n").into_response(),
    }
}

/// For a person who opens the address.
async fn about(State(shared): State<Shared>) -> Response {
    let mut text = format!(
        "A witness of transparency logs (c2sp.org/tlog-witness).\n\nKey\n  {}\n\nLogs\n",
        shared.witness.vkey()
    );
    for origin in shared.witness.origins() {
        let address = Digest::of(origin.as_bytes());
        text.push_str(&format!("  {origin}\n    /{address}/checkpoint\n"));
    }
    ([(CONTENT_TYPE, TEXT)], text).into_response()
}

#[cfg(test)]
mod tests;
