//! The one connection to the API server: HTTP/2 with keep-alive pings, raw bytes in and out.
//!
//! Called by everything under `apply/` and `watch/`. It decides nothing: what an answer means stands in `outcome`.
//! kube's default client speaks HTTP/1.1 alone (a connection for each watch), retries for minutes and knows no read
//! time-out, so the stack is put together here by hand; kube brings configuration, TLS and authentication.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, ServiceBuilder};

use super::outcome;
use super::trouble::Troubles;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long any call but a watch may take, from sending to the last byte of the answer.
pub const CALL_MAX: Duration = Duration::from_secs(15);
/// Between pings on an otherwise silent connection; without them a dead one stalls every watch at once.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A ping that is not answered for so long ends the connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer read into memory; an object is at most 3 MiB on the wire, a page of a list 500 small ones.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Asks for an object's metadata only, so that neither spec nor a Secret's data travels.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same for lists.
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// The whole object.
pub const FULL: &str = "application/json";

/// What the API server said, not yet judged.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// `Retry-After` in whole seconds, where there was one.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Bytes,
}

/// No answer came: try again later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unanswered {
    /// The connection could not be made or broke.
    #[error("API server unreachable: {0}")]
    Broken(String),
    /// The time limit passed.
    #[error("API server did not answer within {0:?}")]
    TimedOut(Duration),
    /// The request could not be built; its path or header is not valid.
    #[error("not a request: {0}")]
    Invalid(String),
}

/// A client could not be made from the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a pod's service account nor the given kubeconfig could be read.
    #[error("no way to the API server: {0}")]
    Config(String),
    /// TLS or authentication could not be set up.
    #[error("API server's TLS or authentication: {0}")]
    Tls(#[from] kube::Error),
}

/// A handle to the API server; clones share the connection.
#[derive(Clone)]
pub struct ApiServer {
    client: kube::Client,
    /// SHA-256 of the DER of the CA that signs the API server, all zero when the configuration names none.
    ca: [u8; 32],
    troubles: Arc<Mutex<Troubles>>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Connects by the pod's service account, or by a kubeconfig file where one is given.
    ///
    /// # Errors
    /// [`ClientError`] when the configuration or its TLS material can't be used; no connection is made yet.
    pub async fn connect(
        kubeconfig: Option<&std::path::Path>,
        context: Option<&str>,
    ) -> Result<Self, ClientError> {
        let config = match kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path)
                    .map_err(|error| ClientError::Config(error.to_string()))?;
                let options = kube::config::KubeConfigOptions {
                    context: context.map(str::to_owned),
                    ..Default::default()
                };
                Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(|error| ClientError::Config(error.to_string()))?
            }
            None => Config::incluster().map_err(|error| ClientError::Config(error.to_string()))?,
        };
        Self::from_config(config)
    }

    /// The stack itself, from a configuration that is already there.
    ///
    /// # Errors
    /// [`ClientError::Tls`] when its certificates or credentials can't be used.
    pub fn from_config(config: Config) -> Result<Self, ClientError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        let tls = config.rustls_client_config()?;
        let mut https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http();
        if let Some(name) = config.tls_server_name.clone() {
            let name = rustls_pki_types::ServerName::try_from(name)
                .map_err(|error| ClientError::Config(error.to_string()))?;
            https =
                https.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name));
        }
        let https = https.enable_all_versions().wrap_connector(tcp);
        let http: hyper_util::client::legacy::Client<_, Body> =
            hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .http2_keep_alive_interval(PING_EVERY)
                .http2_keep_alive_timeout(PING_TIMEOUT)
                .http2_keep_alive_while_idle(true)
                .build(https);
        let stack = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(http);
        let ca = config
            .root_cert
            .as_ref()
            .and_then(|certificates| certificates.first())
            .map(|der| *countersign_ledger::digest::Digest::of(der).as_bytes())
            .unwrap_or_default();
        Ok(Self {
            client: kube::Client::new(stack, config.default_namespace),
            ca,
            troubles: Arc::default(),
        })
    }

    /// SHA-256 of the first CA certificate that the configuration trusts for this API server.
    #[must_use]
    pub fn ca_fingerprint(&self) -> [u8; 32] {
        self.ca
    }

    /// Until when nothing should be deleted, as the API server failed before.
    #[must_use]
    pub fn troubled_until(&self) -> Option<Instant> {
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .until()
    }

    fn heard(&self, answer: &Answer) {
        let trouble = outcome::trouble(answer);
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saw(trouble, Instant::now());
    }

    /// One call, answered within `limit`.
    ///
    /// # Errors
    /// [`Unanswered`] when no whole answer came; an answer of any status is `Ok`.
    ///
    /// # Cancel safety
    /// May be dropped; whether the API server carried out the call is then unknown.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<(&'static str, Bytes)>,
        limit: Duration,
    ) -> Result<Answer, Unanswered> {
        let request = build(method, path, accept, body)?;
        let whole = async {
            let response = self.client.send(request).await.map_err(broken)?;
            let status = response.status();
            let retry_after = retry_after(response.headers());
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| Unanswered::Broken(error.to_string()))?
                .to_bytes();
            Ok(Answer {
                status,
                retry_after,
                body,
            })
        };
        let answer = tokio::time::timeout(limit, whole)
            .await
            .map_err(|_| Unanswered::TimedOut(limit))??;
        self.heard(&answer);
        Ok(answer)
    }

    /// Reads `path` within the usual time.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn get(&self, path: &str, accept: &'static str) -> Result<Answer, Unanswered> {
        self.call(Method::GET, path, accept, None, CALL_MAX).await
    }

    /// Opens a stream of lines (a watch); headers must come within the usual time, the body may last.
    ///
    /// # Errors
    /// [`Unanswered`]; a status other than 200 comes back as [`Opened::Refused`].
    pub async fn open(&self, path: &str, accept: &'static str) -> Result<Opened, Unanswered> {
        let mut request = build(Method::GET, path, accept, None)?;
        request.headers_mut().insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        let response = tokio::time::timeout(CALL_MAX, self.client.send(request))
            .await
            .map_err(|_| Unanswered::TimedOut(CALL_MAX))?
            .map_err(broken)?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Opened::Stream(response.into_body()));
        }
        let retry_after = retry_after(response.headers());
        let body = tokio::time::timeout(
            CALL_MAX,
            Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect(),
        )
        .await
        .map_err(|_| Unanswered::TimedOut(CALL_MAX))?
        .map_err(|error| Unanswered::Broken(error.to_string()))?
        .to_bytes();
        Ok(Opened::Refused(Answer {
            status,
            retry_after,
            body,
        }))
    }
}

/// What opening a watch came to.
#[derive(Debug)]
pub enum Opened {
    /// Lines follow.
    Stream(Body),
    /// The API server said no.
    Refused(Answer),
}

fn build(
    method: Method,
    path: &str,
    accept: &'static str,
    body: Option<(&'static str, Bytes)>,
) -> Result<Request<Body>, Unanswered> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept);
    if let Some((content_type, _)) = &body {
        request = request.header(header::CONTENT_TYPE, *content_type);
    }
    let body = body.map_or_else(Body::empty, |(_, bytes)| Body::from(bytes));
    request
        .body(body)
        .map_err(|error| Unanswered::Invalid(error.to_string()))
}

fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok())
        .map(Duration::from_secs)
}

fn broken(error: kube::Error) -> Unanswered {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Unanswered::Broken(text)
}
