//! Which key speaks for which cluster: registrations, kept in the store at `agents/<cluster>/<n>.json`, and keys that speak no
//! more ([`revoked`]).
//!
//! Number `n` is dense from 1; the highest counts. A new one is written by create-if-absent only, so that two replicas
//! never register two agents for one cluster. A revoked key is never registered again.

pub mod revoked;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use countersign_ledger::statement::enrolment::Method;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::records::{RecordFault, Records, Written};
pub use revoked::Revoked;

/// One registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The cluster.
    pub cluster: String,
    /// From 1.
    pub number: u64,
    /// The receipt key (Ed25519).
    #[serde(with = "key_text")]
    pub key: [u8; 32],
    /// age recipient (X25519) to which Secrets are encrypted.
    pub recipient: String,
    /// UID of the cluster's namespace kube-system.
    pub cluster_uid: String,
    /// SHA-256 of the API server's CA certificate, hex.
    pub ca_fingerprint: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Id of the join token that was used, or the service account that it was.
    pub token: String,
    /// How the agent proved who it is.
    #[serde(default = "token")]
    pub method: Method,
    /// When.
    pub time: Timestamp,
}

/// Registrations from before there was a second way were all by token.
fn token() -> Method {
    Method::Token
}

impl Registration {
    /// SHA-256 of the key, hex: what people are shown.
    pub fn key_digest(&self) -> String {
        hex(digest(&SHA256, &self.key).as_ref())
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an agent asks to be registered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The cluster.
    pub cluster: String,
    /// The receipt key.
    pub key: [u8; 32],
    /// age recipient.
    pub recipient: String,
    /// UID of the cluster's namespace kube-system.
    pub cluster_uid: String,
    /// SHA-256 of the API server's CA certificate, hex.
    pub ca_fingerprint: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Id of the join token, or the service account.
    pub token: String,
    /// How it proved who it is.
    pub method: Method,
    /// A person said that it takes the place of the registered one.
    pub replace: bool,
}

/// Why an agent is not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// Another key speaks for this cluster.
    #[error(
        "another agent is registered for cluster {cluster}; if it is lost, make a token with `countersign cluster add {cluster} --replace`"
    )]
    SecondKey {
        /// The cluster.
        cluster: String,
    },
    /// Another name has this cluster already.
    #[error("this Kubernetes cluster is registered as {other} already; one cluster has one name")]
    SecondName {
        /// The name that it has.
        other: String,
    },
    /// The key speaks for another cluster.
    #[error("this key is registered for cluster {other} already; each agent makes its own key")]
    SharedKey {
        /// The cluster that it speaks for.
        other: String,
    },
    /// The key was revoked: it speaks for nobody any more.
    #[error(
        "this key was revoked as that of cluster {cluster}; an agent with a new key (an empty data folder) joins by `countersign cluster add {cluster} --replace`"
    )]
    KeyRevoked {
        /// The cluster that it spoke for.
        cluster: String,
    },
}

/// What to do with a candidate. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is registered already, with this key and recipient.
    Known,
    /// Write it under this number.
    Write {
        /// Number of the new registration.
        number: u64,
    },
}

/// Decides over a candidate, given the newest registration of each cluster and the keys that speak no more.
pub fn decide(
    newest: &BTreeMap<String, Arc<Registration>>,
    revoked: &BTreeMap<[u8; 32], Arc<Revoked>>,
    candidate: &Candidate,
) -> Result<Decision, NotRegistered> {
    if let Some(revoked) = revoked.get(&candidate.key) {
        return Err(NotRegistered::KeyRevoked {
            cluster: revoked.cluster.clone(),
        });
    }
    for other in newest
        .values()
        .filter(|other| other.cluster != candidate.cluster)
    {
        if other.key == candidate.key {
            return Err(NotRegistered::SharedKey {
                other: other.cluster.clone(),
            });
        }
        if !candidate.cluster_uid.is_empty() && other.cluster_uid == candidate.cluster_uid {
            return Err(NotRegistered::SecondName {
                other: other.cluster.clone(),
            });
        }
    }
    match newest.get(&candidate.cluster) {
        None => Ok(Decision::Write { number: 1 }),
        Some(known) if known.key == candidate.key && known.recipient == candidate.recipient => {
            Ok(Decision::Known)
        }
        // The same agent with a new encryption key, or a new agent that a person let in.
        Some(known) if known.key == candidate.key || candidate.replace => Ok(Decision::Write {
            number: known.number.saturating_add(1),
        }),
        Some(known) => Err(NotRegistered::SecondKey {
            cluster: known.cluster.clone(),
        }),
    }
}

/// The registrations of one store, with the newest of each cluster in memory.
#[derive(Debug)]
pub struct Registry {
    records: Records,
    newest: RwLock<BTreeMap<String, Arc<Registration>>>,
    revoked: RwLock<BTreeMap<[u8; 32], Arc<Revoked>>>,
}

/// Why a registration did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Refused.
    #[error(transparent)]
    Refused(#[from] NotRegistered),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] RecordFault),
}

impl Registry {
    /// Reads all registrations.
    pub async fn load(records: Records) -> Result<Self, RecordFault> {
        let registry = Self {
            records,
            newest: RwLock::default(),
            revoked: RwLock::default(),
        };
        registry.refresh().await?;
        Ok(registry)
    }

    /// Reads what other replicas wrote since.
    pub async fn refresh(&self) -> Result<(), RecordFault> {
        let mut newest: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for path in self.records.list("agents").await? {
            let Some((cluster, number)) = parse_path(&path) else {
                continue;
            };
            let had = newest
                .entry(cluster.to_owned())
                .or_insert((0, String::new()));
            if number > had.0 {
                *had = (number, path.clone());
            }
        }
        for (cluster, (number, path)) in newest {
            if self
                .get(&cluster)
                .is_some_and(|known| known.number >= number)
            {
                continue;
            }
            if let Some(registration) = self.records.read::<Registration>(&path).await? {
                self.remember(registration);
            }
        }
        self.refresh_revoked().await
    }

    /// The newest registration of each cluster.
    pub fn all(&self) -> Vec<Arc<Registration>> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.values().cloned().collect()
    }

    /// The newest registration of a cluster.
    pub fn get(&self, cluster: &str) -> Option<Arc<Registration>> {
        self.newest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(cluster)
            .cloned()
    }

    /// Registers an agent, or finds it registered.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the record may stand or not; asking again gives the same.
    pub async fn register(
        &self,
        candidate: &Candidate,
        now: Timestamp,
    ) -> Result<Arc<Registration>, RegisterError> {
        loop {
            let decision = {
                let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
                let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
                decide(&newest, &revoked, candidate)?
            };
            let number = match decision {
                Decision::Known => {
                    if let Some(known) = self.get(&candidate.cluster) {
                        return Ok(known);
                    }
                    continue;
                }
                Decision::Write { number } => number,
            };
            let registration = Registration {
                cluster: candidate.cluster.clone(),
                number,
                key: candidate.key,
                recipient: candidate.recipient.clone(),
                cluster_uid: candidate.cluster_uid.clone(),
                ca_fingerprint: candidate.ca_fingerprint.clone(),
                kubernetes: candidate.kubernetes.clone(),
                token: candidate.token.clone(),
                method: candidate.method,
                time: now,
            };
            let path = format!("agents/{}/{number:06}.json", candidate.cluster);
            match self.records.create(&path, &registration).await? {
                Written::Created => return Ok(self.remember(registration)),
                Written::Taken => self.refresh().await?,
            }
        }
    }

    fn remember(&self, registration: Registration) -> Arc<Registration> {
        let registration = Arc::new(registration);
        self.newest
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(registration.cluster.clone(), registration.clone());
        registration
    }
}

fn parse_path(path: &str) -> Option<(&str, u64)> {
    let (cluster, file) = path.strip_prefix("agents/")?.split_once('/')?;
    Some((cluster, file.strip_suffix(".json")?.parse().ok()?))
}

/// A key as base64 text.
mod key_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        bytes
            .try_into()
            .map_err(|_| D::Error::custom("a key has 32 bytes"))
    }
}

#[cfg(test)]
mod tests;
