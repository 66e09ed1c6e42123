//! Requests to Vault. A token stands in the one header and nowhere else: not in a URL, a log line or an error.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::VaultError;
use super::settings::{Auth, Settings};
use crate::answer::{self, Body, Wrong};
use crate::retry;

/// Longest part of Vault's words that is shown, characters.
const SAID_MAX: usize = 300;

pub(super) struct Client {
    http: reqwest::Client,
    settings: Settings,
    /// The token that signing in gave; none before.
    session: Mutex<Option<Zeroizing<String>>>,
}

#[derive(Serialize)]
struct Login<'a> {
    role: &'a str,
    jwt: &'a str,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: LoginAuth,
}

#[derive(Deserialize)]
struct LoginAuth {
    client_token: String,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Result<Self, VaultError> {
        let http = retry::client(settings.ca.as_deref()).map_err(|error| VaultError::Setting {
            name: "VAULT_CACERT",
            problem: error.to_string(),
        })?;
        Ok(Self {
            http,
            settings,
            session: Mutex::new(None),
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, VaultError> {
        self.with_token(|client| Ok(client.http.get(client.url(path)?)))
            .await
    }

    pub(super) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, VaultError> {
        self.with_token(|client| Ok(client.http.post(client.url(path)?).json(body)))
            .await
    }

    fn url(&self, path: &str) -> Result<reqwest::Url, VaultError> {
        self.settings
            .address
            .join(&format!("v1/{path}"))
            .map_err(|_| VaultError::Wrong(Wrong::Form("path")))
    }

    /// Asks with the token; signs in again, once, if what we had is no longer taken.
    async fn with_token<T: DeserializeOwned>(
        &self,
        request: impl Fn(&Self) -> Result<RequestBuilder, VaultError>,
    ) -> Result<T, VaultError> {
        let (token, fresh) = self.token().await?;
        let first = self.ask(request(self)?, Some(&token)).await;
        let may_have_ended = matches!(first, Err(VaultError::Refused { status: 403, .. }));
        if !may_have_ended || fresh || !matches!(self.settings.auth, Auth::Kubernetes { .. }) {
            return first;
        }
        *self.session.lock().await = None;
        let (token, _) = self.token().await?;
        self.ask(request(self)?, Some(&token)).await
    }

    /// The token, and whether it was given just now.
    async fn token(&self) -> Result<(Zeroizing<String>, bool), VaultError> {
        match &self.settings.auth {
            Auth::Token(token) => Ok((token.clone(), true)),
            Auth::File(path) => read(path, "COUNTERSIGN_VAULT_TOKEN_FILE").map(|text| (text, true)),
            Auth::Kubernetes { mount, role, token } => {
                let mut session = self.session.lock().await;
                if let Some(token) = &*session {
                    return Ok((token.clone(), false));
                }
                let jwt = read(token, "COUNTERSIGN_VAULT_JWT_FILE")?;
                let login = Login { role, jwt: &jwt };
                let url = self.url(&format!("auth/{mount}/login"))?;
                let answer: LoggedIn = self.ask(self.http.post(url).json(&login), None).await?;
                let token = Zeroizing::new(answer.auth.client_token);
                *session = Some(token.clone());
                Ok((token, true))
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        token: Option<&str>,
    ) -> Result<T, VaultError> {
        let response = request
            .headers(self.headers(token)?)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let body = answer::body(response).await.map_err(|body| match body {
            Body::Cut(error) => unreachable(error),
            Body::Wrong(wrong) => wrong.into(),
        })?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_| Wrong::Form("JSON").into()),
            // 412 and 473 to 474: this node has not caught up; 429 of a standby or of a limit.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PRECONDITION_FAILED => {
                Err(VaultError::Unavailable(status.as_u16()))
            }
            _ if status.is_server_error() || matches!(status.as_u16(), 472..=474) => {
                Err(VaultError::Unavailable(status.as_u16()))
            }
            _ => Err(VaultError::Refused {
                status: status.as_u16(),
                said: said(&body),
            }),
        }
    }

    fn headers(&self, token: Option<&str>) -> Result<HeaderMap, VaultError> {
        let value = |name: &'static str, text: &str| {
            HeaderValue::from_str(text).map_err(|_| VaultError::Setting {
                name,
                problem: "holds what no header may".to_owned(),
            })
        };
        let mut headers = HeaderMap::new();
        // Vault answers nobody who was tricked into asking: the header can't be sent by a link.
        headers.insert(
            HeaderName::from_static("x-vault-request"),
            HeaderValue::from_static("true"),
        );
        if let Some(token) = token {
            let mut token = value("VAULT_TOKEN", token)?;
            token.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-vault-token"), token);
        }
        if let Some(namespace) = &self.settings.namespace {
            headers.insert(
                HeaderName::from_static("x-vault-namespace"),
                value("VAULT_NAMESPACE", namespace)?,
            );
        }
        Ok(headers)
    }
}

fn read(path: &std::path::Path, name: &'static str) -> Result<Zeroizing<String>, VaultError> {
    let text = std::fs::read_to_string(path).map_err(|error| VaultError::Setting {
        name,
        problem: format!("{}: {error}", path.display()),
    })?;
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn unreachable(error: reqwest::Error) -> VaultError {
    VaultError::Unreachable(error.without_url().to_string())
}

/// Vault's words: for people, in one line, without control characters.
fn said(body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Errors>(body).map_or_else(|_| Vec::new(), |e| e.errors);
    let text = errors.join("; ");
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(SAID_MAX).collect()
}
