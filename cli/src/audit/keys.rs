//! Whose word counts, and at which place of the log. A key of a role is valid from the `trust/v1` entry of the root that
//! lists it to that of the root that drops it; a receipt key from its enrolment to the cluster's next one; any key ends
//! with its revocation.

use std::collections::BTreeMap;

use countersign_ledger::key::PublicKey;
use countersign_ledger::trust::{ClusterTrust, TrustRoot};
use serde::{Deserialize, Serialize};

/// What a signer speaks as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Seals states of an environment.
    Sealer(String),
    /// Seals for any environment: source entries are of none.
    AnySealer,
    /// Says which clusters may speak.
    AgentCa,
    /// Signs overrides.
    Overrider,
    /// Renders again.
    Reproducer,
    /// Changes the infrastructure.
    Ci,
    /// Countersigns for a cluster.
    Receipt(String),
}

/// What a key is at a place of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may speak in that role; its name, where the trust root has one.
    Valid(String),
    /// It was revoked at this entry.
    Revoked(u64),
    /// A root or enrolment that comes later in the log lists it.
    NotYet,
    /// A root or enrolment took it away.
    Dropped,
    /// It is a key of another role.
    Other,
    /// Nobody ever listed it.
    Unknown,
}

/// A receipt key of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The key.
    pub key: PublicKey,
    /// Index of its enrolment.
    pub from: u64,
    /// Index of the enrolment that replaced it.
    pub until: Option<u64>,
    /// Number of the enrolment.
    pub number: u64,
}

/// What the log itself says of keys, up to some place: all that a resumed pass must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogKeys {
    /// Version of the root in effect; none before the first `trust/v1` entry.
    effective: Option<u64>,
    /// Receipt keys by cluster, in log order.
    enrolled: BTreeMap<String, Vec<Enrolled>>,
    /// Keys that were revoked, and where.
    revoked: Vec<(PublicKey, u64)>,
}

/// The chain of trust roots, and what the log has said of keys so far.
#[derive(Debug, Clone)]
pub struct Keys {
    roots: Vec<TrustRoot>,
    log: LogKeys,
    /// Receipt keys that enrolments ahead of the judge name: only to know which signatures to try.
    ahead: BTreeMap<String, Vec<PublicKey>>,
}

impl Keys {
    /// The keys under a chain of roots, oldest first, where the log was read up to some place.
    pub fn resumed(roots: Vec<TrustRoot>, log: LogKeys) -> Self {
        Self {
            roots,
            log,
            ahead: BTreeMap::new(),
        }
    }

    /// What the log has said.
    pub fn log(&self) -> &LogKeys {
        &self.log
    }

    /// The roots, oldest first.
    pub fn roots(&self) -> &[TrustRoot] {
        &self.roots
    }

    /// The root in effect: that of the newest `trust/v1` entry, before it the oldest one.
    pub fn root(&self) -> Option<&TrustRoot> {
        match self.log.effective {
            Some(version) => self.roots.iter().find(|root| root.version == version),
            None => self.roots.first(),
        }
    }

    /// Version in effect by the log's own word.
    pub fn effective(&self) -> Option<u64> {
        self.log.effective
    }

    /// What the root in effect says of a cluster.
    pub fn cluster(&self, name: &str) -> Option<&ClusterTrust> {
        // Before the log names a root, a cluster that any root of the chain lists is known.
        let newest_first = self.roots.iter().rev();
        match self.log.effective {
            Some(_) => self.root()?.clusters.get(name),
            None => newest_first
                .filter_map(|root| root.clusters.get(name))
                .next(),
        }
    }

    /// Receipt keys of a cluster, in log order.
    pub fn enrolled(&self, cluster: &str) -> &[Enrolled] {
        self.log.enrolled.get(cluster).map_or(&[], Vec::as_slice)
    }

    /// Where a key was revoked.
    pub fn revoked(&self, key: &PublicKey) -> Option<u64> {
        let found = self.log.revoked.iter().find(|(had, _)| had == key);
        found.map(|(_, index)| *index)
    }

    /// A root takes effect.
    pub fn take_root(&mut self, version: u64) {
        self.log.effective = Some(version);
    }

    /// A cluster speaks with this key from here on.
    pub fn take_enrolment(&mut self, cluster: &str, key: PublicKey, number: u64, index: u64) {
        let keys = self.log.enrolled.entry(cluster.to_owned()).or_default();
        if let Some(last) = keys.last_mut() {
            last.number = number;
            if last.key == key {
                return;
            }
            last.until = Some(index);
        }
        keys.push(Enrolled {
            key,
            from: index,
            until: None,
            number,
        });
    }

    /// A key speaks no more.
    pub fn take_revocation(&mut self, key: PublicKey, index: u64) {
        if self.revoked(&key).is_none() {
            self.log.revoked.push((key, index));
        }
    }

    /// Whether a key may speak in a role at entry `index`, the next one.
    pub fn standing(&self, role: &Role, key: &PublicKey, index: u64) -> Standing {
        if let Some(at) = self.revoked(key).filter(|at| *at < index) {
            return Standing::Revoked(at);
        }
        if let Role::Receipt(cluster) = role {
            return self.receipt_standing(cluster, key);
        }
        let lists = |root: &TrustRoot| named(root, role).find(|(had, _)| had == key);
        let now = match self.log.effective {
            Some(_) => self.root().and_then(lists),
            None => self.roots.iter().find_map(lists),
        };
        if let Some((_, name)) = now {
            return Standing::Valid(name);
        }
        let effective = self.log.effective.unwrap_or(0);
        let of = |wanted: fn(u64, u64) -> bool| {
            let mut roots = self.roots.iter();
            roots.any(|root| wanted(root.version, effective) && lists(root).is_some())
        };
        if of(|version, now| version < now) {
            Standing::Dropped
        } else if of(|version, now| version > now) {
            Standing::NotYet
        } else if self.all().any(|had| had == key) {
            Standing::Other
        } else {
            Standing::Unknown
        }
    }

    fn receipt_standing(&self, cluster: &str, key: &PublicKey) -> Standing {
        let own = self.enrolled(cluster).iter().rfind(|had| had.key == *key);
        match own {
            Some(own) if own.until.is_none() => Standing::Valid(String::new()),
            Some(_) => Standing::Dropped,
            None if self.ahead.get(cluster).is_some_and(|a| a.contains(key)) => Standing::NotYet,
            None if self.all().any(|had| had == key) => Standing::Other,
            None => Standing::Unknown,
        }
    }

    /// Tells of a receipt key that an entry ahead of the judge names, so that signatures can be tried in parallel.
    pub fn look_ahead(&mut self, cluster: &str, key: PublicKey) {
        let keys = self.ahead.entry(cluster.to_owned()).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }

    /// The keys that an honest entry of this role could be signed with, at any place.
    pub fn candidates(&self, role: &Role) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = match role {
            Role::Receipt(cluster) => {
                let known = self.enrolled(cluster).iter().map(|had| had.key);
                let ahead = self.ahead.get(cluster).into_iter().flatten().copied();
                known.chain(ahead).collect()
            }
            role => {
                let roots = self.roots.iter().rev();
                roots
                    .flat_map(|root| named(root, role).map(|(key, _)| key))
                    .collect()
            }
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Every key that anything names, except the root keys': they sign no entries.
    pub fn all(&self) -> impl Iterator<Item = &PublicKey> {
        let roots = self.roots.iter().flat_map(|root| {
            let sealers = root.sealers.values().flatten().map(|had| &had.key);
            let cas = root.agent_cas.iter().map(|had| &had.key);
            let named = [&root.overriders, &root.reproducers, &root.ci];
            let named = named.into_iter().flatten().map(|had| &had.key);
            sealers.chain(cas).chain(named)
        });
        let enrolled = self.log.enrolled.values().flatten().map(|had| &had.key);
        roots.chain(enrolled).chain(self.ahead.values().flatten())
    }
}

/// The keys of a role in one root, with their names.
fn named<'r>(
    root: &'r TrustRoot,
    role: &'r Role,
) -> Box<dyn Iterator<Item = (PublicKey, String)> + 'r> {
    let sealer = |environment: &'r str| {
        let keys = root.sealers.get(environment).into_iter().flatten();
        keys.map(move |had| (had.key, format!("sealer of {environment}")))
    };
    let people = |keys: &'r [countersign_ledger::trust::NamedKey]| {
        keys.iter().map(|had| (had.key, had.name.clone()))
    };
    match role {
        Role::Sealer(environment) => Box::new(sealer(environment)),
        Role::AnySealer => Box::new(root.sealers.keys().flat_map(move |name| sealer(name))),
        Role::AgentCa => Box::new(
            root.agent_cas
                .iter()
                .map(|had| (had.key, "agent CA".to_owned())),
        ),
        Role::Overrider => Box::new(people(&root.overriders)),
        Role::Reproducer => Box::new(people(&root.reproducers)),
        Role::Ci => Box::new(people(&root.ci)),
        Role::Receipt(_) => Box::new(std::iter::empty()),
    }
}
