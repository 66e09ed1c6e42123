//! The client of the hub's operators' API: over its Unix socket, or over loopback with the token.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_fleet::api::Problem;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use crate::args::HubArgs;
use crate::exit::Failure;
use crate::output::safe;

/// A whole answer takes this long at most.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The same, where a file goes along.
const FILE_MAX: Duration = Duration::from_secs(600);
/// Bytes of an answer: a page of a thousand objects with messages of a KiB each.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How the hub is reached.
pub struct Hub {
    place: Place,
    token: Option<Zeroizing<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Socket(PathBuf),
    Loopback(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Loopback(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Where a hub's folder is looked for when nothing else is said.
const DATA_DEFAULT: &str = "/var/lib/countersign-hub";

impl Hub {
    /// The hub that the arguments name.
    pub fn from_args(args: &HubArgs) -> Result<Self, Failure> {
        if let Some(url) = &args.hub {
            let place = Place::Loopback(loopback(url)?);
            return Ok(Self {
                place,
                token: Some(token(args)?),
            });
        }
        let socket = match (&args.socket, &args.data) {
            (Some(socket), _) => socket.clone(),
            (None, Some(data)) => data.join("operator.sock"),
            (None, None) => Path::new(DATA_DEFAULT).join("operator.sock"),
        };
        Ok(Self {
            place: Place::Socket(socket),
            token: None,
        })
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Bytes::new(), ANSWER_MAX).await
    }

    /// Asks to do something.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::Fault(format!("request: {e}")))?;
        self.call(Method::POST, path, body.into(), ANSWER_MAX).await
    }

    /// Asks, and writes the answer to `out` as it comes: it may be large.
    pub async fn download<B: Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::Fault(format!("request: {e}")))?;
        let exchange = async {
            let mut answer = self.exchange(Method::POST, path, body.into()).await?;
            if !answer.status().is_success() {
                let (status, bytes) = self.collected(answer).await?;
                return Err(self.told(status, &bytes));
            }
            while let Some(frame) = answer.frame().await {
                let frame = frame.map_err(|e| self.broken(&e))?;
                if let Some(piece) = frame.data_ref() {
                    out.write_all(piece)
                        .map_err(|e| Failure::Fault(format!("output: {e}")))?;
                }
            }
            Ok(())
        };
        self.within(FILE_MAX, exchange).await
    }

    /// Sends a file.
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, file: Bytes) -> Result<T, Failure> {
        self.call(Method::POST, path, file, FILE_MAX).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<T, Failure> {
        let exchange = async {
            let answer = self.exchange(method, path, body).await?;
            self.collected(answer).await
        };
        let (status, bytes) = self.within(limit, exchange).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| self.garbled(&e));
        }
        Err(self.told(status, &bytes))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        what: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(limit, what).await.map_err(|_| {
            Failure::Fault(format!(
                "{}: no answer within {} s",
                self.place,
                limit.as_secs()
            ))
        })?
    }

    fn garbled(&self, error: &serde_json::Error) -> Failure {
        Failure::Fault(format!(
            "{}: the answer is not what a hub says: {error}",
            self.place
        ))
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Fault(format!("{}: {error}", self.place))
    }

    /// What a hub says that did not do it.
    fn told(&self, status: StatusCode, bytes: &[u8]) -> Failure {
        let problem: Problem = match serde_json::from_slice(bytes) {
            Ok(problem) => problem,
            Err(error) => return self.garbled(&error),
        };
        let text = format!("hub: {} ({})", safe(&problem.message), safe(&problem.code));
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR => {
                Failure::Fault(text)
            }
            _ => Failure::Mistake(text),
        }
    }

    async fn collected(&self, answer: Response<Incoming>) -> Result<(StatusCode, Bytes), Failure> {
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|e| self.broken(&e))?
            .to_bytes();
        Ok((status, bytes))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        match &self.place {
            Place::Socket(socket) => {
                let stream = UnixStream::connect(socket)
                    .await
                    .map_err(|e| self.unreachable(&e))?;
                self.over(stream, "hub", method, path, body).await
            }
            Place::Loopback(authority) => {
                let stream = TcpStream::connect(authority.as_str())
                    .await
                    .map_err(|e| self.unreachable(&e))?;
                self.over(stream, authority, method, path, body).await
            }
        }
    }

    async fn over<S>(
        &self,
        stream: S,
        host: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.broken(&e))?;
        // It ends with the answer's body, or with this process.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.as_str()));
        }
        let request = request
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| self.broken(&e))?;
        sender
            .send_request(request)
            .await
            .map_err(|e| self.broken(&e))
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        let hint = match (&self.place, error.kind()) {
            (Place::Socket(_), std::io::ErrorKind::NotFound) => {
                "; is the hub running, and is this its data folder? Name it with --data, or use --hub"
            }
            (Place::Socket(_), std::io::ErrorKind::PermissionDenied) => {
                "; the socket belongs to the hub's user: run as that user, or use --hub with its token"
            }
            (Place::Socket(_) | Place::Loopback(_), _) => "; is the hub running?",
        };
        Failure::Fault(format!(
            "can't reach the hub at {}: {error}{hint}",
            self.place
        ))
    }
}

/// Takes a loopback URL apart. A token never goes in clear over a network.
fn loopback(url: &str) -> Result<String, Failure> {
    let refused = || {
        Failure::Mistake(format!(
            "--hub {url}: must be http://127.0.0.1:PORT, http://[::1]:PORT or http://localhost:PORT; a hub serves operators on its own machine only (reach it through `ssh -L` or `kubectl port-forward`)"
        ))
    };
    let authority = url
        .strip_prefix("http://")
        .ok_or_else(refused)?
        .trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').ok_or_else(refused)?;
    let local = match host {
        "localhost" => true,
        _ => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
    };
    if !local || port.parse::<u16>().is_err() {
        return Err(refused());
    }
    Ok(authority.to_owned())
}

fn token(args: &HubArgs) -> Result<Zeroizing<String>, Failure> {
    let path = match (&args.token_file, &args.data) {
        (Some(path), _) => path.clone(),
        (None, Some(data)) => data.join("operator.token"),
        (None, None) => match std::env::var("COUNTERSIGN_TOKEN") {
            Ok(token) => return Ok(Zeroizing::new(token.trim().to_owned())),
            Err(_) => {
                return Err(Failure::Mistake(
                    "--hub needs the operators' token: --token-file FILE, --data DIR, or COUNTERSIGN_TOKEN".to_owned(),
                ));
            }
        },
    };
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::file(&path, &e))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// A name as a part of a path; the hub's names need no escaping, so what would need it is no name.
pub fn part(what: &str, name: &str) -> Result<String, Failure> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Failure::Mistake(format!(
            "{what} {}: names have a-z, 0-9, \"-\" and \".\" only",
            safe(name)
        )));
    }
    Ok(name.to_owned())
}

/// A text as a value in a query.
pub fn query(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_this_machine_only() {
        for good in [
            "http://127.0.0.1:7080",
            "http://localhost:7080/",
            "http://[::1]:1",
            "http://127.8.9.1:80",
        ] {
            assert!(loopback(good).is_ok(), "{good}");
        }
        for bad in [
            "http://hub.example.com:7080",
            "http://10.0.0.1:80",
            "https://127.0.0.1:7080",
            "127.0.0.1:7080",
            "http://127.0.0.1",
            "http://localhost@evil.example:80",
            "http://localhost:80@evil.example:80",
            "http://127.0.0.1.evil.example:80",
            "http://0.0.0.0:80",
        ] {
            assert!(loopback(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_stay_one_part_of_a_path() {
        assert!(part("cluster", "metal-fra").is_ok());
        for bad in ["", "..", "a/b", "a?x", "A", "a%2f", "a b", "\x1b[2J"] {
            assert!(part("cluster", bad).is_err(), "{bad:?}");
        }
        assert_eq!(query("a b/ü"), "a%20b%2F%C3%BC");
    }
}
