//! Heads with the commits behind them, for clusters at level `authored` and above: their agents judge for themselves whose
//! word each commit is.
//!
//! What one message does not hold goes before it, in messages of nothing else.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::statement::Statement;
use countersign_proto::agent::v1 as wire;
use futures::future::BoxFuture;
use prost::Message as _;

use super::super::limits::GIT_OBJECTS_PER_HEAD_BYTES_MAX;

/// Commits and trees by which somebody else judges: implemented over the mirror.
pub trait Commits: Send + Sync + 'static {
    /// What an agent that judged up to `old` reads to judge up to `new`; as at a first start without `old`. Both are commits in
    /// hex; `old` is what an agent says. Commits that are nobody's word come too: the agent says so itself.
    fn between<'a>(
        &'a self,
        old: Option<&'a str>,
        new: &'a str,
    ) -> BoxFuture<'a, Result<Arc<[Bytes]>, NoCommits>>;
}

/// Why there is nothing to judge by.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoCommits {
    /// An agent would not look at them, or not take them.
    #[error("{problem}")]
    Refused {
        /// Why, as a stable name.
        code: &'static str,
        /// For a person.
        problem: String,
    },
    /// Not now: asking again may help.
    #[error("the commits can't be read: {0}")]
    Unreadable(String),
}

/// Adds commits to what one stream of heads says.
pub(super) struct Authors {
    commits: Arc<dyn Commits>,
    judged: Option<String>,
    or_first: bool,
}

impl Authors {
    pub(super) fn new(commits: Arc<dyn Commits>, judged: &str) -> Self {
        Self {
            commits,
            judged: (!judged.is_empty()).then(|| judged.to_owned()),
            or_first: false,
        }
    }

    /// With what a first judgement reads too.
    pub(super) fn or_first(&mut self) {
        self.or_first = true;
    }

    /// What belongs to a message, with the commit that it leads to; none if the message does not reach the head.
    pub(super) async fn of(
        &self,
        message: &wire::Head,
    ) -> Result<Option<(String, Arc<[Bytes]>)>, NoCommits> {
        let Some(newest) = message.envelopes.last().filter(|_| !message.more) else {
            return Ok(None);
        };
        let commit = commit(newest).map_err(NoCommits::Unreadable)?;
        let judged = self.judged.as_deref();
        let mut objects = self.commits.between(judged, &commit).await?;
        if self.or_first && judged.is_some() {
            let first = self.commits.between(None, &commit).await;
            let first = first.unwrap_or_default();
            let had: HashSet<&Bytes> = objects.iter().collect();
            let more: Vec<Bytes> = first
                .iter()
                .filter(|object| !had.contains(object))
                .cloned()
                .collect();
            objects = objects.iter().cloned().chain(more).collect();
        }
        Ok(Some((commit, objects)))
    }

    /// The agent will have judged up to there.
    pub(super) fn judged(&mut self, commit: String) {
        self.or_first = false;
        self.judged = Some(commit);
    }
}

/// The commit of a desired state.
pub(crate) fn commit(envelope: &[u8]) -> Result<String, String> {
    let envelope = Envelope::parse(envelope, &Limits::entry()).map_err(|e| e.to_string())?;
    match Statement::parse(envelope.payload()).map_err(|e| e.to_string())? {
        Statement::Desired(desired) => Ok(desired.commit),
        _ => Err("an envelope of a chain is no desired state".to_owned()),
    }
}

/// The message with these objects; those that it does not hold in messages before it.
pub(super) fn spread(mut head: wire::Head, objects: &[Bytes]) -> VecDeque<wire::Head> {
    let bytes: usize = objects.iter().map(cost).sum();
    let mut messages = VecDeque::new();
    if head.encoded_len().saturating_add(bytes) <= GIT_OBJECTS_PER_HEAD_BYTES_MAX {
        head.git_objects = objects.to_vec();
    } else {
        let mut left = 0;
        for object in objects {
            if messages.is_empty() || cost(object) > left {
                left = GIT_OBJECTS_PER_HEAD_BYTES_MAX;
                messages.push_back(wire::Head {
                    more: true,
                    ..wire::Head::default()
                });
            }
            left = left.saturating_sub(cost(object));
            if let Some(last) = messages.back_mut() {
                last.git_objects.push(object.clone());
            }
        }
    }
    messages.push_back(head);
    messages
}

/// Bytes of a message that an object takes: its own, its length and its field.
fn cost(object: &Bytes) -> usize {
    object.len().saturating_add(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_proto::limits::HEAD_BYTES_MAX;

    fn head() -> wire::Head {
        wire::Head {
            envelopes: vec![Bytes::from_static(b"envelope")],
            ..wire::Head::default()
        }
    }

    #[test]
    fn a_few_objects_go_with_the_head_itself() {
        let objects = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let messages = spread(head(), &objects);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].git_objects, objects);
    }

    #[test]
    fn many_go_before_it_in_their_order_and_every_message_may_be_sent() {
        let sizes = [1 << 20, 5 << 20, 5 << 20, 1, GIT_OBJECTS_PER_HEAD_BYTES_MAX];
        let objects = sizes.map(|size| Bytes::from(vec![7; size]));
        let mut messages = spread(head(), &objects);
        messages.make_contiguous();
        let sent = messages.iter().flat_map(|message| &message.git_objects);
        assert!(sent.eq(&objects));
        let (last, before) = messages.as_slices().0.split_last().unwrap();
        assert_eq!(*last, head());
        for message in before {
            assert!(message.more && message.envelopes.is_empty());
            assert!(message.encoded_len() < HEAD_BYTES_MAX);
        }
    }
}
