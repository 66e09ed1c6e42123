//! The operators' JSON API, on a Unix socket and on loopback. Routes come from the access table.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router};
use countersign_fleet::api::ci::{CiToken, CiTokenRequest};
use countersign_fleet::api::{
    HealthState, JoinToken, JoinTokenRequest, ObjectName, PermitRequest, Permits, Revocation,
    RevokeRequest, SyncStarted, SyncState,
};
use countersign_proto::limits::REPORT_FILE_BYTES_MAX;
use http::StatusCode;
use serde::Deserialize;

use super::access::{Caller, Endpoint, Surface, TABLE};
use super::guard::problem;
use super::limits::{OBJECTS_PER_PAGE_MAX, OPERATOR_BODY_BYTES_MAX, REASON_BYTES_MAX};
use super::records::RecordFault;
use super::registry::hex;
use super::revoke::{self, NotRevoked};
use super::state::State;
use super::views::{self, DriftQuery, ObjectQuery};
use super::{ci, courier, openapi, permits, said, tokens, verify};

type App = Shared<Arc<State>>;

/// The router over the rows of the table that belong here.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router = Router::new();
    for row in TABLE.iter().filter(|row| row.surface == Surface::Operators) {
        if let Some(handler) = handler(row.endpoint) {
            router = router.route(row.path, handler);
        }
    }
    router
        .layer(DefaultBodyLimit::max(OPERATOR_BODY_BYTES_MAX))
        .layer(tower_http::timeout::RequestBodyTimeoutLayer::new(
            super::limits::BODY_PIECE_MAX,
        ))
        .with_state(state)
}

fn handler(endpoint: Endpoint) -> Option<MethodRouter<Arc<State>>> {
    match endpoint {
        Endpoint::OpenApi => Some(get(async || Json(openapi::document()))),
        Endpoint::Fleet => Some(get(async |Shared(state): App| Json(views::fleet(&state)))),
        Endpoint::Overrides => Some(get(overrides)),
        Endpoint::Cluster => Some(get(cluster)),
        Endpoint::Objects => Some(get(objects)),
        Endpoint::Apps => Some(get(async |Shared(state): App| Json(views::apps(&state)))),
        Endpoint::App => Some(get(app)),
        Endpoint::Drifts => Some(get(drifts)),
        Endpoint::Sync => Some(post(sync)),
        Endpoint::JoinToken => Some(post(join_token)),
        Endpoint::Parcel => Some(post(courier::parcel)),
        Endpoint::ReportFile => {
            Some(post(courier::report).layer(DefaultBodyLimit::max(REPORT_FILE_BYTES_MAX)))
        }
        Endpoint::Revoke => Some(post(revoke_agent)),
        Endpoint::VerifyAsk => Some(post(verify::ask)),
        Endpoint::VerifyAnswer => Some(get(verify::answer)),
        Endpoint::Permits => Some(get(list_permits)),
        Endpoint::Permit => Some(post(give_permit)),
        Endpoint::CiToken => Some(post(ci_token)),
        Endpoint::Healthz
        | Endpoint::Readyz
        | Endpoint::Metrics
        | Endpoint::WebhookGithub
        | Endpoint::WebhookGitlab
        | Endpoint::WebhookGitea
        | Endpoint::Log
        | Endpoint::LogEntries
        | Endpoint::LogInfrastructure
        | Endpoint::LogTrust
        | Endpoint::LogSalts
        | Endpoint::LogNewest
        | Endpoint::Grpc => None,
    }
}

/// An answer that is not a success.
struct Failed(Response);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Failed {
    fn bad(message: impl Into<String>) -> Self {
        Self(problem(StatusCode::BAD_REQUEST, "BAD_REQUEST", message))
    }

    fn no_cluster(name: &str) -> Self {
        Self(problem(
            StatusCode::NOT_FOUND,
            "NO_SUCH_CLUSTER",
            format!("the trust root lists no cluster {name:?}"),
        ))
    }
}

impl From<RecordFault> for Failed {
    fn from(error: RecordFault) -> Self {
        tracing::error!(%error, "an operator's request failed");
        Self(problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "FAULT",
            error.to_string(),
        ))
    }
}

impl From<QueryRejection> for Failed {
    fn from(error: QueryRejection) -> Self {
        Self::bad(error.body_text())
    }
}

impl From<JsonRejection> for Failed {
    fn from(error: JsonRejection) -> Self {
        Self(problem(error.status(), "BAD_REQUEST", error.body_text()))
    }
}

async fn overrides(Shared(state): App) -> Response {
    match said::list(&state).await {
        Ok(found) => Json(found).into_response(),
        Err(refusal) => problem(refusal.status, refusal.code, refusal.message),
    }
}

async fn cluster(Shared(state): App, Path(name): Path<String>) -> Result<Response, Failed> {
    let found = views::cluster(&state, &name).ok_or_else(|| Failed::no_cluster(&name))?;
    Ok(Json(found).into_response())
}

async fn ci_token(
    Shared(state): App,
    body: Result<Json<CiTokenRequest>, JsonRejection>,
) -> Result<Response, Failed> {
    let Json(request) = body?;
    let Some(signer) = &state.agent_ca else {
        return Err(Failed(problem(
            StatusCode::CONFLICT,
            "NO_AGENT_CA",
            "the trust root lists no agent CA, whose key makes tokens",
        )));
    };
    let lasting = i64::try_from(request.seconds).unwrap_or(i64::MAX);
    let until = state.now().as_second().saturating_add(lasting);
    let claims = ci::Claims {
        fleet: state.fleet.clone(),
        workspace: request.workspace,
        environment: request.environment,
        name: request.name,
        until,
    };
    let made = ci::mint(&claims, request.seconds, signer.as_ref()).await;
    let token = made.map_err(|error| match error {
        ci::NotMade::Mistake { .. } => Failed::bad(error.to_string()),
        ci::NotMade::Sign(_) => Failed(problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "FAULT",
            error.to_string(),
        )),
    })?;
    tracing::info!(
        workspace = claims.workspace,
        environment = claims.environment,
        name = claims.name,
        until,
        "a token for CI was made"
    );
    let expires = jiff::Timestamp::from_second(until).unwrap_or(jiff::Timestamp::MAX);
    let status = StatusCode::CREATED;
    Ok((status, Json(CiToken { token, expires })).into_response())
}

async fn app(Shared(state): App, Path(name): Path<String>) -> Result<Response, Failed> {
    match views::app(&state, &name) {
        Some(found) => Ok(Json(found).into_response()),
        None => Err(Failed(problem(
            StatusCode::NOT_FOUND,
            "NO_SUCH_APP",
            format!("no app is named {name:?}"),
        ))),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectParams {
    app: Option<String>,
    sync: Option<SyncState>,
    health: Option<HealthState>,
    after: Option<String>,
    limit: Option<usize>,
}

async fn objects(
    Shared(state): App,
    Path(name): Path<String>,
    query: Result<Query<ObjectParams>, QueryRejection>,
) -> Result<Response, Failed> {
    let Query(params) = query?;
    if params
        .limit
        .is_some_and(|limit| !(1..=OBJECTS_PER_PAGE_MAX).contains(&limit))
    {
        return Err(Failed::bad(format!(
            "limit must be 1 to {OBJECTS_PER_PAGE_MAX}"
        )));
    }
    let after = match params.after.as_deref().map(str::parse::<ObjectName>) {
        None => None,
        Some(Ok(name)) => Some(name),
        Some(Err(error)) => return Err(Failed::bad(format!("after: {error}"))),
    };
    let query = ObjectQuery {
        app: params.app,
        sync: params.sync,
        health: params.health,
        after,
        limit: params.limit,
    };
    let found = views::objects(&state, &name, &query).ok_or_else(|| Failed::no_cluster(&name))?;
    Ok(Json(found).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DriftParams {
    cluster: Option<String>,
    app: Option<String>,
    limit: Option<usize>,
}

async fn drifts(
    Shared(state): App,
    query: Result<Query<DriftParams>, QueryRejection>,
) -> Result<Response, Failed> {
    let Query(params) = query?;
    if let Some(name) = &params.cluster
        && state.cluster(name).is_none()
    {
        return Err(Failed::no_cluster(name));
    }
    let query = DriftQuery {
        cluster: params.cluster,
        app: params.app,
        limit: params.limit,
    };
    Ok(Json(views::drifts(&state, &query)).into_response())
}

/// A request to look now says nothing more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn sync(Shared(state): App, body: Bytes) -> Result<Response, Failed> {
    if !body.is_empty() {
        serde_json::from_slice::<Nothing>(&body).map_err(|error| {
            Failed(problem(
                StatusCode::BAD_REQUEST,
                "BAD_REQUEST",
                error.to_string(),
            ))
        })?;
    }
    let requested = state.now();
    state.wake();
    Ok((StatusCode::ACCEPTED, Json(SyncStarted { requested })).into_response())
}

async fn join_token(
    Shared(state): App,
    Path(name): Path<String>,
    body: Result<Json<JoinTokenRequest>, JsonRejection>,
) -> Result<Response, Failed> {
    let Json(request) = body?;
    if state.cluster(&name).is_none() {
        return Err(Failed::no_cluster(&name));
    }
    if state.registration(&name).is_some() && !request.replace {
        return Err(Failed(problem(
            StatusCode::CONFLICT,
            "REGISTERED",
            format!(
                "an agent is registered for {name} already; to let another take its place, ask with replace"
            ),
        )));
    }
    let (token, stored) =
        tokens::issue(&state.records, &name, request.replace, state.now()).await?;
    tracing::info!(
        cluster = name,
        token = token.id(),
        replace = request.replace,
        "join token made"
    );
    let answer = JoinToken {
        cluster: name,
        token: token.reveal(),
        expires: stored.expires,
        trust: format!("sha256:{}", state.trust().in_use.digest),
        hub: state.agents_url.clone(),
    };
    Ok((
        StatusCode::CREATED,
        [(http::header::CACHE_CONTROL, "no-store")],
        Json(answer),
    )
        .into_response())
}

async fn revoke_agent(
    Shared(state): App,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Result<Json<RevokeRequest>, JsonRejection>,
) -> Result<Response, Failed> {
    let Json(request) = body?;
    if state.cluster(&name).is_none() {
        return Err(Failed::no_cluster(&name));
    }
    let reason = request.reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control)
    {
        return Err(Failed::bad(format!(
            "reason must be 1 to {REASON_BYTES_MAX} bytes on one line"
        )));
    }
    let by = operator(&caller, "only operators revoke agents")?;
    let done = match revoke::revoke(&state, &name, reason, &by).await {
        Ok(done) => done,
        Err(NotRevoked::Fault(error)) => return Err(error.into()),
        Err(error @ NotRevoked::NotRegistered(_)) => {
            return Err(Failed(problem(
                StatusCode::CONFLICT,
                "NOT_REGISTERED",
                error.to_string(),
            )));
        }
    };
    let record = &done.record;
    Ok(Json(Revocation {
        cluster: record.cluster.clone(),
        key: hex(countersign_ledger::digest::Digest::of(&record.key).as_bytes()),
        reason: record.reason.clone(),
        by: record.by.clone(),
        since: record.since,
        index: done.index,
        pending: done.pending,
    })
    .into_response())
}

/// Who asks, if it is an operator.
fn operator(caller: &Caller, otherwise: &str) -> Result<Arc<str>, Failed> {
    match caller {
        Caller::Operator(who) => Ok(who.clone()),
        Caller::Anonymous | Caller::Agent(_) | Caller::Revoked => Err(Failed(problem(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            otherwise,
        ))),
    }
}

async fn list_permits(Shared(state): App) -> Result<Response, Failed> {
    state.permits().refresh().await?;
    let permits = state
        .permits()
        .all()
        .iter()
        .map(|permit| (**permit).clone())
        .collect();
    let signed_only = state.permits().signed_only();
    Ok(Json(Permits {
        permits,
        signed_only,
    })
    .into_response())
}

async fn give_permit(
    Shared(state): App,
    Extension(caller): Extension<Caller>,
    body: Result<Json<PermitRequest>, JsonRejection>,
) -> Result<Response, Failed> {
    let Json(request) = body?;
    let request = permits::parse(request).map_err(|error| {
        Failed(problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "BAD_PERMIT",
            error.to_string(),
        ))
    })?;
    let by = operator(&caller, "only operators give permits")?;
    if let Some(why) = state.permits().unsigned_refused() {
        return Err(Failed(problem(
            StatusCode::FORBIDDEN,
            permits::UNSIGNED,
            why,
        )));
    }
    let permit = state.permits().give(request, &by, state.now()).await?;
    tracing::info!(
        id = permit.id,
        by = permit.by,
        reason = permit.reason,
        "permit given"
    );
    state.wake();
    Ok((StatusCode::CREATED, Json((*permit).clone())).into_response())
}
