//! The trust root and the hub's own keys, read and compared at start. The hub does not run without a root, nor with keys
//! that the root does not list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_ledger::digest::Digest;
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::refusal::Refusal;
use countersign_ledger::tlog::Policy;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::trust::{Roots, VerifiedRoot};

use crate::config::meaning::TrustFile;
use countersign_signer::{Around, OpenError, Reference};

use crate::seal::Signer;
use crate::serve::Authority;
use crate::serve::authority::AuthorityError;

/// Bytes of a trust root or key file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no root.
    #[error("{}: {source}; make a trust root with `countersign trust init` and name it with --trust", path.display())]
    Root {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it can't be read.
        source: std::io::Error,
    },
    /// It does not verify.
    #[error("the trust root is refused: {0}")]
    Refused(#[from] Refusal),
    /// A key file can't be read.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key file holds no key.
    #[error("{}: {problem}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Others may read a key file.
    #[error("{}: others may read it (mode {mode:03o}); make it 0600", path.display())]
    KeyOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No sealer key can be used.
    #[error("no sealer key: environment {environment:?}: {problem}")]
    Sealer {
        /// The first environment.
        environment: String,
        /// Why its key can't be used.
        problem: SealerMissing,
    },
    /// The trust root lists a log, and its key is not here.
    #[error("the trust root lists a log: {0}")]
    LogKey(OpenError),
    /// The log's key is another one.
    #[error("the log's key is {0}, which the newest trust root does not name")]
    LogKeyUnlisted(PublicKey),
    /// The key for enrolments is another one.
    #[error("the agent CA's key is {0}, which the trust root does not list")]
    AgentCaUnlisted(PublicKey),
    /// The CA is another one.
    #[error("hub-ca.crt is not the certificate whose fingerprint the trust root holds")]
    OtherAuthority,
    /// The CA can't be used.
    #[error("hub-ca: {0}")]
    Authority(#[from] AuthorityError),
}

/// What the hub is trusted with.
pub struct Trusted {
    /// The root.
    pub root: VerifiedRoot,
    /// The hub's CA.
    pub authority: Authority,
}

/// Reads root and keys.
///
/// # Errors
/// [`TrustError`]
pub fn open(file: &TrustFile, keys: &Path) -> Result<Trusted, TrustError> {
    let root = root(file)?;
    let certificate = read(&keys.join("hub-ca.crt"))?;
    let authority = Authority::load(&secret(&keys.join("hub-ca.key"))?, &certificate)?;
    if Digest::from_bytes(authority.fingerprint()) != root.document().hub_ca {
        return Err(TrustError::OtherAuthority);
    }
    Ok(Trusted { root, authority })
}

/// Where the hub's own keys are: references where some are given, else files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlaces {
    /// The folder; the CA's files are always there.
    pub folder: PathBuf,
    /// Sealer keys that are elsewhere, by environment.
    pub sealers: BTreeMap<String, Reference>,
    /// The log's key, if it is elsewhere.
    pub log: Option<Reference>,
    /// The agent CA's key, if it is elsewhere.
    pub agent_ca: Option<Reference>,
}

impl KeyPlaces {
    /// All in one folder.
    #[must_use]
    pub fn folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            sealers: BTreeMap::new(),
            log: None,
            agent_ca: None,
        }
    }

    fn file(&self, name: &str) -> Reference {
        Reference::File(self.folder.join(name))
    }
}

/// Why an environment is not sealed for: others are.
#[derive(Debug, thiserror::Error)]
pub enum SealerMissing {
    /// Its key can't be opened.
    #[error(transparent)]
    Closed(#[from] OpenError),
    /// Its key is another one.
    #[error("the key here is {0}, which the trust root does not list for it")]
    Unlisted(PublicKey),
}

/// The sealer keys of a trust root's environments.
pub struct Sealers {
    /// Those that are here.
    pub signers: BTreeMap<String, Arc<dyn Signer>>,
    /// Those that are not.
    pub missing: BTreeMap<String, SealerMissing>,
}

/// Opens the sealer key of each environment of a trust root.
///
/// # Errors
/// [`TrustError::Sealer`] if not one can be used.
pub async fn sealers(root: &VerifiedRoot, keys: &KeyPlaces) -> Result<Sealers, TrustError> {
    let mut found = Sealers {
        signers: BTreeMap::new(),
        missing: BTreeMap::new(),
    };
    for environment in root.document().sealers.keys() {
        let listed: Vec<PublicKey> = root.sealers(environment).copied().collect();
        let file = || keys.file(&format!("sealer-{environment}.key"));
        let reference = keys.sealers.get(environment).cloned();
        let opened = opened(&reference.unwrap_or_else(file), &listed).await;
        let problem = match opened {
            Ok(signer) if listed.contains(&signer.public()) => {
                found.signers.insert(environment.clone(), signer);
                continue;
            }
            Ok(signer) => SealerMissing::Unlisted(signer.public()),
            Err(error) => SealerMissing::Closed(error),
        };
        found.missing.insert(environment.clone(), problem);
    }
    if found.signers.is_empty()
        && let Some((environment, problem)) = found.missing.pop_first()
    {
        return Err(TrustError::Sealer {
            environment,
            problem,
        });
    }
    Ok(found)
}

async fn opened(reference: &Reference, wanted: &[PublicKey]) -> Result<Arc<dyn Signer>, OpenError> {
    let signer = countersign_signer::open(reference, wanted, Around::service()).await?;
    Ok(Arc::from(signer))
}

/// What the trust roots say of the log, with its key.
pub struct LogKeys {
    /// The key.
    pub signer: Arc<dyn Signer>,
    /// Keys that the log may have signed with, the newest first.
    pub keys: Vec<Vkey>,
    /// Whose cosignatures a published checkpoint needs.
    pub policy: Option<Arc<Policy>>,
    /// The key for enrolments and trust roots' entries; none if no trust root lists one.
    pub agent_ca: Option<Arc<dyn Signer>>,
}

/// Opens the log's key, if the newest trust root lists a log, and the agent CA's, if it lists one.
///
/// # Errors
/// [`TrustError::LogKey`] if a key is missing or others may read it.
pub async fn log_keys(roots: &Roots, keys: &KeyPlaces) -> Result<Option<LogKeys>, TrustError> {
    let mut listed: Vec<Vkey> = Vec::new();
    for vkey in roots.iter().filter_map(VerifiedRoot::log) {
        listed.retain(|had| had != vkey);
        listed.insert(0, vkey.clone());
    }
    let newest = roots.newest();
    let Some(vkey) = newest.log() else {
        return Ok(None);
    };
    let place = keys.log.clone().unwrap_or_else(|| keys.file("log.key"));
    let signer = opened(&place, &[*vkey.key()])
        .await
        .map_err(TrustError::LogKey)?;
    if signer.public() != *vkey.key() {
        return Err(TrustError::LogKeyUnlisted(signer.public()));
    }
    let cas: Vec<PublicKey> = newest
        .document()
        .agent_cas
        .iter()
        .map(|ca| ca.key)
        .collect();
    let agent_ca = if cas.is_empty() {
        None
    } else {
        let place = keys.agent_ca.clone();
        let place = place.unwrap_or_else(|| keys.file("agent-ca.key"));
        let signer = opened(&place, &cas).await.map_err(TrustError::LogKey)?;
        if !cas.contains(&signer.public()) {
            return Err(TrustError::AgentCaUnlisted(signer.public()));
        }
        Some(signer)
    };
    Ok(Some(LogKeys {
        signer,
        keys: listed,
        policy: newest.witnesses().cloned().map(Arc::new),
        agent_ca,
    }))
}

fn root(file: &TrustFile) -> Result<VerifiedRoot, TrustError> {
    let bytes = std::fs::read(&file.path).map_err(|source| TrustError::Root {
        path: file.path.clone(),
        source,
    })?;
    let root = match &file.digest {
        Some(digest) => VerifiedRoot::pinned(&bytes, digest, &RingVerifier)?,
        None => VerifiedRoot::parse(&bytes, &RingVerifier)?,
    };
    Ok(root)
}

fn secret(path: &Path) -> Result<zeroize::Zeroizing<String>, TrustError> {
    use std::os::unix::fs::PermissionsExt as _;
    let about = std::fs::metadata(path).map_err(|source| TrustError::Key {
        path: path.to_owned(),
        source,
    })?;
    let mode = about.permissions().mode() & 0o777;
    if countersign_signer::is_open_to_others(mode) {
        return Err(TrustError::KeyOpen {
            path: path.to_owned(),
            mode,
        });
    }
    read(path).map(zeroize::Zeroizing::new)
}

fn read(path: &Path) -> Result<String, TrustError> {
    let fault = |source| TrustError::Key {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(fault)?.len() > FILE_BYTES_MAX {
        return Err(TrustError::NotAKey {
            path: path.to_owned(),
            problem: "larger than 1 MiB".into(),
        });
    }
    std::fs::read_to_string(path).map_err(fault)
}
