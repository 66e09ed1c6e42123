//! The first trust root of a fleet and the keys that go with it. The caller writes the files: the root key stays with
//! the person, the rest goes to the hub. Keys that a key service holds are listed, and no file of them is made.

use std::collections::{BTreeMap, BTreeSet};

use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::document::{
    ClusterTrust, LogTrust, NamedKey, RoleKey, RootRole, SealerKey, TrustRoot, TrustRootError,
    log_name,
};
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::key::{FileKey, NotAKey, PublicKey, Sign};
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

/// Keys that are elsewhere already, in Vault or a KMS: they are listed and not made.
#[derive(Default)]
pub struct Held<'k> {
    /// The root key; it signs the document.
    pub root: Option<&'k dyn Sign>,
    /// Sealer keys by environment.
    pub sealers: BTreeMap<String, PublicKey>,
    /// The log's key.
    pub log: Option<PublicKey>,
    /// The agent CA's key.
    pub agent_ca: Option<PublicKey>,
}

/// The first trust root, and its keys as files where they were made here.
pub struct Material {
    /// The document, `trust.json`.
    pub trust: Envelope,
    /// The root key, `root.key`.
    pub root_key: Option<Zeroizing<String>>,
    /// The sealer key of each environment, `sealer-<env>.key`.
    pub sealer_keys: BTreeMap<String, Zeroizing<String>>,
    /// The log's key, `log.key`.
    pub log_key: Option<Zeroizing<String>>,
    /// The key with which the hub says which clusters may speak, `agent-ca.key`.
    pub agent_ca_key: Option<Zeroizing<String>>,
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
    /// A sealer key for nothing.
    #[error("a sealer key is given for environment {0:?}, to which no cluster belongs")]
    NoCluster(String),
}

/// A key that is listed, and its file if it was made here.
fn listed(
    held: Option<PublicKey>,
    random: &dyn SecureRandom,
) -> Result<(PublicKey, Option<Zeroizing<String>>), NotAKey> {
    if let Some(key) = held {
        return Ok((key, None));
    }
    let key = FileKey::generate(random)?;
    Ok((key.public(), Some(key.to_pem())))
}

impl FirstRoot {
    /// Makes one root key, a sealer key for each environment of the clusters, the keys of log and agent CA, and version 1 of
    /// the trust root.
    pub fn make(self, random: &dyn SecureRandom) -> Result<Material, InitError> {
        self.make_with(random, Held::default())
    }

    /// [`Self::make`], with some keys that are held elsewhere.
    pub fn make_with(
        self,
        random: &dyn SecureRandom,
        held: Held<'_>,
    ) -> Result<Material, InitError> {
        let made;
        let (root, root_key): (&dyn Sign, _) = match held.root {
            Some(root) => (root, None),
            None => {
                made = FileKey::generate(random)?;
                (&made, Some(made.to_pem()))
            }
        };
        let role = RootRole {
            keys: vec![NamedKey {
                key: root.public(),
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
        if let Some(stray) = held.sealers.keys().find(|env| !environments.contains(*env)) {
            return Err(InitError::NoCluster(stray.clone()));
        }
        let mut sealer_keys = BTreeMap::new();
        for environment in environments {
            let (key, file) = listed(held.sealers.get(&environment).copied(), random)?;
            document
                .sealers
                .insert(environment.clone(), vec![SealerKey { key }]);
            sealer_keys.extend(file.map(|file| (environment, file)));
        }
        document.clusters = self.clusters;
        let (log, log_key) = listed(held.log, random)?;
        let vkey = Vkey::new(&log_name(&self.fleet), KeyKind::Ed25519, log)?;
        document.log = Some(LogTrust {
            vkey: vkey.to_string(),
            url: None,
        });
        let (agent_ca, agent_ca_key) = listed(held.agent_ca, random)?;
        document.agent_cas = vec![RoleKey { key: agent_ca }];
        let trust = document.sign(&[root])?;
        Ok(Material {
            trust,
            root_key,
            sealer_keys,
            log_key,
            agent_ca_key,
        })
    }
}
