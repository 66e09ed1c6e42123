//! Asking the hub's public address: over TLS alone, again if it is busy or away, and never more bytes than an answer has.

use std::path::Path;
use std::time::Duration;

use countersign_fleet::api::Problem;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::{StatusCode, Url};

use crate::exit::Failure;
use crate::output::safe;

/// For a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For an answer: a hub appends in batches and acknowledges after it has written.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer: a proof of 64 hashes and a checkpoint with its cosignatures has some thousand.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How often a hub that is busy or starting is asked, and how long is waited before the second time; then twice that.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// A client that sends nothing but over TLS, and follows nobody.
pub fn client(hub: &Url, ca: Option<&Path>) -> Result<Client, Failure> {
    if hub.scheme() != "https" {
        return Err(Failure::Mistake(
            "--hub: must be https://HOST:PORT".to_owned(),
        ));
    }
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(ANSWER_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = ca {
        let bad = |e: &dyn std::fmt::Display| Failure::Mistake(format!("{}: {e}", file.display()));
        let pem = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(&e))?;
        if roots.is_empty() {
            return Err(bad(&"holds no certificate"));
        }
        builder = builder.tls_certs_only(roots);
    }
    builder
        .build()
        .map_err(|error| Failure::Fault(format!("TLS: {error}")))
}

/// A URL below the hub's.
pub fn below(hub: &Url, path: &str) -> Result<Url, Failure> {
    let mut hub = hub.clone();
    if !hub.path().ends_with('/') {
        hub.set_path(&format!("{}/", hub.path()));
    }
    hub.join(path)
        .map_err(|error| Failure::Mistake(format!("--hub: {error}")))
}

/// Sends, and reads what a success brought. A refusal is a no; a hub that is away or busy is asked again, then a fault. What is
/// sent must do no harm when it comes twice, as entries and questions do not.
pub fn send(hub: &Url, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
    send_after(PAUSE, hub, &request)
}

pub(super) fn send_after(
    mut pause: Duration,
    hub: &Url,
    request: &RequestBuilder,
) -> Result<Vec<u8>, Failure> {
    for _ in 1..TRIES {
        match once(hub, request) {
            Err(Failure::Fault(_)) => {}
            other => return other,
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    once(hub, request)
}

fn once(hub: &Url, request: &RequestBuilder) -> Result<Vec<u8>, Failure> {
    let away = |why: String| Failure::Fault(safe(&format!("{hub}: {why}")));
    let request = request
        .try_clone()
        .ok_or_else(|| away("the request can't be sent twice".to_owned()))?;
    let response = request.send().map_err(|e| away(told(e)))?;
    let status = response.status();
    let body = read(response).map_err(|e| away(e.to_string()))?;
    if status.is_success() {
        return body
            .ok_or_else(|| Failure::Negative(safe(&format!("{hub}: the answer is too long"))));
    }
    let said = body.and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    let text = match said {
        Some(problem) => safe(&format!("{} ({})", problem.message, problem.code)),
        None => format!("answered {status}"),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(Failure::Fault(text))
    } else {
        Err(Failure::Negative(text))
    }
}

/// All of an answer; none if it is longer than any can be.
fn read(answer: Response) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let limit = ANSWER_BYTES_MAX as u64 + 1;
    answer.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= ANSWER_BYTES_MAX).then_some(bytes))
}

/// An error with its causes, without the address: the outermost says little, and an address may hold what is secret.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
