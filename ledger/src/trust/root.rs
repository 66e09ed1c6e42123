//! A trust root whose signatures were checked.

use crate::digest::Digest;
use crate::dsse::{Envelope, Limits};
use crate::key::{PublicKey, Verify};
use crate::refusal::Refusal;
use crate::tlog::note::Vkey;
use crate::tlog::policy::Policy;

use super::document::{ClusterTrust, PAYLOAD_TYPE, RootRole, TrustRoot};

/// A trust root that bears enough signatures of its own root keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRoot {
    document: TrustRoot,
    log: Option<Vkey>,
    witnesses: Option<Policy>,
    envelope: Envelope,
}

impl VerifiedRoot {
    /// Reads a document and checks that it bears the signatures that it asks for itself. That makes it whole, not
    /// trusted: trust comes from a digest that a person named, or from the root before it.
    pub fn parse(bytes: &[u8], verifier: &dyn Verify) -> Result<Self, Refusal> {
        let malformed = |problem: String| Refusal::TrustRootMalformed { problem };
        let envelope = Envelope::parse(bytes, &Limits::trust_root())
            .map_err(|error| malformed(error.to_string()))?;
        if envelope.payload_type() != PAYLOAD_TYPE {
            return Err(malformed(format!(
                "its payload type is {:?}",
                envelope.payload_type()
            )));
        }
        let document =
            TrustRoot::parse(envelope.payload()).map_err(|error| malformed(error.to_string()))?;
        let root = Self {
            log: document
                .log_key()
                .map_err(|error| malformed(error.to_string()))?,
            witnesses: document
                .witness_policy()
                .map_err(|error| malformed(error.to_string()))?,
            document,
            envelope,
        };
        root.check_signed_by(&root.document.root, root.version(), verifier)?;
        Ok(root)
    }

    /// As [`VerifiedRoot::parse`], for the one document that has this digest.
    pub fn pinned(bytes: &[u8], digest: &Digest, verifier: &dyn Verify) -> Result<Self, Refusal> {
        let got = Digest::of(bytes);
        if got != *digest {
            return Err(Refusal::TrustRootOther { want: *digest, got });
        }
        Self::parse(bytes, verifier)
    }

    /// Checks that enough keys of `role`, of the root of version `by`, signed this document.
    pub(super) fn check_signed_by(
        &self,
        role: &RootRole,
        by: u64,
        verifier: &dyn Verify,
    ) -> Result<(), Refusal> {
        let got = self
            .envelope
            .signed_by(role.keys.iter().map(|named| &named.key), verifier)
            .len();
        if got >= role.threshold {
            Ok(())
        } else {
            Err(Refusal::TrustRootSignatures {
                version: self.version(),
                by,
                want: role.threshold,
                got,
            })
        }
    }

    /// The content.
    #[must_use]
    pub fn document(&self) -> &TrustRoot {
        &self.document
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.document.version
    }

    /// The fleet.
    #[must_use]
    pub fn fleet(&self) -> &str {
        &self.document.fleet
    }

    /// The exact bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.envelope.bytes()
    }

    /// SHA-256 of the exact bytes: what `--trust sha256:…` names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.envelope.digest()
    }

    /// What it says of `cluster`.
    pub fn cluster(&self, cluster: &str) -> Result<&ClusterTrust, Refusal> {
        self.document
            .clusters
            .get(cluster)
            .ok_or_else(|| Refusal::ClusterUnknown {
                cluster: cluster.to_owned(),
            })
    }

    /// The log's key; none without a log.
    #[must_use]
    pub fn log(&self) -> Option<&Vkey> {
        self.log.as_ref()
    }

    /// Whose cosignatures a checkpoint needs; none without witnesses.
    #[must_use]
    pub fn witnesses(&self) -> Option<&Policy> {
        self.witnesses.as_ref()
    }

    /// The keys that may seal for `environment`.
    pub fn sealers(&self, environment: &str) -> impl Iterator<Item = &PublicKey> {
        self.document
            .sealers
            .get(environment)
            .into_iter()
            .flatten()
            .map(|sealer| &sealer.key)
    }
}
