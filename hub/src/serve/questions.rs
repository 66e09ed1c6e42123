//! Clusters are asked for a word now: each question is a nonce, and the receipt that carries it is the answer.
//!
//! They live in memory: who asked waits no longer than a hub lives, and asks again.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::nonce::Nonce;
use jiff::Timestamp;
use tokio::sync::watch;

use super::limits::{QUESTION_SECONDS_MAX, QUESTIONS_MAX};

/// A question to one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) nonce: Nonce,
    asked: Timestamp,
    /// Leaf hash of the receipt that answers it.
    answer: Option<Digest>,
}

/// The questions to one cluster, the newest last.
#[derive(Debug)]
pub(crate) struct Questions(watch::Sender<Vec<Question>>);

impl Default for Questions {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl Questions {
    /// Asks. Of too many the oldest are forgotten.
    pub(crate) fn ask(&self, nonce: Nonce, now: Timestamp) {
        self.0.send_modify(|all| {
            all.retain(|question| question.is_open(now));
            all.push(Question {
                nonce,
                asked: now,
                answer: None,
            });
            let surplus = all.len().saturating_sub(QUESTIONS_MAX);
            all.drain(..surplus);
        });
    }

    /// A receipt is in the log; whether it answers anything.
    pub(crate) fn answered(&self, nonce: &str, leaf: Digest) -> bool {
        self.0.send_if_modified(|all| {
            let open = |question: &&mut Question| {
                question.answer.is_none() && question.nonce.to_string() == nonce
            };
            let found = all.iter_mut().find(open);
            let answers = found.is_some();
            if let Some(question) = found {
                question.answer = Some(leaf);
            }
            answers
        })
    }

    /// The leaf hash of the answer to a question, if it came; none for a question that nobody asked lately.
    pub(crate) fn answer(&self, nonce: &str) -> Option<Option<Digest>> {
        let all = self.0.borrow();
        let mut same = all
            .iter()
            .filter(|question| question.nonce.to_string() == nonce);
        same.next().map(|question| question.answer)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<Question>> {
        self.0.subscribe()
    }
}

impl Question {
    /// Whether somebody may still wait for the answer.
    fn is_open(&self, now: Timestamp) -> bool {
        now.duration_since(self.asked).as_secs() < QUESTION_SECONDS_MAX
    }

    /// Whether the cluster is still to be asked.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.answer.is_none() && self.is_open(now)
    }

    /// As it is sent.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.nonce.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn nonce(n: u16) -> Nonce {
        Nonce::new(0, n, |_| [0; 8])
    }

    fn hex(n: u16) -> String {
        nonce(n).to_string()
    }

    #[test]
    fn a_question_is_due_until_it_is_answered_or_nobody_waits_any_more() {
        let questions = Questions::default();
        questions.ask(nonce(1), at(100));
        questions.ask(nonce(2), at(101));
        let due = |second| {
            let all = questions.subscribe();
            let all = all.borrow();
            let due = all.iter().filter(|question| question.is_due(at(second)));
            due.map(|question| question.nonce).collect::<Vec<_>>()
        };
        assert_eq!(due(101), [nonce(1), nonce(2)]);
        assert_eq!(questions.answer(&hex(1)), Some(None));
        assert!(questions.answered(&hex(1), Digest::of(b"receipt")));
        assert!(!questions.answered(&hex(1), Digest::of(b"another")));
        assert!(!questions.answered(&hex(9), Digest::of(b"another")));
        assert_eq!(due(101), [nonce(2)]);
        assert_eq!(
            questions.answer(&hex(1)),
            Some(Some(Digest::of(b"receipt")))
        );
        assert_eq!(questions.answer(&hex(9)), None);
        assert_eq!(due(101 + QUESTION_SECONDS_MAX), []);
    }

    #[test]
    fn of_too_many_questions_the_oldest_are_forgotten() {
        let questions = Questions::default();
        for n in 0..=QUESTIONS_MAX {
            questions.ask(nonce(u16::try_from(n).unwrap()), at(100));
        }
        assert_eq!(questions.answer(&hex(0)), None);
        assert_eq!(questions.answer(&hex(1)), Some(None));
    }
}
