//! Below what nothing is believed, whoever says it: the newest that this cluster's agent ever verified.
//!
//! It stands in three places, and the highest wins: on the agent's volume (`state.json`), in the cluster (an annotation of the
//! agent's Lease, written with its renewals, so that it costs no request), and in the agent's own receipts in the log. So neither
//! a lost nor a restored volume, nor a restored etcd, nor a hub that shows an older day takes the cluster back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_ledger::digest::Digest;
use countersign_ledger::key::PublicKey;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::{Roots, Windows};
use countersign_ledger::verify::Seen;
use serde::{Deserialize, Serialize};

use crate::saved::Log;

/// The annotation that holds it.
pub const ANNOTATION: &str = "countersign.dev/floor";
/// Bytes of an annotation that is read: a checkpoint with dozens of cosignatures fits.
const ANNOTATION_BYTES_MAX: usize = 64 << 10;

/// The newest of everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Floor {
    /// The cluster's name in its fleet.
    pub cluster: String,
    /// Version of the trust root.
    pub trust_root: u64,
    /// Digest of that trust root: another one of this version is another fleet's, and so is the floor.
    pub trust_root_digest: Digest,
    /// Generation; 0 for none.
    #[serde(default)]
    pub generation: u64,
    /// The log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// The receipt key, and the newest `seq` of it that is proven to be in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<(PublicKey, u64)>,
}

impl Floor {
    /// What is known at a start, from the volume alone.
    #[must_use]
    pub fn of(cluster: &str, roots: &Roots, generation: u64, seen: Option<&Seen>) -> Self {
        let newest = roots.newest();
        Self {
            cluster: cluster.to_owned(),
            trust_root: newest.version(),
            trust_root_digest: newest.digest(),
            generation,
            log: Log::of(seen, None, &Windows::default()),
            receipts: None,
        }
    }

    /// Whether it speaks of this cluster of this fleet; of trust roots that are not known yet it may.
    #[must_use]
    pub fn concerns(&self, cluster: &str, roots: &Roots) -> bool {
        let other = |root: &countersign_ledger::trust::VerifiedRoot| {
            root.digest() != self.trust_root_digest
        };
        self.cluster == cluster && !roots.at(self.trust_root).is_some_and(other)
    }

    /// Takes the higher of each.
    pub fn raise(&mut self, other: &Self) {
        if other.trust_root > self.trust_root {
            self.trust_root = other.trust_root;
            self.trust_root_digest = other.trust_root_digest;
        }
        self.generation = self.generation.max(other.generation);
        let size = |log: &Option<Log>| log.as_ref().map_or(0, |log| log.seen().size);
        if size(&other.log) > size(&self.log) {
            self.log.clone_from(&other.log);
        }
        self.receipts = match (self.receipts, other.receipts) {
            (Some((key, seq)), Some((same, more))) if key == same => Some((key, seq.max(more))),
            (None, other) => other,
            // Another key's chain is another one; the agent's own counts.
            (ours, _) => ours,
        };
    }

    /// Whether a state of `generation` under the newest of `roots` may be taken.
    ///
    /// # Errors
    /// [`Refusal::Replayed`] or [`Refusal::TrustRootUnknown`].
    pub fn check(&self, generation: u64, roots: &Roots) -> Result<(), Refusal> {
        let newest = roots.newest().version();
        if newest < self.trust_root {
            return Err(Refusal::TrustRootUnknown {
                named: self.trust_root,
                newest,
            });
        }
        if generation < self.generation {
            return Err(Refusal::Replayed {
                had: self.generation,
                got: generation,
            });
        }
        Ok(())
    }

    /// Reads an annotation; none if it is no floor.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > ANNOTATION_BYTES_MAX {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// As an annotation.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The floor, shared by all that raise it. Nothing before it is known what the volume holds.
#[derive(Debug, Default)]
pub struct Floors(Mutex<Option<Floor>>);

impl Floors {
    fn held(&self) -> MutexGuard<'_, Option<Floor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it stands.
    #[must_use]
    pub fn get(&self) -> Option<Floor> {
        self.held().clone()
    }

    /// Takes the higher of each.
    pub fn raise(&self, other: &Floor) {
        match &mut *self.held() {
            Some(floor) => floor.raise(other),
            none => *none = Some(other.clone()),
        }
    }

    /// A receipt of `key` is proven to be in the log.
    pub fn proven(&self, key: PublicKey, seq: u64) {
        if let Some(floor) = &mut *self.held() {
            floor.receipts = match floor.receipts {
                Some((had, more)) if had == key => Some((key, more.max(seq))),
                _ => Some((key, seq)),
            };
        }
    }

    /// The newest `seq` of `key` that was ever proven, as far as is known.
    #[must_use]
    pub fn seq(&self, key: &PublicKey) -> u64 {
        let held = self.held();
        let receipts = held.as_ref().and_then(|floor| floor.receipts);
        receipts
            .filter(|(had, _)| had == key)
            .map_or(0, |(_, seq)| seq)
    }

    /// As [`Floor::check`].
    ///
    /// # Errors
    /// As [`Floor::check`].
    pub fn check(&self, generation: u64, roots: &Roots) -> Result<(), Refusal> {
        match &*self.held() {
            Some(floor) => floor.check(generation, roots),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn floor(trust_root: u64, generation: u64, size: u64, seq: u64) -> Floor {
        let seen = Seen {
            size,
            root: Digest::of(&size.to_be_bytes()),
            note: format!("note of {size}").into_bytes(),
            time: None,
            before: None,
        };
        Floor {
            cluster: "one".into(),
            trust_root,
            trust_root_digest: Digest::of(&trust_root.to_be_bytes()),
            generation,
            log: Log::of((size > 0).then_some(&seen), None, &Windows::default()),
            receipts: (seq > 0).then_some((PublicKey([7; 32]), seq)),
        }
    }

    proptest! {
        #[test]
        fn raising_never_lowers_anything_and_the_order_does_not_matter(
            a in (1..9u64, 0..9u64, 0..9u64, 0..9u64),
            b in (1..9u64, 0..9u64, 0..9u64, 0..9u64),
        ) {
            let (a, b) = (floor(a.0, a.1, a.2, a.3), floor(b.0, b.1, b.2, b.3));
            let (mut one, mut two) = (a.clone(), b.clone());
            one.raise(&b);
            two.raise(&a);
            prop_assert_eq!(&one, &two);
            let size = |floor: &Floor| floor.log.as_ref().map_or(0, |log| log.seen().size);
            let seq = |floor: &Floor| floor.receipts.map_or(0, |(_, seq)| seq);
            for low in [&a, &b] {
                prop_assert!(one.trust_root >= low.trust_root && one.generation >= low.generation);
                prop_assert!(size(&one) >= size(low) && seq(&one) >= seq(low));
            }
            prop_assert_eq!(Floor::parse(&one.text()), Some(one));
        }
    }

    #[test]
    fn another_keys_chain_moves_no_seq() {
        let floors = Floors::default();
        floors.raise(&floor(1, 3, 9, 5));
        assert_eq!(floors.seq(&PublicKey([7; 32])), 5);
        assert_eq!(floors.seq(&PublicKey([8; 32])), 0);
        floors.proven(PublicKey([7; 32]), 4);
        assert_eq!(floors.seq(&PublicKey([7; 32])), 5);
        floors.proven(PublicKey([8; 32]), 1);
        assert_eq!(floors.seq(&PublicKey([8; 32])), 1);
    }

    #[test]
    fn what_is_no_floor_is_none() {
        for text in ["", "{}", "[]", "{\"cluster\":1}"] {
            assert_eq!(Floor::parse(text), None, "{text}");
        }
        assert_eq!(Floor::parse(&"x".repeat(1 << 20)), None);
    }
}
