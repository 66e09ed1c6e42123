//! The HTTP side of the agents' listener: probes, metrics, push webhooks, merged with the gRPC services.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::{HeaderMap, StatusCode, header};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::access::{Endpoint, Surface, TABLE};
use super::guard::problem;
use super::limits::{BODY_PIECE_MAX, WEBHOOK_BODY_BYTES_MAX};
use super::state::State;
use super::{agents, ci, entries, logfiles, publish};

/// Takes a push webhook: headers and raw body in, HTTP status and a sentence out. It verifies before it parses.
pub type Hook = Arc<dyn Fn(&HeaderMap, &[u8]) -> (u16, String) + Send + Sync>;

/// The webhooks that have a secret; one without has no route.
#[derive(Clone, Default)]
pub struct Webhooks {
    /// GitHub's.
    pub github: Option<Hook>,
    /// GitLab's.
    pub gitlab: Option<Hook>,
    /// Gitea's and Forgejo's.
    pub gitea: Option<Hook>,
}

/// Why the gRPC services can't be put together.
#[derive(Debug, thiserror::Error)]
#[error("gRPC reflection: {0}")]
pub struct RoutesError(String);

/// The router over the rows of the table that belong here.
pub(crate) fn router(
    state: Arc<State>,
    metrics: Arc<Registry>,
    webhooks: &Webhooks,
    stop: CancellationToken,
) -> Result<Router, RoutesError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(countersign_proto::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("countersign.agent.v1.Agents")
        .with_service_name("grpc.health.v1.Health")
        .build_v1()
        .map_err(|e| RoutesError(e.to_string()))?;
    let health = tonic_health::pb::health_server::HealthServer::new(super::health::Health::new(
        state.clone(),
        stop.clone(),
    ));
    let mut router = Routes::new(agents::server(state.clone(), stop))
        .add_service(health)
        .add_service(reflection)
        .prepare()
        .into_axum_router()
        .reset_fallback();
    for row in TABLE.iter().filter(|row| row.surface == Surface::Agents) {
        if let Some(handler) = handler(row.endpoint, &state, &metrics, webhooks) {
            router = router.route(row.path, handler);
        }
    }
    Ok(
        router.layer(tower_http::timeout::RequestBodyTimeoutLayer::new(
            BODY_PIECE_MAX,
        )),
    )
}

fn handler(
    endpoint: Endpoint,
    state: &Arc<State>,
    metrics: &Arc<Registry>,
    webhooks: &Webhooks,
) -> Option<MethodRouter> {
    match endpoint {
        Endpoint::Healthz => Some(get(async || "ok\n")),
        Endpoint::Readyz => Some(get(readyz).with_state(state.clone())),
        Endpoint::Metrics => Some(get(metrics_text).with_state(metrics.clone())),
        Endpoint::WebhookGithub => webhooks.github.clone().map(webhook),
        Endpoint::WebhookGitlab => webhooks.gitlab.clone().map(webhook),
        Endpoint::WebhookGitea => webhooks.gitea.clone().map(webhook),
        Endpoint::Log => state
            .log
            .is_some()
            .then(|| logfiles::handler(state.clone())),
        Endpoint::LogEntries => state.log.is_some().then(|| entries::handler(state.clone())),
        Endpoint::LogInfrastructure => state.log.is_some().then(|| ci::handler(state.clone())),
        Endpoint::LogTrust => Some(publish::handler(state.clone())),
        Endpoint::LogSalts => state
            .log
            .is_some()
            .then(|| entries::salts_handler(state.clone())),
        Endpoint::LogNewest => state
            .log
            .is_some()
            .then(|| entries::newest_handler(state.clone())),
        Endpoint::Grpc
        | Endpoint::OpenApi
        | Endpoint::Fleet
        | Endpoint::Cluster
        | Endpoint::Objects
        | Endpoint::Apps
        | Endpoint::App
        | Endpoint::Drifts
        | Endpoint::Sync
        | Endpoint::JoinToken
        | Endpoint::Parcel
        | Endpoint::ReportFile
        | Endpoint::Revoke
        | Endpoint::Overrides
        | Endpoint::VerifyAsk
        | Endpoint::VerifyAnswer
        | Endpoint::Permits
        | Endpoint::Permit
        | Endpoint::CiToken => None,
    }
}

/// A log that can't publish keeps nobody from being served what is published: it is told, and the hub stays ready.
async fn readyz(Shared(state): Shared<Arc<State>>) -> (StatusCode, String) {
    let waits = state.log.as_ref().and_then(crate::log::Log::waits);
    let log = waits.map_or_else(String::new, |why| format!("log: not publishing: {why}\n"));
    if state.is_ready() {
        (StatusCode::OK, format!("ready\n{log}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{log}"))
    }
}

async fn metrics_text(Shared(registry): Shared<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "BUG",
            "metrics could not be written",
        ),
    }
}

fn webhook(hook: Hook) -> MethodRouter {
    post(async move |headers: HeaderMap, body: Bytes| {
        // HMAC over a whole body and the comparison of values: short, but not nothing.
        let answer = tokio::task::spawn_blocking(move || hook(&headers, &body)).await;
        let (status, text) = answer.unwrap_or((500, "the hook failed".to_owned()));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, format!("{text}\n"))
    })
    .layer(DefaultBodyLimit::max(WEBHOOK_BODY_BYTES_MAX))
}
