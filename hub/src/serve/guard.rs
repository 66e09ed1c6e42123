//! Stands before every router: finds the row of the access table and the caller's right to it, or refuses.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use countersign_fleet::api::Problem;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use tower::ServiceExt as _;

use super::access::{Caller, Role, Surface, rule};
use super::metrics::Metrics;

/// Lets a request through to the router, or refuses it.
pub(crate) async fn admit(
    surface: Surface,
    router: Router,
    metrics: &Metrics,
    caller: Caller,
    mut request: Request<Body>,
) -> Result<Response<Body>, Infallible> {
    let grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let Some(row) = rule(surface, request.method().as_str(), request.uri().path()) else {
        metrics.request("none", "unknown");
        return Ok(if grpc {
            grpc_refusal(tonic::Code::Unimplemented, "no such method")
        } else {
            problem(
                StatusCode::NOT_FOUND,
                "NO_SUCH_ROUTE",
                "no such route or method",
            )
        });
    };
    if !caller.may(row.role) {
        metrics.request(row.path, "denied");
        return Ok(if grpc {
            match caller {
                Caller::Revoked => super::revoke::revoked().into_http(),
                Caller::Anonymous | Caller::Agent(_) | Caller::Operator(_) => grpc_refusal(
                    tonic::Code::Unauthenticated,
                    "this call needs a client certificate of this hub",
                ),
            }
        } else {
            unauthorized(row.role)
        });
    }
    metrics.request(row.path, "admitted");
    request.extensions_mut().insert(caller);
    router.oneshot(request).await
}

/// The token of a request, if it bears one.
pub(crate) fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// An answer that is not a success.
pub(crate) fn problem(
    status: StatusCode,
    code: &str,
    message: impl Into<String>,
) -> Response<Body> {
    let body = Problem {
        code: code.to_owned(),
        message: message.into(),
    };
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn unauthorized(role: Role) -> Response<Body> {
    let message = match role {
        Role::Operator => {
            "a bearer token is needed: the content of operator.token in the hub's data folder"
        }
        Role::Agent => "a client certificate of this hub is needed",
        Role::Anyone | Role::OwnProof => "refused",
    };
    let mut response = problem(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message);
    if role == Role::Operator {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn grpc_refusal(code: tonic::Code, message: &'static str) -> Response<Body> {
    tonic::Status::new(code, message).into_http()
}
