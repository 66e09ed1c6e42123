//! Git over smart HTTP on loopback: `git http-backend` behind a small server, as a hosting service would answer.
//!
//! It runs in a thread of its own, so that a caller may block on it.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot};

/// The largest request body (a pushed pack), bytes.
const LARGEST_REQUEST: usize = 256 << 20;

/// One request as it came in, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query: `/fleet.git/info/refs?service=git-upload-pack`.
    pub target: String,
    /// The version asked for in `Git-Protocol`, if any.
    pub protocol: Option<String>,
    /// The status of the answer.
    pub status: u16,
}

#[derive(Debug, Default)]
struct State {
    token: Option<String>,
    failure: Option<u16>,
    recorded: Vec<Recorded>,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    /// Serves every bare repository in `root`, to anybody, for reading and writing.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn start(root: impl Into<PathBuf>) -> anyhow::Result<Self> {
        Self::start_with(root.into(), None)
    }

    /// Serves them to whoever sends `token`, as bearer or as the password of any user.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn start_with_token(root: impl Into<PathBuf>, token: &str) -> anyhow::Result<Self> {
        Self::start_with(root.into(), Some(token.to_owned()))
    }

    fn start_with(root: PathBuf, token: Option<String>) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            token,
            ..State::default()
        }));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("git-server".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = stopped => {}
                        result = serve(listener, root.into(), shared) => {
                            if let Err(error) = result {
                                eprintln!("git server: {error}");
                            }
                        }
                    }
                });
                runtime.shutdown_background();
            })?;
        Ok(Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The URL of the repository `<name>.git`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// As [`GitServer::url`], with the token inside, as `git` takes it.
    #[must_use]
    pub fn url_with_token(&self, name: &str) -> String {
        let token = self.state().token.clone().unwrap_or_default();
        format!("http://git:{token}@{}/{name}.git", self.address)
    }

    /// Answers every request with `status` from now on; `None` answers as it should again.
    pub fn fail_with(&self, status: Option<u16>) {
        self.state().failure = status;
    }

    /// What has come in so far, in order.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recorded.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(()); // it may have ended
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    listener: std::net::TcpListener,
    root: Arc<Path>,
    state: Arc<Mutex<State>>,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (connection, _) = listener.accept().await?;
        let (root, state) = (Arc::clone(&root), Arc::clone(&state));
        let service = service_fn(move |request| {
            let (root, state) = (Arc::clone(&root), Arc::clone(&state));
            async move { Ok::<_, Infallible>(answer(request, &root, &state).await) }
        });
        // A connection that a client breaks off is that client's affair.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    root: &Arc<Path>,
    state: &Mutex<State>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let record = |status: StatusCode| {
        lock(state).recorded.push(Recorded {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            protocol: text(&parts.headers, "git-protocol"),
            status: status.as_u16(),
        });
    };
    let (token, failure) = {
        let state = lock(state);
        (state.token.clone(), state.failure)
    };
    let response = if let Some(status) = failure {
        plain(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            "out of order",
        )
    } else if token.is_some_and(|token| !allowed(&parts.headers, &token)) {
        let mut refused = plain(StatusCode::UNAUTHORIZED, "sign in");
        refused.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Basic realm=\"git\""),
        );
        refused
    } else {
        match Limited::new(body, LARGEST_REQUEST).collect().await {
            Err(error) => plain(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()),
            Ok(body) => {
                let call = Call {
                    root: Arc::clone(root),
                    method: parts.method.clone(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts.headers.clone(),
                    body: body.to_bytes(),
                };
                // The backend is a program: it must not hold up the other requests.
                match tokio::task::spawn_blocking(move || call.run()).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(error)) => {
                        plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}"))
                    }
                    Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
        }
    };
    record(response.status());
    response
}

/// Whether the request bears the token: `Bearer TOKEN`, or `Basic` with it as the password.
fn allowed(headers: &HeaderMap, token: &str) -> bool {
    let Some(given) = text(headers, header::AUTHORIZATION.as_str()) else {
        return false;
    };
    if let Some(bearer) = given.strip_prefix("Bearer ") {
        return bearer == token;
    }
    let basic = given
        .strip_prefix("Basic ")
        .and_then(|encoded| STANDARD.decode(encoded).ok());
    let basic = basic.and_then(|pair| String::from_utf8(pair).ok());
    basic.is_some_and(|pair| {
        pair.split_once(':')
            .is_some_and(|(_, password)| password == token)
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn plain(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    response
}

/// One call of the backend by the rules of CGI (RFC 3875).
struct Call {
    root: Arc<Path>,
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn run(self) -> anyhow::Result<Response<Full<Bytes>>> {
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.root.as_os_str())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", self.method.as_str())
            .env("PATH_INFO", &self.path)
            .env("QUERY_STRING", &self.query)
            .env("CONTENT_LENGTH", self.body.len().to_string())
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("REMOTE_USER", "test") // whoever came this far may push
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (name, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            if let Some(value) = text(&self.headers, name) {
                command.env(variable, value);
            }
        }
        let mut backend = command.spawn().context("run git http-backend")?;
        let mut input = backend
            .stdin
            .take()
            .context("git http-backend has no input")?;
        let mut output = backend
            .stdout
            .take()
            .context("git http-backend has no output")?;
        let body = self.body;
        // Both at once: a pipe holds 64 KiB only. It may stop reading early, which is no error of ours.
        let writer = std::thread::spawn(move || input.write_all(&body));
        let mut answer = Vec::new();
        output.read_to_end(&mut answer)?;
        let _ = writer.join();
        backend.wait()?;
        response(&answer)
    }
}

/// Reads what a CGI program wrote: header lines, an empty line, the body.
fn response(answer: &[u8]) -> anyhow::Result<Response<Full<Bytes>>> {
    let split = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("git http-backend sent no header")?;
    let mut builder = Response::builder().status(StatusCode::OK);
    for line in std::str::from_utf8(&answer[..split])?.lines() {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("header line {line:?}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            builder = builder.status(value.split(' ').next().unwrap_or(value));
        } else {
            builder = builder.header(name, value);
        }
    }
    Ok(builder.body(Full::new(Bytes::copy_from_slice(&answer[split + 4..])))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::GitRepo;

    fn clone(url: &str, to: &Path) -> std::process::Output {
        Command::new("git")
            .args(["clone", "--quiet", url])
            .arg(to)
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap()
    }

    #[test]
    fn what_was_pushed_can_be_cloned_and_both_are_recorded() {
        let bare = GitRepo::bare("fleet").unwrap();
        let server = GitServer::start(bare.root()).unwrap();
        let repo = GitRepo::new().unwrap();
        repo.commit_files(&[("clusters/a/x.yaml", &"x: 1\n".repeat(50_000))], "one")
            .unwrap();
        repo.push_to(&server.url("fleet"), false).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let output = clone(&server.url("fleet"), &folder.path().join("clone"));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(folder.path().join("clone/clusters/a/x.yaml").exists());
        let recorded = server.recorded();
        assert!(
            recorded
                .iter()
                .any(|r| r.target.ends_with("service=git-receive-pack")),
            "{recorded:?}"
        );
        assert!(
            recorded
                .iter()
                .any(|r| r.method == "POST" && r.target.ends_with("/git-upload-pack")),
            "{recorded:?}"
        );
    }

    #[test]
    fn a_token_is_asked_for_and_checked() {
        let bare = GitRepo::bare("fleet").unwrap();
        let server = GitServer::start_with_token(bare.root(), "s3cret").unwrap();
        let repo = GitRepo::new().unwrap();
        repo.commit_files(&[("a", "1")], "one").unwrap();
        assert!(repo.push_to(&server.url("fleet"), false).is_err());
        repo.push_to(&server.url_with_token("fleet"), false)
            .unwrap();
        assert!(server.recorded().iter().any(|r| r.status == 401));
    }

    #[test]
    fn an_outage_is_answered_and_ends() {
        let bare = GitRepo::bare("fleet").unwrap();
        let server = GitServer::start(bare.root()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        server.fail_with(Some(503));
        assert!(
            !clone(&server.url("fleet"), &folder.path().join("one"))
                .status
                .success()
        );
        server.fail_with(None);
        assert!(
            clone(&server.url("fleet"), &folder.path().join("two"))
                .status
                .success()
        );
    }
}
