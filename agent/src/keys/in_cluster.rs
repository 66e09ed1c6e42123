//! Keys in a Secret of the agent's own namespace: an agent without a volume of its own keeps its identity so.
//!
//! Whoever may read that Secret is this agent to the hub, and reads the cluster's Secrets: etcd should be encrypted at
//! rest, and nobody but the agent should have the right.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::KeyStore;
use crate::apply::client::{self, Answer, ApiServer, CALL_MAX};

/// One Secret; each key is an entry of its data.
#[derive(Debug)]
pub struct InCluster {
    api: ApiServer,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Secret {
    metadata: Meta,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
}

impl InCluster {
    /// The Secret `name` of `namespace`.
    #[must_use]
    pub fn new(api: ApiServer, namespace: &str, name: &str) -> Self {
        Self {
            api,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn collection(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> io::Result<Answer> {
        self.api
            .call(method, path, client::FULL, body, CALL_MAX)
            .await
            .map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))
    }

    /// The Secret as it is; none when there is none.
    async fn secret(&self) -> io::Result<Option<Secret>> {
        let path = format!("{}/{}", self.collection(), self.name);
        let answer = self.call(Method::GET, &path, None).await?;
        match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|_| io::Error::other("the API server's answer is no Secret")),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(self.refused(status)),
        }
    }

    async fn create(&self, entry: serde_json::Value) -> io::Result<()> {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "data": entry,
        });
        let body = Some(("application/json", secret.to_string().into()));
        let answer = self.call(Method::POST, &self.collection(), body).await?;
        self.done(answer.status)
    }

    async fn patch(&self, patch: serde_json::Value) -> io::Result<()> {
        let path = format!("{}/{}", self.collection(), self.name);
        let body = Some(("application/merge-patch+json", patch.to_string().into()));
        let answer = self.call(Method::PATCH, &path, body).await?;
        self.done(answer.status)
    }

    fn done(&self, status: StatusCode) -> io::Result<()> {
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => Err(io::ErrorKind::AlreadyExists.into()),
            status => Err(self.refused(status)),
        }
    }

    fn refused(&self, status: StatusCode) -> io::Error {
        let kind = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            io::ErrorKind::NotConnected
        } else {
            io::ErrorKind::PermissionDenied
        };
        let text = format!(
            "Secret {}/{}: the API server answered {status}",
            self.namespace, self.name
        );
        io::Error::new(kind, text)
    }
}

impl KeyStore for InCluster {
    fn read<'a>(
        &'a self,
        name: &'static str,
    ) -> BoxFuture<'a, io::Result<Option<Zeroizing<Vec<u8>>>>> {
        async move {
            // All of it is wiped when it was looked at.
            let mut data: BTreeMap<String, Zeroizing<String>> = self
                .secret()
                .await?
                .map(|secret| secret.data)
                .unwrap_or_default()
                .into_iter()
                .map(|(name, text)| (name, Zeroizing::new(text)))
                .collect();
            let Some(text) = data.remove(name) else {
                return Ok(None);
            };
            match STANDARD.decode(text.as_bytes()) {
                Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
                Err(_) => Err(io::Error::other("an entry of the Secret is not base64")),
            }
        }
        .boxed()
    }

    fn make<'a>(&'a self, name: &'static str, content: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        async move {
            let entry = json!({ name: STANDARD.encode(content) });
            match self.secret().await? {
                None => self.create(entry).await,
                Some(secret) if secret.data.contains_key(name) => {
                    Err(io::ErrorKind::AlreadyExists.into())
                }
                // Only as it was seen: another agent may be making the same key.
                Some(secret) => {
                    let version = secret.metadata.resource_version;
                    self.patch(json!({"metadata": {"resourceVersion": version}, "data": entry}))
                        .await
                }
            }
        }
        .boxed()
    }

    fn replace<'a>(
        &'a self,
        name: &'static str,
        content: &'a [u8],
    ) -> BoxFuture<'a, io::Result<()>> {
        let entry = json!({ name: STANDARD.encode(content) });
        async move {
            match self.secret().await? {
                None => self.create(entry).await,
                Some(_) => self.patch(json!({ "data": entry })).await,
            }
        }
        .boxed()
    }
}
