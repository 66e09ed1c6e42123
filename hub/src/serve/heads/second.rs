//! Level `reproduced`: a head goes out only with a second renderer's word on it.
//!
//! An agent is brought to the newest state that a second renderer agreed to and none contradicted. If there is none above the
//! one it has, it waits; a contradiction of the head itself goes out, so that agents refuse it for everybody to see.

use bytes::Bytes;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::statement::Statement;
use countersign_proto::agent::v1 as wire;

use super::SealedFault;
use super::proof::fault;
use crate::log::Log;
use crate::store::index::OutsideKind;

/// Entries about one state that go out at most: with more of them, the first.
const ENTRIES_MAX: usize = 8;

/// Finds what second renderers said.
pub(super) struct Second {
    log: Log,
}

/// What they said of one state.
#[derive(Debug, Default)]
struct Words {
    entries: Vec<(u64, Bytes)>,
    agree: bool,
    contradict: bool,
}

/// A message that may go out, and the entries that go with it.
pub(super) type Settled = (wire::Head, Vec<(u64, Bytes)>);

impl Second {
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }

    /// Cuts a message back to the newest state that may be applied; none if the agent has to wait.
    /// Only entries among the first `size` of the log count.
    pub(super) async fn settle(
        &self,
        head: wire::Head,
        size: u64,
    ) -> Result<Option<Settled>, SealedFault> {
        if head.envelopes.is_empty() {
            return Ok(Some((head, Vec::new())));
        }
        let mut words = Vec::with_capacity(head.envelopes.len());
        for envelope in &head.envelopes {
            words.push(self.words(envelope, size).await?);
        }
        Ok(cut(head, words))
    }

    async fn words(&self, envelope: &Bytes, size: u64) -> Result<Words, SealedFault> {
        let about = leaf_hash(envelope).to_string();
        let entries = self.log.outside(OutsideKind::Reproduction, &about).await;
        let mut words = Words::default();
        for (index, bytes) in entries.map_err(fault)? {
            if index >= size {
                continue;
            }
            match said(&bytes) {
                Some(true) => words.agree = true,
                Some(false) => words.contradict = true,
                None => continue,
            }
            words.entries.push((index, bytes));
        }
        // What contradicts must not be crowded out.
        words
            .entries
            .sort_by_key(|(index, bytes)| (said(bytes) == Some(true), *index));
        words.entries.truncate(ENTRIES_MAX);
        Ok(words)
    }
}

fn said(bytes: &Bytes) -> Option<bool> {
    let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
    match Statement::parse(envelope.payload()).ok()? {
        Statement::Reproduction(this) => Some(this.agrees),
        _ => None,
    }
}

/// Pure.
fn cut(mut head: wire::Head, mut words: Vec<Words>) -> Option<Settled> {
    let newest = words
        .iter()
        .rposition(|words| words.agree && !words.contradict);
    match newest {
        Some(newest) => {
            if newest + 1 < head.envelopes.len() {
                head.envelopes.truncate(newest + 1);
                // What came along is of the head, and more does not follow before somebody speaks.
                head.attached.clear();
                head.more = false;
            }
            let entries = words.swap_remove(newest).entries;
            Some((head, entries))
        }
        None if head.more => Some((head, Vec::new())),
        None => {
            let last = words.pop().filter(|words| words.contradict)?;
            Some((head, last.entries))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(envelopes: u64, more: bool) -> wire::Head {
        let envelope = |number: u64| Bytes::from(number.to_string());
        wire::Head {
            envelopes: (1..=envelopes).map(envelope).collect(),
            attached: vec![wire::Blob::default()],
            more,
            ..wire::Head::default()
        }
    }

    fn words(all: &str) -> Vec<Words> {
        let word = |(index, said): (usize, char)| Words {
            entries: vec![(index as u64, Bytes::new())],
            agree: matches!(said, 'y' | 'b'),
            contradict: matches!(said, 'n' | 'b'),
        };
        all.chars().enumerate().map(word).collect()
    }

    #[test]
    fn an_agent_is_brought_to_the_newest_state_that_was_agreed_to() {
        // Said of each state: y agrees, n contradicts, b both, - nothing yet.
        for (said, more, reached, entries, attached) in [
            ("y", false, 1, vec![0], 1),
            ("yy", false, 2, vec![1], 1),
            ("y-", false, 1, vec![0], 0),
            ("yn", false, 1, vec![0], 0),
            ("yb", false, 1, vec![0], 0),
            ("-y", false, 2, vec![1], 1),
            ("ny", false, 2, vec![1], 1),
            ("--", true, 2, vec![], 1),
            ("y-", true, 1, vec![0], 0),
            ("-n", false, 2, vec![1], 1),
            ("b", false, 1, vec![0], 1),
        ] {
            let (head, found) = cut(head(said.len() as u64, more), words(said)).unwrap();
            let places: Vec<u64> = found.iter().map(|(index, _)| *index).collect();
            assert_eq!(head.envelopes.len(), reached, "{said}");
            assert_eq!(places, entries, "{said}");
            assert_eq!(head.attached.len(), attached, "{said}");
        }
    }

    #[test]
    fn it_waits_while_nobody_spoke_of_the_head() {
        for said in ["-", "--", "n-"] {
            assert!(
                cut(head(said.len() as u64, false), words(said)).is_none(),
                "{said}"
            );
        }
    }
}
