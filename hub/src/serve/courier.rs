//! Clusters that no network reaches: a person carries parcels to them and reports back. Operators alone may do it, since a
//! parcel holds a cluster's Secrets, if only as ciphertexts for its own key.
//!
//! `export` writes what the cluster's agent would be sent; `import` takes in what it would say. Both call what serves agents
//! over the network, so nothing is decided here.

mod carried;
mod export;
mod import;

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State as Shared};
use axum::response::{IntoResponse as _, Response};
use countersign_fleet::api::ParcelRequest;
use http::{StatusCode, header};
use serde::Deserialize;
use tonic::Code;

use super::guard::problem;
use super::identity::Peer;
use super::refuse::CODE_HEADER;
use super::state::State;

/// `POST /api/v1/clusters/{cluster}/parcel`: the parcel, as it is read from the store.
pub(crate) async fn parcel(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    body: Result<Json<ParcelRequest>, JsonRejection>,
) -> Response {
    let asked = match body {
        Ok(Json(asked)) => asked,
        Err(error) => return problem(error.status(), "BAD_REQUEST", error.body_text()),
    };
    match export::parcel(&state, &name, asked).await {
        Ok(frames) => {
            tracing::info!(
                cluster = name,
                "a parcel is written for a cluster without a network"
            );
            (
                [
                    (header::CONTENT_TYPE, "application/octet-stream"),
                    (header::CACHE_CONTROL, "no-store"),
                ],
                Body::from_stream(frames),
            )
                .into_response()
        }
        Err(status) => told(&status),
    }
}

/// What a person says beside a report.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportQuery {
    /// SHA-256 of the receipt key that the person admits for this cluster, hex.
    admit: Option<String>,
}

/// `POST /api/v1/clusters/{cluster}/report`: takes in what an agent wrote.
pub(crate) async fn report(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    Query(query): Query<ReportQuery>,
    body: Bytes,
) -> Response {
    match import::report(&state, &name, query.admit.as_deref(), &body).await {
        Ok(taken) => Json(taken).into_response(),
        Err(status) => told(&status),
    }
}

/// What a cluster's certificate would say of it.
fn speaking(name: &str, key: [u8; 32]) -> Arc<Peer> {
    Arc::new(Peer {
        cluster: name.to_owned(),
        key,
        not_before: 0,
        not_after: i64::MAX,
    })
}

/// What would have been said over the network, said over HTTP.
fn told(status: &tonic::Status) -> Response {
    let http = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::FailedPrecondition | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::PermissionDenied | Code::Unauthenticated => StatusCode::FORBIDDEN,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let code = status.metadata().get(CODE_HEADER);
    let code = code
        .and_then(|code| code.to_str().ok())
        .unwrap_or("REFUSED");
    problem(http, code, status.message())
}
