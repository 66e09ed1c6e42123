//! The trust root and the hub's own keys, read and compared at start. The hub does not run without a root, nor with keys
//! that the root does not list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::VerifiedRoot;

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
    if crate::seal::signer::is_open_to_others(mode) {
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
