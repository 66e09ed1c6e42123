//! The first trust root of a fleet and the keys that go with it. The caller writes the files: the root key stays with
//! the person, the rest goes to the hub.

use std::collections::{BTreeMap, BTreeSet};

use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::document::{
    ClusterTrust, LogTrust, NamedKey, RoleKey, RootRole, SealerKey, TrustRoot, TrustRootError,
    log_name,
};
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::key::{FileKey, NotAKey, Sign as _};
use crate::tlog::note::{KeyKind, Vkey, VkeyError};

/// What the first trust root is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRoot {
    /// The fleet's name; final.
    pub fleet: String,
    /// When (RFC 3339).
    pub issued: String,
    /// Whose the root key is.
    pub owner: String,
    /// SHA-256 of the DER of the hub's CA certificate.
    pub hub_ca: Digest,
    /// The clusters.
    pub clusters: BTreeMap<String, ClusterTrust>,
}

/// The first trust root and its keys as files.
pub struct Material {
    /// The document, `trust.json`.
    pub trust: Envelope,
    /// The root key, `root.key`.
    pub root_key: Zeroizing<String>,
    /// The sealer key of each environment, `sealer-<env>.key`.
    pub sealer_keys: BTreeMap<String, Zeroizing<String>>,
    /// The log's key, `log.key`.
    pub log_key: Zeroizing<String>,
    /// The key with which the hub says which clusters may speak, `agent-ca.key`.
    pub agent_ca_key: Zeroizing<String>,
}

/// Why there is no first trust root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// No key could be made.
    #[error("no key could be made: {0}")]
    Key(#[from] NotAKey),
    /// The document would be refused.
    #[error("trust root: {0}")]
    Document(#[from] TrustRootError),
    /// The log's name is none.
    #[error("the log's key: {0}")]
    Log(#[from] VkeyError),
}

impl FirstRoot {
    /// Makes one root key, a sealer key for each environment of the clusters, the keys of log and agent CA, and version 1 of
    /// the trust root.
    pub fn make(self, random: &dyn SecureRandom) -> Result<Material, InitError> {
        let root_key = FileKey::generate(random)?;
        let role = RootRole {
            keys: vec![NamedKey {
                key: root_key.public(),
                name: self.owner,
            }],
            threshold: 1,
        };
        let mut document = TrustRoot::new(&self.fleet, &self.issued, role, self.hub_ca);
        let environments: BTreeSet<String> = self
            .clusters
            .values()
            .map(|trust| trust.environment.clone())
            .collect();
        let mut sealer_keys = BTreeMap::new();
        for environment in environments {
            let key = FileKey::generate(random)?;
            document
                .sealers
                .insert(environment.clone(), vec![SealerKey { key: key.public() }]);
            sealer_keys.insert(environment, key.to_pem());
        }
        document.clusters = self.clusters;
        let log_key = FileKey::generate(random)?;
        let vkey = Vkey::new(&log_name(&self.fleet), KeyKind::Ed25519, log_key.public())?;
        document.log = Some(LogTrust {
            vkey: vkey.to_string(),
            url: None,
        });
        let agent_ca_key = FileKey::generate(random)?;
        document.agent_cas = vec![RoleKey {
            key: agent_ca_key.public(),
        }];
        let trust = document.sign(&[&root_key])?;
        Ok(Material {
            trust,
            root_key: root_key.to_pem(),
            sealer_keys,
            log_key: log_key.to_pem(),
            agent_ca_key: agent_ca_key.to_pem(),
        })
    }
}
