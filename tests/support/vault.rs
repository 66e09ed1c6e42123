//! Vault's core as a handle: its own API, all in memory, unsealed, nothing mounted but what a test asks for.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, Spec};
use crate::tool::Tool;
use crate::{install_tls, port};

const START_LIMIT: Duration = Duration::from_secs(60);
/// The token of an operator who may do all.
const ROOT_TOKEN: &str = "root-token-of-a-test";

/// A running Vault; it ends, and forgets, when this is dropped.
#[derive(Debug)]
pub struct Vault {
    /// The process, for a crash in the middle of something.
    pub process: Process,
    address: SocketAddr,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Vault {
    /// Starts one.
    ///
    /// # Errors
    /// If the program can't be built or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        install_tls();
        let program = tokio::task::spawn_blocking(|| Tool::Vault.path()).await??;
        let folder = tempfile::Builder::new()
            .prefix("countersign-vault-")
            .tempdir()?;
        let address = port::free()?;
        let mut process = Spec::new("vault", program, folder.path())
            .arg(address.to_string())
            .env("COUNTERSIGN_VAULT_ROOT_TOKEN", ROOT_TOKEN)
            .start()?;
        process.listening(address, START_LIMIT).await?;
        Ok(Self {
            process,
            address,
            client: reqwest::Client::new(),
            _folder: folder,
        })
    }

    /// Its URL, as `VAULT_ADDR` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token of an operator who may do all.
    #[must_use]
    pub fn root_token(&self) -> &'static str {
        ROOT_TOKEN
    }

    /// One request of the operator; what Vault answers, null if nothing.
    ///
    /// # Errors
    /// If Vault refuses; the error holds its words.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let mut request = self
            .client
            .request(method, format!("{}/v1/{path}", self.url()))
            .header("X-Vault-Token", ROOT_TOKEN);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("Vault answers {path} with {status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    /// Mounts a transit engine at `transit` with these keys of type `ed25519`.
    ///
    /// # Errors
    /// If Vault refuses.
    pub async fn transit(&self, keys: &[&str]) -> anyhow::Result<()> {
        let engine = json!({ "type": "transit" });
        self.ask(Method::POST, "sys/mounts/transit", engine).await?;
        for key in keys {
            let kind = json!({ "type": "ed25519" });
            self.ask(Method::POST, &format!("transit/keys/{key}"), kind)
                .await?;
        }
        Ok(())
    }

    /// Makes the policy `name`: to read the public halves of these transit keys and to sign with them, and no more.
    ///
    /// # Errors
    /// If Vault refuses.
    pub async fn signing_policy(&self, name: &str, keys: &[&str]) -> anyhow::Result<()> {
        let rules: String = keys
            .iter()
            .map(|key| {
                format!(
                    "path \"transit/keys/{key}\" {{ capabilities = [\"read\"] }}\n\
                     path \"transit/sign/{key}\" {{ capabilities = [\"update\"] }}\n"
                )
            })
            .collect();
        let policy = json!({ "policy": rules });
        self.ask(Method::POST, &format!("sys/policies/acl/{name}"), policy)
            .await?;
        Ok(())
    }

    /// A token with one policy.
    ///
    /// # Errors
    /// If Vault refuses.
    pub async fn token(&self, policy: &str) -> anyhow::Result<String> {
        let wish = json!({ "policies": [policy], "no_default_policy": true });
        let made = self.ask(Method::POST, "auth/token/create", wish).await?;
        let token = made["auth"]["client_token"].as_str();
        Ok(token.context("no token")?.to_owned())
    }

    /// From here on the token is of no use.
    ///
    /// # Errors
    /// If Vault refuses.
    pub async fn revoke(&self, token: &str) -> anyhow::Result<()> {
        let which = json!({ "token": token });
        self.ask(Method::POST, "auth/token/revoke", which).await?;
        Ok(())
    }
}
