//! Smart HTTP over reqwest and rustls.
//!
//! One credential, for one origin (scheme, host, port): it is put on requests to that origin alone. Redirects are never
//! followed by the client library; one within the origin is followed here, any other is `CREDENTIAL_SCOPE`. A realm that
//! a server names is not looked at. No proxy of the environment is used.

use std::error::Error as _;
use std::io::{self, Read};
use std::time::Instant;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use secrecy::{ExposeSecret as _, SecretString};

use crate::track::limits::{CONNECT_TIMEOUT, SILENCE_TIMEOUT};
use crate::track::remote::Wire;
use crate::track::trouble::Trouble;
use crate::track::url::HttpUrl;

/// The library builds a runtime of its own for a blocking client, which it may not do on a thread that runs another.
fn built_apart(builder: reqwest::blocking::ClientBuilder) -> Result<Client, Trouble> {
    let fault = |reason: String| Trouble::MirrorFault {
        reason: format!("no HTTP client: {reason}"),
    };
    std::thread::spawn(move || builder.build())
        .join()
        .map_err(|_| fault("its thread ended early".to_owned()))?
        .map_err(|error| fault(error.to_string()))
}

/// Redirects within the origin.
const REDIRECTS_MAX: usize = 3;

/// What a remote is opened with.
#[derive(Clone, Default)]
pub struct HttpAuth {
    /// Sent as user beside the token; forges take any name with a token.
    pub user: String,
    /// Token or password.
    pub token: Option<SecretString>,
    /// Further roots to trust, DER or PEM.
    pub roots: Vec<Vec<u8>>,
}

/// A connection pool to one origin.
pub struct HttpWire {
    client: Client,
    url: HttpUrl,
    base: String,
    host: String,
    authorization: Option<HeaderValue>,
}

impl HttpWire {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// [`Trouble::SourceInvalid`] for a root certificate or token that can't be used.
    pub fn new(url: HttpUrl, auth: &HttpAuth) -> Result<Self, Trouble> {
        let invalid = |field: &'static str, problem: &str| Trouble::SourceInvalid {
            field,
            problem: problem.into(),
        };
        let mut builder = Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(SILENCE_TIMEOUT);
        for pem in &auth.roots {
            let roots = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|_| invalid("git-ca-file", "holds no PEM certificate"))?;
            builder = builder.tls_certs_merge(roots);
        }
        let client = built_apart(builder)?;
        let authorization = match &auth.token {
            None => None,
            Some(token) => Some(basic(&auth.user, token).ok_or_else(|| {
                invalid("git-token-file", "holds a line break or control character")
            })?),
        };
        let (base, host) = (url.to_string(), url.origin().to_string());
        Ok(Self {
            client,
            url,
            base,
            host,
            authorization,
        })
    }

    fn send(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Box<dyn Read + '_>, Trouble> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_once(request)?;
            if !response.status().is_redirection() {
                return self.answer(response, request, deadline);
            }
            self.base = self.redirect(&response, request)?;
        }
        Err(self.broken("it redirects in a circle"))
    }

    fn send_once(&self, request: &Request<'_>) -> Result<Response, Trouble> {
        let builder = match request {
            Request::Greeting => self
                .client
                .get(format!("{}/info/refs?service=git-upload-pack", self.base)),
            Request::Ask(body) => self
                .client
                .post(format!("{}/git-upload-pack", self.base))
                .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
                .header(ACCEPT, "application/x-git-upload-pack-result")
                .body(body.to_vec()),
        };
        let builder = builder.header("Git-Protocol", "version=2");
        let builder = match &self.authorization {
            Some(value) => builder.header(AUTHORIZATION, value.clone()),
            None => builder,
        };
        builder.send().map_err(|error| self.failed(&error))
    }

    /// The repository's new base URL, if it stays within the origin.
    fn redirect(&self, response: &Response, request: &Request<'_>) -> Result<String, Trouble> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let Some(target) = location.and_then(|location| response.url().join(location).ok()) else {
            return Err(self.broken("it redirects to nowhere"));
        };
        let origin = self.url.origin();
        let same = (target.scheme() == "https") == origin.tls
            && matches!(target.scheme(), "https" | "http")
            && target
                .host_str()
                .is_some_and(|host| host.eq_ignore_ascii_case(&origin.host))
            && target.port_or_known_default() == Some(origin.port)
            && target.username().is_empty()
            && target.password().is_none();
        if !same {
            let to = target.host_str().unwrap_or("another place").to_owned();
            return Err(Trouble::CredentialScope {
                from: self.host.clone(),
                to: format!("{}://{to}", target.scheme()),
            });
        }
        let path = target.path();
        let suffix = match request {
            Request::Greeting => "/info/refs",
            Request::Ask(_) => "/git-upload-pack",
        };
        match path.strip_suffix(suffix) {
            Some(repository) if !repository.is_empty() => Ok(format!("{}{repository}", self.host)),
            _ => Err(self.broken("it redirects to something that is no repository")),
        }
    }

    fn answer(
        &self,
        response: Response,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Box<dyn Read + '_>, Trouble> {
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(Trouble::AccessDenied {
                    host: self.host.clone(),
                    detail: format!("HTTP {}", status.as_u16()),
                });
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Trouble::Unreachable {
                    host: self.host.clone(),
                    reason: format!("HTTP {}", status.as_u16()),
                });
            }
            status => return Err(self.broken(&format!("HTTP {}", status.as_u16()))),
        }
        let expected = match request {
            Request::Greeting => "application/x-git-upload-pack-advertisement",
            Request::Ask(_) => "application/x-git-upload-pack-result",
        };
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .map(HeaderValue::as_bytes);
        if kind != Some(expected.as_bytes()) {
            return Err(self.broken("the answer is no smart HTTP"));
        }
        Ok(Box::new(Timed { response, deadline }))
    }

    fn failed(&self, error: &reqwest::Error) -> Trouble {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(tls) = tls_error(cause) {
                return Trouble::HostUntrusted {
                    host: self.host.clone(),
                    reason: tls,
                };
            }
            source = cause.source();
        }
        let reason = if error.is_timeout() {
            "no answer in time"
        } else {
            "no connection"
        };
        Trouble::Unreachable {
            host: self.host.clone(),
            reason: reason.to_owned(),
        }
    }

    fn broken(&self, reason: &str) -> Trouble {
        Trouble::ProtocolBroken {
            host: self.host.clone(),
            reason: reason.to_owned(),
        }
    }
}

enum Request<'a> {
    Greeting,
    Ask(&'a [u8]),
}

impl Wire for HttpWire {
    fn greet(&mut self, deadline: Instant) -> Result<Box<dyn Read + '_>, Trouble> {
        self.send(&Request::Greeting, deadline)
    }

    fn ask(&mut self, request: Vec<u8>, deadline: Instant) -> Result<Box<dyn Read + '_>, Trouble> {
        self.send(&Request::Ask(&request), deadline)
    }

    fn stateless(&self) -> bool {
        true
    }

    fn close(&mut self) {}

    fn explain(&mut self, error: io::Error) -> Trouble {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.broken("the answer ended early");
        }
        let reason = if error.kind() == io::ErrorKind::TimedOut {
            "no answer in time"
        } else {
            "the connection broke"
        };
        Trouble::Unreachable {
            host: self.host.clone(),
            reason: reason.to_owned(),
        }
    }

    fn host(&self) -> &str {
        &self.host
    }
}

struct Timed {
    response: Response,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.response.read(buffer)
    }
}

fn basic(user: &str, token: &SecretString) -> Option<HeaderValue> {
    use base64::Engine as _;
    let token = token.expose_secret();
    if token.chars().chain(user.chars()).any(char::is_control) || user.contains(':') {
        return None;
    }
    let text = zeroize::Zeroizing::new(format!("{user}:{token}"));
    let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_bytes());
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What rustls refused, wherever in the chain it hides: `io::Error` wraps without naming its content as source.
fn tls_error(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(reason) => {
                format!("invalid certificate ({reason:?})")
            }
            other => format!("TLS failed ({other})"),
        });
    }
    let inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}
