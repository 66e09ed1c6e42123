//! States that people let through before witnesses have seen them.
//!
//! The hub decides nothing here: it shows the agent the person's word beside the state, under the newest checkpoint that the
//! log signed, and the agent judges both. While witnesses are there all goes as ever.

use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::limits::CHECKPOINT_STALE_SECONDS;
use countersign_ledger::tlog::Note;
use countersign_ledger::trust::VerifiedRoot;
use countersign_proto::agent::v1 as wire;

use super::follow::Follower;
use super::overrides::Glass;
use super::{Ended, Head};
use crate::serve::clock::Clock;

/// A published checkpoint that will be too old so soon is no way to bring a state.
const MARGIN_SECONDS: u64 = 60;

/// Who must have cosigned, to see whether they are there.
pub(super) struct Witnesses {
    root: Arc<VerifiedRoot>,
    clock: Clock,
}

impl Witnesses {
    pub(super) fn new(root: Arc<VerifiedRoot>, clock: Clock) -> Self {
        Self { root, clock }
    }

    /// Whether an agent would take this published note for as long as it needs.
    fn vouch_for(&self, note: &[u8]) -> bool {
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        quorum_time(&self.root, note).is_some_and(|time| is_fresh(time, now))
    }
}

fn is_fresh(time: u64, now: u64) -> bool {
    now.saturating_sub(time) + MARGIN_SECONDS <= CHECKPOINT_STALE_SECONDS
}

/// When a quorum cosigned a note; none if none did.
fn quorum_time(root: &VerifiedRoot, note: &[u8]) -> Option<u64> {
    let (log, policy) = (root.log()?, root.witnesses()?);
    let witnesses = policy.witnesses().iter().map(|witness| &witness.vkey);
    let keys: Vec<_> = std::iter::once(log).chain(witnesses).cloned().collect();
    let opened = Note::parse(note).ok()?.open(&keys, &RingVerifier).ok()?;
    policy.newest_time(&policy.cosigned(&opened))
}

/// The newest of these states that somebody named, by its place, and the word. Pure.
fn named<'w>(envelopes: &[Bytes], words: &'w [Glass]) -> Option<(usize, &'w Glass)> {
    let word = |envelope: &Bytes| {
        let digest = Digest::of(envelope);
        words.iter().find(|word| word.state == digest)
    };
    let mut newest_first = envelopes.iter().enumerate().rev();
    newest_first.find_map(|(place, envelope)| Some((place, word(envelope)?)))
}

impl Follower {
    /// The message that brings a state which a person let through; none if nobody did, or witnesses are there.
    pub(super) async fn broken_glass(
        &mut self,
        head: Option<&Head>,
    ) -> Result<Option<wire::Head>, Ended> {
        let (Some(head), Some(witnesses), Some(overrides), Some(proving)) =
            (head, &self.witnesses, &self.overrides, &self.proving)
        else {
            return Ok(None);
        };
        let words = overrides.glass();
        if words.is_empty() || !proving.asks_witnesses() || head.generation <= self.at.generation {
            return Ok(None);
        }
        let mut envelopes = self.above(head).await?;
        let Some((place, word)) = named(&envelopes, &words) else {
            return Ok(None);
        };
        envelopes.truncate(place + 1);
        let covered = match envelopes.last() {
            Some(last) => proving.covering(&leaf_hash(last))?,
            None => None,
        };
        if covered.is_some_and(|note| witnesses.vouch_for(&note)) {
            return Ok(None);
        }
        let size = proving.claimed_size();
        let whole = envelopes.len();
        let mut message = self.reach(envelopes, head);
        if std::mem::take(&mut message.more) {
            self.let_read_last(&message).await?;
        }
        let settled = self.settle(message, Some(size)).await?;
        let Some((message, entries)) =
            settled.filter(|(message, _)| message.envelopes.len() == whole)
        else {
            return Ok(None);
        };
        let commits = self.commits(&message).await?;
        let Some(proving) = &mut self.proving else {
            return Ok(None);
        };
        let Some(mut message) = proving.prove_claimed(message)? else {
            return Ok(None);
        };
        message.reproductions = proving.shown(entries)?;
        message.overrides = proving.shown(vec![(word.index, word.entry.clone())])?;
        tracing::warn!(
            word = word.index,
            "a state goes out before witnesses have seen it, because a person says so"
        );
        Ok(Some(self.hand_out(message, commits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(index: u64, state: &[u8]) -> Glass {
        Glass {
            index,
            entry: Bytes::new(),
            state: Digest::of(state),
            until: 0,
        }
    }

    #[test]
    fn the_newest_state_that_somebody_named_goes_out() {
        let envelopes = [&b"six"[..], b"seven", b"eight"].map(Bytes::from_static);
        let found =
            |words: &[Glass]| named(&envelopes, words).map(|(place, word)| (place, word.index));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[word(4, b"nine")]), None);
        assert_eq!(found(&[word(4, b"seven")]), Some((1, 4)));
        assert_eq!(found(&[word(4, b"seven"), word(9, b"six")]), Some((1, 4)));
    }

    #[test]
    fn a_checkpoint_that_is_nearly_too_old_is_none() {
        assert!(is_fresh(1_000, 1_000));
        assert!(is_fresh(1_000, 900), "a witness's clock is ahead");
        assert!(is_fresh(1_000, 1_840));
        assert!(!is_fresh(1_000, 1_841));
    }
}
