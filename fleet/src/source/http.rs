//! [`Web`] over reqwest and rustls. No proxy of the environment, no cookie, no decompression, no redirect of the
//! library's own.
use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

use super::credentials::{Access, Credentials};
use super::error::SourceError;
use super::web::{Answer, Ask, Authorization, Web, WebUrl};

/// Redirects of one question; registries need one.
const REDIRECTS_MAX: usize = 3;
/// Time for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a server.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest download: 64 MiB at 250 KiB/s.
const DOWNLOAD_MAX: Duration = Duration::from_secs(260);

/// Asks over the network.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    credentials: Credentials,
}

impl Http {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// [`SourceError::Invalid`] for roots that can't be used.
    pub fn new(access: &Access) -> Result<Self, SourceError> {
        let invalid = |why: String| SourceError::Invalid {
            what: "caFile".to_owned(),
            why,
        };
        let mut builder = Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .no_gzip()
            .referer(false)
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .timeout(DOWNLOAD_MAX);
        if let Some(pem) = &access.roots {
            let roots = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|_| invalid("holds no PEM certificate".to_owned()))?;
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            client,
            credentials: access.credentials.clone(),
        })
    }

    /// The header for a question, if its credential may go there.
    fn header(&self, ask: &Ask) -> Result<Option<HeaderValue>, SourceError> {
        let here = ask.url.authority();
        let text: SecretString = match &ask.authorization {
            Authorization::Nobody => return Ok(None),
            Authorization::Bearer(token) => format!("Bearer {}", token.expose_secret()).into(),
            Authorization::Of(host) => {
                if !self.credentials.realm(host, &here) {
                    return Err(SourceError::CredentialScope {
                        from: host.clone(),
                        to: here,
                        key: "realm",
                    });
                }
                match self.credentials.header(host) {
                    None => return Ok(None),
                    Some(header) => header,
                }
            }
        };
        let mut value =
            HeaderValue::from_str(text.expose_secret()).map_err(|_| SourceError::Invalid {
                what: here,
                why: "its credential has a character that no header may have".to_owned(),
            })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn send(
        &self,
        url: &WebUrl,
        accept: &'static str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, SourceError> {
        let mut request = self.client.get(url.url().clone());
        if !accept.is_empty() {
            request = request.header(ACCEPT, accept);
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        request.send().await.map_err(|error| failed(url, &error))
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, SourceError> {
        let mut authorization = self.header(&ask)?;
        let asked = ask.url.authority();
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(&url, ask.accept, authorization.as_ref()).await?;
            if !response.status().is_redirection() {
                return answer(response, &url, &ask).await;
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|v| v.to_str().ok());
            let next = url.join(location.ok_or_else(|| protocol(&url, "redirects to nowhere"))?)?;
            if !next.same_origin(&url) {
                if !self.credentials.redirect(&asked, &next.authority()) {
                    return Err(SourceError::CredentialScope {
                        from: asked,
                        to: next.authority(),
                        key: "redirects",
                    });
                }
                // What left the host once has no credential any more, wherever it is sent then.
                authorization = None;
            }
            url = next;
        }
        Err(protocol(&url, "redirects in a circle"))
    }
}

impl Web for Http {
    async fn get(&self, ask: Ask) -> Result<Answer, SourceError> {
        self.ask(ask).await
    }
}

async fn answer(response: Response, url: &WebUrl, ask: &Ask) -> Result<Answer, SourceError> {
    let status = response.status();
    match status {
        StatusCode::OK => body(response, url, ask).await.map(Answer::Found),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answer::Absent),
        StatusCode::UNAUTHORIZED => {
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            let challenge = challenge.and_then(|value| value.to_str().ok());
            Ok(Answer::Unauthorized(
                challenge.unwrap_or_default().to_owned(),
            ))
        }
        StatusCode::FORBIDDEN => Err(SourceError::Denied {
            host: url.authority(),
            status: status.as_u16(),
        }),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(SourceError::Unreachable {
                host: url.authority(),
                why: format!("HTTP {}", status.as_u16()),
            })
        }
        status => Err(protocol(
            url,
            &format!("answers with HTTP {}", status.as_u16()),
        )),
    }
}

/// Reads no more than was asked for, whatever the headers say.
async fn body(mut response: Response, url: &WebUrl, ask: &Ask) -> Result<Bytes, SourceError> {
    let too_large = || SourceError::SizeLimit {
        what: ask.what.clone(),
        limit: ask.bytes_max,
    };
    if response
        .content_length()
        .is_some_and(|length| length > ask.bytes_max)
    {
        return Err(too_large());
    }
    let mut taken = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(url, &error))?
    {
        if (taken.len() + chunk.len()) as u64 > ask.bytes_max {
            return Err(too_large());
        }
        taken.extend_from_slice(&chunk);
    }
    Ok(taken.freeze())
}

fn protocol(url: &WebUrl, why: &str) -> SourceError {
    SourceError::Protocol {
        what: url.authority(),
        why: why.to_owned(),
    }
}

/// The library's own text may hold the whole address; its causes name none.
fn failed(url: &WebUrl, error: &reqwest::Error) -> SourceError {
    let mut why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    if let Some(cause) = cause {
        why = format!("{why} ({cause})");
    }
    SourceError::Unreachable {
        host: url.authority(),
        why,
    }
}
