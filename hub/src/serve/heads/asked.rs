//! Questions of people, sent on to the agent that they are for: each once a stream, in a message of its own.

use std::collections::BTreeSet;

use countersign_proto::agent::v1 as wire;
use tokio::sync::watch;

use crate::serve::clock::Clock;
use crate::serve::questions::Question;
use countersign_ledger::nonce::Nonce;

/// The questions that one stream has to bring.
pub(super) struct Asked {
    questions: watch::Receiver<Vec<Question>>,
    clock: Clock,
    sent: BTreeSet<Nonce>,
}

impl Asked {
    pub(super) fn new(questions: watch::Receiver<Vec<Question>>, clock: Clock) -> Self {
        Self {
            questions,
            clock,
            sent: BTreeSet::new(),
        }
    }

    /// The next question; it is sent.
    pub(super) fn next(&mut self) -> Option<wire::Head> {
        let now = self.clock.now();
        let all = self.questions.borrow_and_update();
        self.sent
            .retain(|nonce| all.iter().any(|question| question.nonce == *nonce));
        let due =
            |question: &&Question| question.is_due(now) && !self.sent.contains(&question.nonce);
        let question = *all.iter().find(due)?;
        self.sent.insert(question.nonce);
        Some(wire::Head {
            verify_nonce: question.bytes(),
            ..wire::Head::default()
        })
    }

    /// Waits until something was asked.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub(super) async fn came(&mut self) {
        if self.questions.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
