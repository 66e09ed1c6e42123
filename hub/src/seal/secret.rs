//! Secrets leave the hub encrypted to the one cluster that runs them (age, X25519).
//!
//! age never makes the same ciphertext twice, so the one before is used again while content and recipient stay the
//! same: an unchanged Secret changes nothing. It is used again only if it lies in the store: a crash may have come between
//! encrypting and sealing. What is kept for that is the salt; if it is lost, each Secret is encrypted
//! anew once.

use std::sync::Arc;

use age::x25519::Recipient;
use bytes::Bytes;
use countersign_ledger::manifest::Content;
use countersign_ledger::secret::{Commitment, SALT_BYTES, plaintext};
use countersign_ledger::{Digest, ObjectId};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::store::index::{Index, IndexFault, Kept};
use crate::store::{Store, StoreFault, blob_path};

/// A Secret that is ready for a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// What its line says.
    pub content: Content,
    /// Bytes of the ciphertext.
    pub bytes: u64,
    /// The ciphertext, if it is new; else it lies in the store.
    pub blob: Option<Bytes>,
}

/// Why a Secret can not be sealed; its app fails by name. Nothing of the Secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The cluster has not said to which key its Secrets are to be encrypted.
    #[error(
        "app {app}: {object}: cluster {cluster} has no encryption key yet; it comes when its agent registers"
    )]
    NoRecipient {
        /// The app.
        app: String,
        /// The Secret.
        object: ObjectId,
        /// The cluster.
        cluster: String,
    },
    /// What the cluster said is no key.
    #[error(
        "app {app}: {object}: the encryption key of cluster {cluster} is no age X25519 recipient"
    )]
    BadRecipient {
        /// The app.
        app: String,
        /// The Secret.
        object: ObjectId,
        /// The cluster.
        cluster: String,
    },
    /// The random number generator or age failed.
    #[error("app {app}: {object}: could not be encrypted: {problem}")]
    Encrypt {
        /// The app.
        app: String,
        /// The Secret.
        object: ObjectId,
        /// What went wrong.
        problem: String,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Encrypts Secrets.
pub struct Secrets {
    store: Store,
    index: Arc<Index>,
    random: SystemRandom,
}

/// One Secret of one cluster.
#[derive(Clone, Copy)]
pub struct Plain<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// Its recipient, `age1…`; none before its agent registered.
    pub recipient: Option<&'a str>,
    /// The app.
    pub app: &'a str,
    /// The Secret.
    pub object: &'a ObjectId,
    /// Its canonical JSON.
    pub content: &'a [u8],
}

impl Secrets {
    /// Looks for ciphertexts in `store`, and keeps salts in `index`.
    #[must_use]
    pub fn new(store: Store, index: Arc<Index>) -> Self {
        Self {
            store,
            index,
            random: SystemRandom::new(),
        }
    }

    /// Encrypts a Secret, or finds the ciphertext from before.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn encrypt(&self, plain: Plain<'_>) -> Result<Encrypted, SecretError> {
        let Plain {
            cluster,
            recipient,
            app,
            object,
            content,
        } = plain;
        let (cluster_name, app, named) = (cluster.to_owned(), app.to_owned(), object.clone());
        let Some(recipient) = recipient else {
            return Err(SecretError::NoRecipient {
                app,
                object: named,
                cluster: cluster_name,
            });
        };
        let Ok(key) = recipient.parse::<Recipient>() else {
            return Err(SecretError::BadRecipient {
                app,
                object: named,
                cluster: cluster_name,
            });
        };
        if let Some(kept) = self.index.kept(cluster, object)?
            && kept.recipient == recipient
            && kept
                .commitment
                .open(&plaintext(&kept.salt, content))
                .is_ok()
            && self.is_stored(&kept.blob).await?
        {
            let content = Content::Secret {
                blob: kept.blob,
                commitment: kept.commitment,
            };
            return Ok(Encrypted {
                content,
                bytes: kept.bytes,
                blob: None,
            });
        }
        let failed = |problem: String| SecretError::Encrypt {
            app,
            object: named,
            problem,
        };
        let mut salt = Zeroizing::new([0; SALT_BYTES]);
        if self.random.fill(salt.as_mut()).is_err() {
            return Err(failed("no randomness".to_owned()));
        }
        let blob = match age::encrypt(&key, &plaintext(&salt, content)) {
            Ok(ciphertext) => Bytes::from(ciphertext),
            Err(error) => return Err(failed(error.to_string())),
        };
        let kept = Kept {
            salt: *salt,
            recipient: recipient.to_owned(),
            blob: Digest::of(&blob),
            bytes: blob.len() as u64,
            commitment: Commitment::to(&salt, content),
        };
        self.index.keep(cluster, object, &kept)?;
        let content = Content::Secret {
            blob: kept.blob,
            commitment: kept.commitment,
        };
        Ok(Encrypted {
            content,
            bytes: kept.bytes,
            blob: Some(blob),
        })
    }

    async fn is_stored(&self, blob: &Digest) -> Result<bool, SecretError> {
        Ok(self.index.unknown_blobs([*blob])?.is_empty()
            || self.store.exists(&blob_path(blob)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "Secret".into(),
            namespace: "shop".into(),
            name: "db".into(),
        }
    }

    async fn encrypt(
        secrets: &Secrets,
        recipient: Option<&str>,
        content: &[u8],
    ) -> Result<Encrypted, SecretError> {
        let object = object();
        secrets
            .encrypt(Plain {
                cluster: "metal-fra",
                recipient,
                app: "cart",
                object: &object,
                content,
            })
            .await
    }

    /// As [`encrypt`], and sealed: the blob lies in the store.
    async fn seal(secrets: &Secrets, recipient: &str, content: &[u8]) -> Encrypted {
        let made = encrypt(secrets, Some(recipient), content).await.unwrap();
        if let Some(blob) = &made.blob {
            secrets.store.put_blob(blob.clone()).await.unwrap();
        }
        made
    }

    fn secrets() -> Secrets {
        Secrets::new(Store::in_memory(), Arc::new(Index::in_memory().unwrap()))
    }

    fn recipient() -> String {
        age::x25519::Identity::generate().to_public().to_string()
    }

    #[tokio::test]
    async fn only_the_cluster_reads_a_secret_and_its_commitment_opens() {
        let identity = age::x25519::Identity::generate();
        let made = encrypt(
            &secrets(),
            Some(&identity.to_public().to_string()),
            b"{\"a\":1}",
        )
        .await
        .unwrap();
        let blob = made.blob.unwrap();
        let Content::Secret {
            blob: digest,
            commitment,
        } = made.content
        else {
            panic!("a Secret")
        };
        assert_eq!((digest, made.bytes), (Digest::of(&blob), blob.len() as u64));
        let plaintext = age::decrypt(&identity, &blob).unwrap();
        assert_eq!(commitment.open(&plaintext).unwrap(), b"{\"a\":1}");
        assert!(age::decrypt(&age::x25519::Identity::generate(), &blob).is_err());
    }

    #[tokio::test]
    async fn an_unchanged_secret_changes_nothing() {
        let (secrets, recipient) = (secrets(), recipient());
        let first = seal(&secrets, &recipient, b"{}").await;
        let again = seal(&secrets, &recipient, b"{}").await;
        assert_eq!(
            (again.content, again.bytes, again.blob),
            (first.content, first.bytes, None)
        );
        let changed = seal(&secrets, &recipient, b"[]").await;
        assert_ne!(changed.content, first.content);
        assert!(changed.blob.is_some());
        let moved = seal(&secrets, &self::recipient(), b"[]").await;
        assert_ne!(
            moved.content, changed.content,
            "a new recipient gets a new ciphertext"
        );
    }

    #[tokio::test]
    async fn a_ciphertext_that_never_reached_the_store_is_made_anew() {
        let (secrets, recipient) = (secrets(), recipient());
        encrypt(&secrets, Some(&recipient), b"{}").await.unwrap();
        assert!(
            encrypt(&secrets, Some(&recipient), b"{}")
                .await
                .unwrap()
                .blob
                .is_some()
        );
    }

    #[tokio::test]
    async fn a_cluster_without_key_fails_the_app_by_name() {
        let missing = encrypt(&secrets(), None, b"{}")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("app cart") && missing.contains("metal-fra"),
            "{missing}"
        );
        assert!(matches!(
            encrypt(&secrets(), Some("age1x"), b"{}").await,
            Err(SecretError::BadRecipient { .. })
        ));
    }
}
