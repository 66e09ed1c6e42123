//! The chain of trust roots that lies beside a log.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::limits::TRUST_ROOT_BYTES_MAX;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::trust::{Roots, VerifiedRoot};

use super::known::Known;
use super::reader::LogError;
use super::source::{Fault, Files};

/// The chain of trust roots, and whether a person had named one of them.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Oldest first.
    pub roots: Roots,
    /// Version that was pinned by its digest; none if the chain was taken as it came.
    pub pinned: Option<u64>,
}

impl Trust {
    /// Reads the chain from `trust/`, oldest first. With a pin, the document of that digest must be in it.
    pub fn read(
        files: &dyn Files,
        first: Option<&[u8]>,
        pin: Option<&Digest>,
    ) -> Result<Self, LogError> {
        let mut version = 1;
        let bytes = match first {
            Some(bytes) => Bytes::copy_from_slice(bytes),
            None => match document(files, 1)? {
                Some(bytes) => bytes,
                None => files
                    .get("trust.json", TRUST_ROOT_BYTES_MAX)?
                    .ok_or_else(|| LogError::Missing(path(1)))?,
            },
        };
        let refused = |path: String, refusal: Refusal| LogError::Wrong {
            path,
            why: format!("{refusal} ({})", refusal.code()),
        };
        let oldest = VerifiedRoot::parse(&bytes, &RingVerifier)
            .map_err(|refusal| refused(path(version), refusal))?;
        version = oldest.version();
        let mut roots = Roots::new(oldest);
        loop {
            version += 1;
            let Some(bytes) = document(files, version)? else {
                break;
            };
            roots
                .extend(&bytes, &RingVerifier)
                .map_err(|refusal| refused(path(version), refusal))?;
        }
        let pinned = match pin {
            None => first.map(|_| roots.pinned().version()),
            Some(digest) => {
                let found = roots.iter().find(|root| root.digest() == *digest);
                let found = found.ok_or_else(|| {
                    let newest = roots.newest();
                    LogError::Wrong {
                        path: "trust".to_owned(),
                        why: format!(
                            "no trust root of the chain has the digest {digest}; version {} has {}",
                            newest.version(),
                            newest.digest()
                        ),
                    }
                })?;
                Some(found.version())
            }
        };
        Ok(Self { roots, pinned })
    }

    /// The log of these roots, and the witnesses that they ask for.
    pub fn known(&self) -> Result<Known, LogError> {
        Known::of_roots(&self.roots).ok_or_else(no_log)
    }

    /// The log's key, by the newest root that has one.
    pub fn vkey(&self) -> Result<Vkey, LogError> {
        let mut logs = self.known()?.logs;
        logs.pop().ok_or_else(no_log)
    }
}

fn no_log() -> LogError {
    LogError::Wrong {
        path: "trust".to_owned(),
        why: "no trust root of the chain lists a log's key".to_owned(),
    }
}

fn path(version: u64) -> String {
    format!("trust/{version}.json")
}

fn document(files: &dyn Files, version: u64) -> Result<Option<Bytes>, Fault> {
    files.get(&path(version), TRUST_ROOT_BYTES_MAX)
}
