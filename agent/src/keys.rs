//! The agent's two keys: the receipt key (Ed25519; its certificate names the cluster) and the encryption key (age,
//! X25519; Secrets of this cluster are encrypted to it). Both are made at first start and never leave.
//!
//! Where they are kept is a trait: a folder with files of mode 0600, or a Secret of the cluster.

use std::io;
use std::str::FromStr as _;

use countersign_ledger::dsse::{self, Envelope, PAYLOAD_TYPE};
use countersign_ledger::key::{FileKey, PublicKey, Sign as _, SignFault};
use countersign_ledger::secret::Commitment;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

mod folder;
mod in_cluster;
mod store;

pub use folder::Folder;
pub use in_cluster::InCluster;
pub use store::KeyStore;

const RECEIPT: &str = "receipt.key";
const ENCRYPTION: &str = "encryption.key";
const CERTIFICATE: &str = "client.pem";

/// A key can't be made, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store refused.
    #[error("key {name}: {error}")]
    Store {
        /// Which.
        name: &'static str,
        /// Why.
        error: io::Error,
    },
    /// What is kept there is no key.
    #[error("key {name} is kept, and is no key: {problem}")]
    Malformed {
        /// Which.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A certificate request could not be made.
    #[error("certificate request: {0}")]
    Request(String),
}

/// Both keys and where they are kept.
pub struct Keys {
    store: Box<dyn KeyStore>,
    receipt: FileKey,
    encryption: age::x25519::Identity,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("receipt", &self.receipt.public())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads both keys, and makes those that were never made.
    ///
    /// # Errors
    /// [`KeyError`]; a key that can't be read is never replaced.
    pub async fn load_or_make(store: Box<dyn KeyStore>) -> Result<Self, KeyError> {
        let receipt = match read(&*store, RECEIPT).await? {
            Some(text) => FileKey::from_pem(&text).map_err(|error| KeyError::Malformed {
                name: RECEIPT,
                problem: error.to_string(),
            })?,
            None => {
                let key = FileKey::generate(&SystemRandom::new()).map_err(|error| {
                    KeyError::Malformed {
                        name: RECEIPT,
                        problem: error.to_string(),
                    }
                })?;
                make(&*store, RECEIPT, key.to_pem().as_bytes()).await?;
                key
            }
        };
        let encryption = match read(&*store, ENCRYPTION).await? {
            Some(text) => age::x25519::Identity::from_str(text.trim()).map_err(|problem| {
                KeyError::Malformed {
                    name: ENCRYPTION,
                    problem: problem.to_owned(),
                }
            })?,
            None => {
                use age::secrecy::ExposeSecret as _;
                let key = age::x25519::Identity::generate();
                make(
                    &*store,
                    ENCRYPTION,
                    key.to_string().expose_secret().as_bytes(),
                )
                .await?;
                key
            }
        };
        Ok(Self {
            store,
            receipt,
            encryption,
        })
    }

    /// Public half of the receipt key.
    #[must_use]
    pub fn receipt(&self) -> PublicKey {
        self.receipt.public()
    }

    /// The age recipient, "age1…".
    #[must_use]
    pub fn recipient(&self) -> String {
        self.encryption.to_public().to_string()
    }

    /// What opens Secrets.
    #[must_use]
    pub fn secret_key(&self) -> SecretKey {
        SecretKey(self.encryption.clone())
    }

    /// Private half of the receipt key as PEM, for TLS.
    #[must_use]
    pub fn receipt_pem(&self) -> Zeroizing<String> {
        self.receipt.to_pem()
    }

    /// DER of a certificate request for this cluster, signed by the receipt key.
    ///
    /// # Errors
    /// [`KeyError::Request`].
    pub fn certificate_request(&self, fleet: &str, cluster: &str) -> Result<Vec<u8>, KeyError> {
        let failed = |error: rcgen::Error| KeyError::Request(error.to_string());
        let key = rcgen::KeyPair::from_pem(&self.receipt.to_pem()).map_err(failed)?;
        let mut request = rcgen::CertificateParams::default();
        request.distinguished_name = rcgen::DistinguishedName::new();
        request
            .distinguished_name
            .push(rcgen::DnType::CommonName, cluster);
        let id = format!("spiffe://{fleet}/cluster/{cluster}");
        request.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().map_err(failed)?)];
        let request = request.serialize_request(&key).map_err(failed)?;
        Ok(request.der().to_vec())
    }

    /// Signs that a new certificate is wanted, now, for this very request.
    ///
    /// # Errors
    /// [`SignFault`].
    pub fn sign_renewal(
        &self,
        cluster: &str,
        time: i64,
        request: &[u8],
    ) -> Result<[u8; 64], SignFault> {
        let digest = countersign_ledger::digest::Digest::of(request);
        self.receipt
            .sign(format!("countersign renew v1\n{cluster}\n{time}\n{digest}").as_bytes())
    }

    /// The envelope of a statement, signed by the receipt key.
    ///
    /// # Errors
    /// [`SignFault`].
    pub fn sign_statement(&self, payload: &[u8]) -> Result<Envelope, SignFault> {
        dsse::sign(PAYLOAD_TYPE, payload, &[&self.receipt])
    }

    /// The receipt key's signature over a payload that somebody else signs too.
    ///
    /// # Errors
    /// [`SignFault`].
    pub fn sign_payload(&self, payload: &[u8]) -> Result<[u8; 64], SignFault> {
        self.receipt.sign(&dsse::pae(PAYLOAD_TYPE, payload))
    }

    /// The client certificate as kept; none before the first.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn certificate(&self) -> Result<Option<Zeroizing<String>>, KeyError> {
        read(&*self.store, CERTIFICATE).await
    }

    /// Keeps a new client certificate.
    ///
    /// # Errors
    /// When it could not be kept.
    pub async fn keep_certificate(&self, pem: &str) -> Result<(), KeyError> {
        self.store
            .replace(CERTIFICATE, pem.as_bytes())
            .await
            .map_err(|error| KeyError::Store {
                name: CERTIFICATE,
                error,
            })
    }
}

async fn read(
    store: &dyn KeyStore,
    name: &'static str,
) -> Result<Option<Zeroizing<String>>, KeyError> {
    let Some(bytes) = store
        .read(name)
        .await
        .map_err(|error| KeyError::Store { name, error })?
    else {
        return Ok(None);
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(KeyError::Malformed {
            name,
            problem: "not text".to_owned(),
        }),
    }
}

async fn make(store: &dyn KeyStore, name: &'static str, content: &[u8]) -> Result<(), KeyError> {
    store
        .make(name, content)
        .await
        .map_err(|error| KeyError::Store { name, error })
}

/// Opens Secrets.
#[derive(Clone)]
pub struct SecretKey(age::x25519::Identity);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

/// Why a Secret does not open; says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Not encrypted to this cluster's key, or changed on the way.
    #[error("it is not encrypted to this cluster's key")]
    NotForUs,
    /// What came out is not what was signed.
    #[error("its content is not the one that was signed")]
    OtherContent,
}

impl SecretKey {
    /// Decrypts a Secret's blob and checks the commitment; the canonical JSON.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(
        &self,
        blob: &[u8],
        commitment: &Commitment,
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let plain = Zeroizing::new(age::decrypt(&self.0, blob).map_err(|_| Unopened::NotForUs)?);
        let content = commitment
            .open(&plain)
            .map_err(|_| Unopened::OtherContent)?;
        Ok(Zeroizing::new(content.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::secret;
    use futures::FutureExt as _;

    fn keys(dir: &std::path::Path) -> Keys {
        // Nothing of a folder waits.
        Keys::load_or_make(Box::new(Folder(dir.to_owned())))
            .now_or_never()
            .unwrap()
            .unwrap()
    }

    #[test]
    fn keys_are_made_once_and_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (keys(dir.path()), keys(dir.path()));
        assert_eq!(
            (first.receipt(), first.recipient()),
            (second.receipt(), second.recipient())
        );
        for name in [RECEIPT, ENCRYPTION] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_broken_key_is_an_error_and_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(RECEIPT), "nonsense").unwrap();
        let loaded = Keys::load_or_make(Box::new(Folder(dir.path().to_owned()))).now_or_never();
        assert!(loaded.unwrap().is_err());
        assert_eq!(
            std::fs::read(dir.path().join(RECEIPT)).unwrap(),
            b"nonsense"
        );
    }

    #[test]
    fn a_secret_opens_with_its_key_and_commitment_only() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (keys(a.path()), keys(b.path()));
        let salt = [7; secret::SALT_BYTES];
        let commitment = Commitment::to(&salt, b"{}");
        let recipient = age::x25519::Recipient::from_str(&ours.recipient()).unwrap();
        let blob = age::encrypt(&recipient, &secret::plaintext(&salt, b"{}")).unwrap();
        assert_eq!(
            &**ours.secret_key().open(&blob, &commitment).unwrap(),
            b"{}"
        );
        assert_eq!(
            theirs.secret_key().open(&blob, &commitment),
            Err(Unopened::NotForUs)
        );
        let other = Commitment::to(&salt, b"[]");
        assert_eq!(
            ours.secret_key().open(&blob, &other),
            Err(Unopened::OtherContent)
        );
    }

    #[test]
    fn a_certificate_request_bears_the_receipt_key_and_the_clusters_id() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path());
        let der = keys.certificate_request("fleet", "metal-fra").unwrap();
        let request = rcgen::CertificateSigningRequestParams::from_der(&der.into()).unwrap();
        assert_eq!(
            rcgen::PublicKeyData::der_bytes(&request.public_key),
            keys.receipt().0
        );
        assert_eq!(
            request.params.subject_alt_names,
            [rcgen::SanType::URI(
                "spiffe://fleet/cluster/metal-fra".try_into().unwrap()
            )]
        );
    }
}
