//! Who signs. [`Signer`] has the shape of a KMS: asynchronous, one message of at most 4,096 bytes, the key never seen.
//!
//! The hub signs with its online keys through it, `countersign` with a person's or CI's. What is signed, and whether it
//! may be, is decided elsewhere. Read [`reference`](Reference) (how a key is named), then [`open`].
//!
//! | pure | acts |
//! |---|---|
//! | `reference` `encrypted` `answer` | `file` `passphrase` `vault` `kms` |
#![forbid(unsafe_code)]

mod answer;
mod encrypted;
mod file;
mod kms;
mod passphrase;
mod reference;
mod retry;
mod vault;

use countersign_ledger::key::{PublicKey, SignFault};
use futures::future::BoxFuture;

pub use answer::Wrong;
pub use encrypted::{EncryptedKeyError, encrypt};
pub use file::{FileSigner, KeyFileError, Missing, is_open_to_others, write_key_file};
pub use kms::KmsError;
pub use passphrase::{
    Env, PASSPHRASE, PASSPHRASE_FILE, PassphraseError, Prompt, new as new_passphrase,
};
pub use reference::{Arn, Reference, ReferenceMistake};
pub use vault::VaultError;

/// Signs with one key.
pub trait Signer: Send + Sync + 'static {
    /// The key's public half.
    fn public(&self) -> PublicKey;
    /// Signs `message`, at most 4,096 bytes.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind but perhaps a signature that nobody has.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignFault>>;
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A key in Vault.
    #[error("vault:{key}: {source}")]
    Vault {
        /// Its mount and name.
        key: String,
        /// Why.
        source: VaultError,
    },
    /// A key in AWS KMS.
    #[error("awskms:{key}: {source}")]
    Kms {
        /// Its name.
        key: String,
        /// Why.
        source: KmsError,
    },
    /// The thread that opened it ended early.
    #[error("opening the key was cut off")]
    Cut,
}

impl OpenError {
    /// Whether asking again may help.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Vault { source, .. } => source.is_fault(),
            Self::Kms { source, .. } => source.is_fault(),
            Self::Cut => true,
        }
    }
}

/// What opening a key may ask.
#[derive(Clone, Copy)]
pub struct Around {
    /// The environment: addresses, tokens, passphrases.
    pub env: fn(&str) -> Option<String>,
    /// A person at a terminal; none for a service.
    pub prompt: Option<Prompt>,
}

impl Around {
    /// This process's environment, and nobody to ask.
    #[must_use]
    pub const fn service() -> Self {
        Self {
            env: variable,
            prompt: None,
        }
    }
}

/// A variable of this process's environment.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Opens the key that `reference` names. Of a Vault key without version the newest that `wanted` lists is taken; the newest
/// of all if it lists none of them, or is empty.
///
/// # Errors
/// [`OpenError`]
pub async fn open(
    reference: &Reference,
    wanted: &[PublicKey],
    around: Around,
) -> Result<Box<dyn Signer>, OpenError> {
    match reference {
        Reference::File(path) => {
            let path = path.clone();
            let open =
                move || FileSigner::open_with(&path, Missing::Refuse, &around.env, around.prompt);
            // A passphrase costs a while, and a person longer.
            let opened = tokio::task::spawn_blocking(open).await;
            Ok(Box::new(opened.map_err(|_| OpenError::Cut)??))
        }
        Reference::Vault {
            mount,
            key,
            version,
        } => vault::open(mount, key, *version, wanted, &around.env)
            .await
            .map(|signer| Box::new(signer) as Box<dyn Signer>)
            .map_err(|source| OpenError::Vault {
                key: format!("{mount}/{key}"),
                source,
            }),
        Reference::AwsKms(arn) => kms::open(arn, &around.env)
            .await
            .map(|signer| Box::new(signer) as Box<dyn Signer>)
            .map_err(|source| OpenError::Kms {
                key: arn.as_str().to_owned(),
                source,
            }),
    }
}
