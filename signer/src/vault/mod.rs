//! Keys of a transit engine of Vault or OpenBao, type `ed25519`. The version that is opened is the one that signs; rotating
//! the key in Vault changes nothing until the trust root lists the new version's public half.
//!
//! Settings are Vault's own: `VAULT_ADDR`, `VAULT_TOKEN` (or `~/.vault-token`), `VAULT_CACERT`, `VAULT_NAMESPACE`. Beside
//! them `COUNTERSIGN_VAULT_TOKEN_FILE` (read anew for each request, so that an agent of Vault may renew it) and
//! `COUNTERSIGN_VAULT_ROLE` (sign in with the pod's service account, at the mount `COUNTERSIGN_VAULT_AUTH_MOUNT`).

mod client;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::key::{PublicKey, SignFault};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::answer::{self, Wrong};
use crate::passphrase::Env;
use crate::{Signer, retry};
use client::Client;
use settings::Settings;

/// Why a key of Vault can't be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A setting is missing or wrong.
    #[error("{name}: {problem}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Vault can't be reached.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// Vault does not want now.
    #[error("answers {0}")]
    Unavailable(u16),
    /// Vault said no.
    #[error("refused with {status}: {said}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        said: String,
    },
    /// An answer that can't be used.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// The key is of another type.
    #[error("is a key of type {0}; only ed25519 signs")]
    Kind(String),
    /// There is no such version.
    #[error("has no version {0}")]
    Version(u32),
}

impl VaultError {
    /// Whether asking again may help.
    pub(crate) const fn is_fault(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unavailable(_))
    }
}

/// One version of a transit key.
pub(crate) struct VaultSigner {
    client: Client,
    path: String,
    version: u32,
    public: PublicKey,
}

#[derive(Deserialize)]
struct Keys {
    data: KeysData,
}

#[derive(Deserialize)]
struct KeysData {
    #[serde(rename = "type")]
    kind: String,
    keys: BTreeMap<u32, KeyVersion>,
}

#[derive(Deserialize)]
struct KeyVersion {
    public_key: String,
}

#[derive(Serialize)]
struct SignRequest {
    input: String,
    key_version: u32,
}

#[derive(Deserialize)]
struct Signed {
    data: SignedData,
}

#[derive(Deserialize)]
struct SignedData {
    signature: String,
}

/// Opens a key.
pub(crate) async fn open(
    mount: &str,
    key: &str,
    version: Option<u32>,
    wanted: &[PublicKey],
    env: Env<'_>,
) -> Result<VaultSigner, VaultError> {
    let client = Client::new(Settings::read(env)?)?;
    let path = format!("{mount}/keys/{key}");
    let keys: Keys = retry::asking(|| client.get(&path), VaultError::is_fault).await?;
    let (version, public) = choose(keys.data, version, wanted)?;
    let path = format!("{mount}/sign/{key}");
    Ok(VaultSigner {
        client,
        path,
        version,
        public,
    })
}

/// The version that was named; else the newest that is wanted; else the newest.
fn choose(
    data: KeysData,
    named: Option<u32>,
    wanted: &[PublicKey],
) -> Result<(u32, PublicKey), VaultError> {
    if data.kind != "ed25519" {
        return Err(VaultError::Kind(data.kind));
    }
    let versions = data.keys.into_iter().rev();
    let versions: Vec<(u32, PublicKey)> = versions
        .map(|(version, key)| Ok((version, answer::raw_key(&key.public_key)?)))
        .collect::<Result<_, Wrong>>()?;
    let chosen = match named {
        Some(named) => versions.iter().find(|(version, _)| *version == named),
        None => versions
            .iter()
            .find(|(_, key)| wanted.contains(key))
            .or(versions.first()),
    };
    chosen
        .copied()
        .ok_or(VaultError::Version(named.unwrap_or(1)))
}

impl VaultSigner {
    async fn signature(&self, message: &[u8]) -> Result<[u8; 64], VaultError> {
        let request = SignRequest {
            input: STANDARD.encode(message),
            key_version: self.version,
        };
        let once = || self.client.post::<_, Signed>(&self.path, &request);
        let signed = retry::asking(once, VaultError::is_fault).await?;
        // vault:v<version>:<base64>
        let text = signed.data.signature;
        let base64 = text.rsplit(':').next().unwrap_or_default();
        Ok(answer::signature(base64, &self.public, message)?)
    }
}

impl Signer for VaultSigner {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignFault>> {
        Box::pin(async move {
            self.signature(message)
                .await
                .map_err(|error| SignFault(format!("Vault: {error}")))
        })
    }
}
