//! The trust root after the current one: the same content, one version higher, with a person's changes; and how many of
//! the signatures that it needs it has.

use crate::commit::People;
use crate::dsse::Envelope;
use crate::key::{PublicKey, Verify};

use super::document::{
    ClusterTrust, LogTrust, NamedKey, Person, RoleKey, RootRole, TrustRoot, TrustRootError,
    WitnessTrust,
};
use super::root::VerifiedRoot;

/// A role whose holders have keys of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRole {
    /// Signs trust roots.
    Root,
    /// Seals for an environment.
    Sealer(String),
    /// Says which clusters may speak.
    AgentCa,
    /// Signs overrides.
    Overrider,
    /// A second renderer.
    Reproducer,
    /// CI.
    Ci,
}

/// One change of a trust root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key more in a role; `name` says whose it is, for roles of people.
    Add {
        /// The role.
        role: KeyRole,
        /// The key.
        key: PublicKey,
        /// Whose it is.
        name: String,
    },
    /// Another key in the place of one.
    Rotate {
        /// The role.
        role: KeyRole,
        /// The key that goes.
        old: PublicKey,
        /// The key that comes.
        new: PublicKey,
    },
    /// A key goes from all roles.
    Revoke(PublicKey),
    /// A person's key goes, by its exact text; a person without keys goes with it.
    RevokePerson(String),
    /// How many root keys sign.
    Threshold(usize),
    /// The log's key.
    Log(LogTrust),
    /// Whose cosignatures count.
    Witnesses(String),
    /// A person, or further keys and paths of one who is listed.
    Person(Person),
    /// A cluster, or another environment or level of one.
    Cluster(String, ClusterTrust),
}

/// Why a change can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The key is in no place where it could be changed.
    #[error("key {0} is not in that role")]
    NotThere(String),
    /// The one key of a log.
    #[error("log.vkey: a log has one key; give its next one with `trust add log`")]
    LogKey,
    /// A witness's key.
    #[error(
        "witnesses.policy: names this key; give another policy with `trust add witness-policy`"
    )]
    WitnessKey,
    /// The only key of an environment with clusters.
    #[error("sealers.{0}: would have no key; add its next key first")]
    LastSealer(String),
    /// Fewer root keys than must sign.
    #[error(
        "root.keys: fewer than root.threshold ({0}) would be left; add a key first or lower the threshold"
    )]
    TooFewRoots(usize),
    /// A person's entry that no agent could use.
    #[error("people: {person}: {problem}")]
    Person {
        /// Whose.
        person: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The content would be refused.
    #[error(transparent)]
    Document(#[from] TrustRootError),
    /// Versions end.
    #[error("version: no number is left")]
    Version,
}

/// The content of the root after `current`, still without a change.
pub fn begin(current: &TrustRoot, issued: &str) -> Result<TrustRoot, ChangeError> {
    let mut next = current.clone();
    next.version = current.version.checked_add(1).ok_or(ChangeError::Version)?;
    issued.clone_into(&mut next.issued);
    Ok(next)
}

/// Makes a change, and checks the whole: a root that would be refused is not made.
pub fn apply(root: &TrustRoot, change: Change) -> Result<TrustRoot, ChangeError> {
    let mut next = root.clone();
    match change {
        Change::Add { role, key, name } => add(&mut next, role, key, name),
        Change::Rotate { role, old, new } => {
            let place = keys(&mut next, &role)
                .into_iter()
                .find(|key| **key == old)
                .ok_or_else(|| ChangeError::NotThere(old.to_string()))?;
            *place = new;
        }
        Change::Revoke(key) => revoke(&mut next, &key)?,
        Change::RevokePerson(text) => {
            let before: usize = next.people.iter().map(|person| person.keys.len()).sum();
            for person in &mut next.people {
                person.keys.retain(|key| key.key.trim() != text.trim());
            }
            next.people.retain(|person| !person.keys.is_empty());
            let after: usize = next.people.iter().map(|person| person.keys.len()).sum();
            if before == after {
                return Err(ChangeError::NotThere(text));
            }
        }
        Change::Threshold(threshold) => next.root.threshold = threshold,
        Change::Log(log) => next.log = Some(log),
        Change::Witnesses(policy) => next.witnesses = Some(WitnessTrust { policy }),
        Change::Person(person) => {
            match next.people.iter_mut().find(|had| had.name == person.name) {
                Some(had) => {
                    had.keys.extend(person.keys);
                    for path in person.paths {
                        if !had.paths.contains(&path) {
                            had.paths.push(path);
                        }
                    }
                    had.forge |= person.forge;
                }
                None => next.people.push(person),
            }
        }
        Change::Cluster(name, trust) => {
            next.clusters.insert(name, trust);
        }
    }
    next.check()?;
    People::read(&next.people).map_err(|mistake| ChangeError::Person {
        person: mistake.person,
        problem: mistake.problem,
    })?;
    Ok(next)
}

fn add(root: &mut TrustRoot, role: KeyRole, key: PublicKey, name: String) {
    let named = NamedKey { key, name };
    match role {
        KeyRole::Root => root.root.keys.push(named),
        KeyRole::Sealer(environment) => root
            .sealers
            .entry(environment)
            .or_default()
            .push(RoleKey { key }),
        KeyRole::AgentCa => root.agent_cas.push(RoleKey { key }),
        KeyRole::Overrider => root.overriders.push(named),
        KeyRole::Reproducer => root.reproducers.push(named),
        KeyRole::Ci => root.ci.push(named),
    }
}

/// The keys of a role, to be changed.
fn keys<'r>(root: &'r mut TrustRoot, role: &KeyRole) -> Vec<&'r mut PublicKey> {
    let of_named = |keys: &'r mut Vec<NamedKey>| keys.iter_mut().map(|named| &mut named.key);
    match role {
        KeyRole::Root => of_named(&mut root.root.keys).collect(),
        KeyRole::Sealer(environment) => root
            .sealers
            .get_mut(environment)
            .into_iter()
            .flatten()
            .map(|sealer| &mut sealer.key)
            .collect(),
        KeyRole::AgentCa => root.agent_cas.iter_mut().map(|ca| &mut ca.key).collect(),
        KeyRole::Overrider => of_named(&mut root.overriders).collect(),
        KeyRole::Reproducer => of_named(&mut root.reproducers).collect(),
        KeyRole::Ci => of_named(&mut root.ci).collect(),
    }
}

fn revoke(root: &mut TrustRoot, key: &PublicKey) -> Result<(), ChangeError> {
    if root.log_key()?.is_some_and(|log| log.key() == key) {
        return Err(ChangeError::LogKey);
    }
    let policy = root.witness_policy()?;
    let mut witnesses = policy.iter().flat_map(|policy| policy.witnesses());
    if witnesses.any(|witness| witness.vkey.key() == key) {
        return Err(ChangeError::WitnessKey);
    }
    let mut found = false;
    let mut keep = |held: &PublicKey| {
        found |= held == key;
        held != key
    };
    root.root.keys.retain(|named| keep(&named.key));
    if root.root.keys.len() < root.root.threshold {
        return Err(ChangeError::TooFewRoots(root.root.threshold));
    }
    for (environment, sealers) in &mut root.sealers {
        sealers.retain(|sealer| keep(&sealer.key));
        if sealers.is_empty() {
            return Err(ChangeError::LastSealer(environment.clone()));
        }
    }
    root.agent_cas.retain(|ca| keep(&ca.key));
    for role in [&mut root.overriders, &mut root.reproducers, &mut root.ci] {
        role.retain(|named| keep(&named.key));
    }
    if found {
        Ok(())
    } else {
        Err(ChangeError::NotThere(key.to_string()))
    }
}

/// How many signatures of a threshold are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Keys that signed.
    pub got: usize,
    /// Keys that must sign.
    pub want: usize,
}

impl Tally {
    /// Enough signed.
    #[must_use]
    pub const fn met(self) -> bool {
        self.got >= self.want
    }

    /// Counts the keys of `role` that signed `envelope`.
    #[must_use]
    pub fn of(role: &RootRole, envelope: &Envelope, verifier: &dyn Verify) -> Self {
        let keys = role.keys.iter().map(|named| &named.key);
        Self {
            got: envelope.signed_by(keys, verifier).len(),
            want: role.threshold,
        }
    }
}

/// The signatures of a draft: by the keys of the current root, and by its own.
#[must_use]
pub fn tallies(
    current: &VerifiedRoot,
    draft: &TrustRoot,
    envelope: &Envelope,
    verifier: &dyn Verify,
) -> (Tally, Tally) {
    (
        Tally::of(&current.document().root, envelope, verifier),
        Tally::of(&draft.root, envelope, verifier),
    )
}
