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
use countersign_ledger::trust::{RoleKey, Roots, VerifiedRoot};

use crate::config::meaning::TrustFile;
use crate::seal::{FileSigner, KeyFileError, Missing, Signer};
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
    /// A sealer key can't be used.
    #[error(transparent)]
    Sealer(#[from] KeyFileError),
    /// The trust root lists a log, and its key is not here.
    #[error("the trust root lists a log: {0}")]
    LogKey(KeyFileError),
    /// The key for enrolments is another one.
    #[error("agent-ca.key is {0}, which the trust root does not list")]
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
    /// Sealer keys by environment; [`crate::seal::Sealer::open`] compares them with the root.
    pub sealers: BTreeMap<String, Arc<dyn Signer>>,
    /// The hub's CA.
    pub authority: Authority,
}

/// Reads root and keys.
///
/// # Errors
/// [`TrustError`]
pub fn open(file: &TrustFile, keys: &Path) -> Result<Trusted, TrustError> {
    let root = root(file)?;
    let mut sealers: BTreeMap<String, Arc<dyn Signer>> = BTreeMap::new();
    for environment in root.document().sealers.keys() {
        let key = FileSigner::open(
            &keys.join(format!("sealer-{environment}.key")),
            Missing::Refuse,
        )?;
        sealers.insert(environment.clone(), Arc::new(key));
    }
    let certificate = read(&keys.join("hub-ca.crt"))?;
    let authority = Authority::load(&secret(&keys.join("hub-ca.key"))?, &certificate)?;
    if Digest::from_bytes(authority.fingerprint()) != root.document().hub_ca {
        return Err(TrustError::OtherAuthority);
    }
    Ok(Trusted {
        root,
        sealers,
        authority,
    })
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

/// Reads `log.key`, if the newest trust root lists a log, and `agent-ca.key`, if it lists one.
///
/// # Errors
/// [`TrustError::LogKey`] if a key is missing or others may read it.
pub fn log_keys(roots: &Roots, keys: &Path) -> Result<Option<LogKeys>, TrustError> {
    let mut listed: Vec<Vkey> = Vec::new();
    for vkey in roots.iter().filter_map(VerifiedRoot::log) {
        listed.retain(|had| had != vkey);
        listed.insert(0, vkey.clone());
    }
    let newest = roots.newest();
    if newest.log().is_none() {
        return Ok(None);
    }
    let open = |name: &str| {
        FileSigner::open(&keys.join(name), Missing::Refuse).map_err(TrustError::LogKey)
    };
    let signer: Arc<dyn Signer> = Arc::new(open("log.key")?);
    let agent_ca: Option<Arc<dyn Signer>> = if newest.document().agent_cas.is_empty() {
        None
    } else {
        let signer = open("agent-ca.key")?;
        let listed = |role: &RoleKey| role.key == signer.public();
        if !newest.document().agent_cas.iter().any(listed) {
            return Err(TrustError::AgentCaUnlisted(signer.public()));
        }
        Some(Arc::new(signer))
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
