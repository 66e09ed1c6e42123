//! From when to when a key counts, by places in the log: from the `trust/v1` entry of the first root that lists it to that
//! of the first one that does not. A clock can be wrong and a calendar can be argued with; the order of the log can not.

use std::sync::Arc;

use crate::key::PublicKey;

use super::root::VerifiedRoot;

/// The trust roots of a fleet by the place in the log from which on each is in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows {
    effects: Vec<Effect>,
}

/// A trust root and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Effect {
    since: u64,
    root: Arc<VerifiedRoot>,
}

/// What a key may be listed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role<'e> {
    /// Seals for this environment.
    Sealer(&'e str),
    /// Seals for any environment: `source` entries are of the whole fleet.
    AnySealer,
    /// Signs checkpoints.
    Log,
    /// Says which clusters may speak.
    AgentCa,
    /// Signs overrides.
    Overrider,
    /// Signs what a second renderer found.
    Reproducer,
    /// Signs what CI did to the infrastructure.
    Ci,
}

/// Whether a key held a role at a place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It did.
    Yes,
    /// It did before; the root of this version, in effect since that place, lists it no more.
    Dropped {
        /// Version of the root in effect.
        version: u64,
        /// The first place at which the key counted no more.
        since: u64,
    },
    /// No root in effect there or before lists it.
    NotYet,
    /// The place is before the first entry: the log does not say which root was in effect.
    Unrecorded,
}

/// Why an entry does not follow those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "trust root {version} at index {index} does not follow the one before it in version and place"
)]
pub struct OutOfOrder {
    /// Its version.
    pub version: u64,
    /// Its place.
    pub index: u64,
}

impl VerifiedRoot {
    /// The keys that hold `role`.
    pub fn holders(&self, role: Role<'_>) -> Vec<PublicKey> {
        let document = self.document();
        match role {
            Role::Sealer(environment) => self.sealers(environment).copied().collect(),
            Role::AnySealer => document
                .sealers
                .values()
                .flatten()
                .map(|sealer| sealer.key)
                .collect(),
            Role::Log => self.log().map(|log| *log.key()).into_iter().collect(),
            Role::AgentCa => document.agent_cas.iter().map(|ca| ca.key).collect(),
            Role::Overrider => document.overriders.iter().map(|named| named.key).collect(),
            Role::Reproducer => document.reproducers.iter().map(|named| named.key).collect(),
            Role::Ci => document.ci.iter().map(|named| named.key).collect(),
        }
    }
}

impl Windows {
    /// Adds the root whose `trust/v1` entry stands at `index`. Versions may be left out, but neither they nor places go back.
    pub fn push(&mut self, index: u64, root: Arc<VerifiedRoot>) -> Result<(), OutOfOrder> {
        let version = root.version();
        let follows = self
            .effects
            .last()
            .is_none_or(|last| last.since < index && last.root.version() < version);
        if !follows {
            return Err(OutOfOrder { version, index });
        }
        self.effects.push(Effect { since: index, root });
        Ok(())
    }

    /// The root in effect at `index`, and its own place; none before the first.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<(u64, &VerifiedRoot)> {
        self.in_effect(index)
            .last()
            .map(|effect| (effect.since, &*effect.root))
    }

    /// Whether `key` held `role` at `index`.
    #[must_use]
    pub fn holds(&self, key: &PublicKey, role: Role<'_>, index: u64) -> Holds {
        let effects = self.in_effect(index);
        if effects.is_empty() {
            return Holds::Unrecorded;
        }
        // The first of the roots without the key, counted from the newest back, is the one that dropped it.
        let mut dropped = None;
        for effect in effects.iter().rev() {
            if effect.root.holders(role).contains(key) {
                return dropped.map_or(Holds::Yes, |(version, since)| Holds::Dropped {
                    version,
                    since,
                });
            }
            dropped = Some((effect.root.version(), effect.since));
        }
        Holds::NotYet
    }

    /// Each root's place and version, in order: what is kept of windows over a restart.
    pub fn effects(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        let effect = |effect: &Effect| (effect.since, effect.root.version());
        self.effects.iter().map(effect)
    }

    /// Whether no entry was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// The roots in effect at `index` or before, oldest first.
    fn in_effect(&self, index: u64) -> &[Effect] {
        let count = self.effects.partition_point(|effect| effect.since <= index);
        self.effects.get(..count).unwrap_or_default()
    }
}
