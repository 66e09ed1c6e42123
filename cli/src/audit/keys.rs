//! Whose word counts, and at which place of the log. A key of a role is valid from the `trust/v1` entry of the root that
//! lists it to that of the root that drops it ([`Windows`]); a receipt key from its enrolment to the cluster's next one; any key
//! ends with its revocation.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_ledger::key::PublicKey;
use countersign_ledger::trust::{
    ClusterTrust, Holds, OutOfOrder, Role as RootRole, Roots, TrustRoot, VerifiedRoot, Windows,
};
use serde::{Deserialize, Serialize};

/// What a signer speaks as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'r> {
    /// As the trust root lists it.
    Root(RootRole<'r>),
    /// Countersigns for a cluster.
    Receipt(&'r str),
}

/// What a key is at a place of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may speak in that role.
    Valid,
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
    /// Places and versions of the roots that took effect.
    effects: Vec<(u64, u64)>,
    /// Receipt keys by cluster, in log order.
    enrolled: BTreeMap<String, Vec<Enrolled>>,
    /// Keys that were revoked, and where.
    revoked: Vec<(PublicKey, u64)>,
}

/// The chain of trust roots, and what the log has said of keys so far.
#[derive(Debug, Clone)]
pub struct Keys {
    roots: Vec<Arc<VerifiedRoot>>,
    windows: Windows,
    log: LogKeys,
    /// Receipt keys that enrolments ahead of the judge name: only to know which signatures to try.
    ahead: BTreeMap<String, Vec<PublicKey>>,
}

impl Keys {
    /// The keys under a chain of roots, where the log was read up to some place.
    pub fn resumed(roots: &Roots, log: LogKeys) -> Self {
        let mut keys = Self {
            roots: roots.iter().cloned().map(Arc::new).collect(),
            windows: Windows::default(),
            log,
            ahead: BTreeMap::new(),
        };
        for (index, version) in std::mem::take(&mut keys.log.effects) {
            // They were in order when they were written.
            let _ = keys.take_root(version, index);
        }
        keys
    }

    /// What the log has said.
    pub fn log(&self) -> &LogKeys {
        &self.log
    }

    /// The root of a version.
    pub fn root(&self, version: u64) -> Option<&VerifiedRoot> {
        let found = self.roots.iter().find(|root| root.version() == version);
        found.map(AsRef::as_ref)
    }

    /// The root in effect: that of the newest `trust/v1` entry, before it the oldest one.
    pub fn in_effect(&self) -> Option<&TrustRoot> {
        let newest = self.windows.at(u64::MAX).map(|(_, root)| root);
        let root = newest.or_else(|| self.roots.first().map(AsRef::as_ref));
        root.map(VerifiedRoot::document)
    }

    /// Version in effect by the log's own word.
    pub fn effective(&self) -> Option<u64> {
        self.windows.at(u64::MAX).map(|(_, root)| root.version())
    }

    /// What the root in effect says of a cluster.
    pub fn cluster(&self, name: &str) -> Option<&ClusterTrust> {
        if self.windows.is_empty() {
            // Before the log names a root, a cluster that any root of the chain lists is known.
            let mut newest_first = self.roots.iter().rev();
            return newest_first.find_map(|root| root.document().clusters.get(name));
        }
        self.in_effect()?.clusters.get(name)
    }

    /// The person whose key for overrides this is.
    pub fn overrider(&self, key: &PublicKey) -> Option<&str> {
        let listed = |root: &'_ TrustRoot| -> Option<usize> {
            root.overriders.iter().position(|named| named.key == *key)
        };
        let now = self.in_effect();
        let roots = self.roots.iter().rev().map(|root| root.document());
        now.into_iter().chain(roots).find_map(|root| {
            let named = root.overriders.get(listed(root)?)?;
            Some(named.name.as_str())
        })
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

    /// The root of a version takes effect at a place; one that is not known does not.
    pub fn take_root(&mut self, version: u64, index: u64) -> Result<(), OutOfOrder> {
        let found = self.roots.iter().find(|root| root.version() == version);
        let root = found.ok_or(OutOfOrder { version, index })?;
        self.windows.push(index, root.clone())?;
        self.log.effects.push((index, version));
        Ok(())
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
    pub fn standing(&self, role: Role<'_>, key: &PublicKey, index: u64) -> Standing {
        if let Some(at) = self.revoked(key).filter(|at| *at < index) {
            return Standing::Revoked(at);
        }
        match role {
            Role::Receipt(cluster) => self.receipt_standing(cluster, key),
            Role::Root(role) => match self.windows.holds(key, role, index) {
                Holds::Yes => Standing::Valid,
                Holds::Dropped { .. } => Standing::Dropped,
                // The log does not say yet which root is in effect.
                Holds::Unrecorded if self.lists(key, role, |_| true) => Standing::Valid,
                Holds::Unrecorded | Holds::NotYet => self.elsewhere(key, role),
            },
        }
    }

    /// What a key is that no root in effect lists for a role.
    fn elsewhere(&self, key: &PublicKey, role: RootRole<'_>) -> Standing {
        let now = self.effective().unwrap_or(0);
        if self.lists(key, role, |version| version > now) {
            Standing::NotYet
        } else if self.lists(key, role, |version| version < now) {
            Standing::Dropped
        } else {
            self.other(key)
        }
    }

    fn lists(&self, key: &PublicKey, role: RootRole<'_>, wanted: impl Fn(u64) -> bool) -> bool {
        let mut roots = self.roots.iter().filter(|root| wanted(root.version()));
        roots.any(|root| root.holders(role).contains(key))
    }

    fn other(&self, key: &PublicKey) -> Standing {
        if self.all().any(|had| had == key) {
            Standing::Other
        } else {
            Standing::Unknown
        }
    }

    fn receipt_standing(&self, cluster: &str, key: &PublicKey) -> Standing {
        let own = self.enrolled(cluster).iter().rfind(|had| had.key == *key);
        match own {
            Some(own) if own.until.is_none() => Standing::Valid,
            Some(_) => Standing::Dropped,
            None if self.ahead.get(cluster).is_some_and(|a| a.contains(key)) => Standing::NotYet,
            None => self.other(key),
        }
    }

    /// Tells of a receipt key that an entry ahead of the judge names, so that signatures can be tried before it is judged.
    pub fn look_ahead(&mut self, cluster: &str, key: PublicKey) {
        let keys = self.ahead.entry(cluster.to_owned()).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }

    /// The keys that an honest entry of this role could be signed with, at any place.
    pub fn candidates(&self, role: Role<'_>) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = match role {
            Role::Receipt(cluster) => {
                let known = self.enrolled(cluster).iter().map(|had| had.key);
                let ahead = self.ahead.get(cluster).into_iter().flatten().copied();
                known.chain(ahead).collect()
            }
            Role::Root(role) => self
                .roots
                .iter()
                .flat_map(|root| root.holders(role))
                .collect(),
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Every key that anything names, except the root keys': they sign no entries.
    pub fn all(&self) -> impl Iterator<Item = &PublicKey> {
        let roots = self.roots.iter().flat_map(|root| {
            let root = root.document();
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
