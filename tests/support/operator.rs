//! The operators' API of a running hub, as a typed client.

use std::time::Duration;

use anyhow::{Context as _, bail};
use countersign_fleet::api;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{hub::Hub, install_tls};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Asks a hub over its loopback address with the token that it wrote.
#[derive(Clone, Debug)]
pub struct Operator {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Operator {
    /// The operator of `hub`, which has started.
    ///
    /// # Errors
    /// If the hub's token can't be read.
    pub fn of(hub: &Hub) -> anyhow::Result<Self> {
        install_tls();
        let path = hub.operator_token();
        let token = std::fs::read_to_string(&path)
            .with_context(|| format!("read {}", path.display()))?
            .trim()
            .to_owned();
        Ok(Self {
            client: reqwest::Client::builder().timeout(ANSWER_LIMIT).build()?,
            base: format!("{}/api/v1", hub.operators_url()),
            token,
        })
    }

    /// The fleet at a glance.
    ///
    /// # Errors
    /// If the hub refuses or is away, as everywhere in this file.
    pub async fn fleet(&self) -> anyhow::Result<api::Fleet> {
        self.get("fleet").await
    }

    /// One cluster.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn cluster(&self, name: &str) -> anyhow::Result<api::Cluster> {
        self.get(&format!("clusters/{name}")).await
    }

    /// One app on all its clusters.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn app(&self, name: &str) -> anyhow::Result<api::App> {
        self.get(&format!("apps/{name}")).await
    }

    /// The first page of a cluster's objects.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn objects(&self, cluster: &str) -> anyhow::Result<api::Objects> {
        self.get(&format!("clusters/{cluster}/objects")).await
    }

    /// What was changed behind Git's back.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn drifts(&self) -> anyhow::Result<api::Drifts> {
        self.get("drifts").await
    }

    /// A single-use token with which `cluster` joins.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn join_token(&self, cluster: &str) -> anyhow::Result<api::JoinToken> {
        let body = api::JoinTokenRequest::default();
        self.post(&format!("clusters/{cluster}/join-token"), &body)
            .await
    }

    /// Permits what the hub asked a permit for.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn permit(&self, permit: api::PermitKind, reason: &str) -> anyhow::Result<()> {
        let body = api::PermitRequest {
            permit,
            reason: reason.to_owned(),
        };
        self.post::<serde_json::Value>("permits", &body).await?;
        Ok(())
    }

    /// One GET below `/api/v1/`.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// One POST below `/api/v1/`.
    ///
    /// # Errors
    /// As [`Operator::fleet`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let mut request = self
            .client
            .request(method, format!("{}/{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.context("the hub does not answer")?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() || status == StatusCode::NO_CONTENT {
            bail!("{path}: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path}: not as expected: {text}"))
    }
}
