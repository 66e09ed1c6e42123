//! One agent's stream: what it lacks, message by message, up to the newest head and from there on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::trust::VerifiedRoot;
use countersign_proto::agent::v1 as wire;
use countersign_proto::limits::ENVELOPES_PER_HEAD_MAX;
use tokio::sync::watch;

use super::asked::Asked;
use super::authors::{self, Authors};
use super::glass::Witnesses;
use super::overrides::Overrides;
use super::proof::{self, Proving};
use super::second::{self, Second, Settled};
use super::{
    Apart, Commits, Ended, Head, Newest, Position, Readable, Sealed, SealedFault, Taken, let_read,
    restore,
};
use crate::log::Log;
use crate::serve::clock::Clock;
use crate::serve::questions::Question;

/// What comes next for an agent. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is at the head.
    Wait,
    /// It lacks the head, and perhaps envelopes before it.
    Lacks,
}

fn next(at: u64, head: Option<&Head>) -> Result<Next, Apart> {
    let ours = head.map_or(0, |head| head.generation);
    match ours.checked_sub(at) {
        Some(0) => Ok(Next::Wait),
        Some(_) => Ok(Next::Lacks),
        None => Err(Apart::AgentIsAhead { agent: at, ours }),
    }
}

/// Brings one agent to the newest head and keeps it there: one call to [`Follower::advance`] is one message.
pub struct Follower {
    cluster: String,
    sealed: Arc<dyn Sealed>,
    newest: watch::Receiver<Option<Arc<Head>>>,
    readable: Readable,
    pub(super) at: Position,
    greeted: bool,
    pub(super) proving: Option<Proving>,
    second: Option<Second>,
    authors: Option<Authors>,
    pub(super) overrides: Option<Overrides>,
    pub(super) witnesses: Option<Witnesses>,
    asked: Option<Asked>,
    /// Messages that belong together, of which the first are handed out already.
    rest: VecDeque<wire::Head>,
}

impl Follower {
    /// A follower that starts where the agent stands.
    pub fn new(cluster: &str, sealed: Arc<dyn Sealed>, newest: &Newest, at: Position) -> Self {
        Self {
            cluster: cluster.to_owned(),
            sealed,
            newest: newest.subscribe(),
            readable: newest.readable.clone(),
            at,
            greeted: false,
            proving: None,
            second: None,
            authors: None,
            overrides: None,
            witnesses: None,
            asked: None,
            rest: VecDeque::new(),
        }
    }

    /// The same, with the log's proofs in every message, and in the first since when trust roots are in effect.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn proven(mut self, log: Log, taken: Taken) -> Result<Self, SealedFault> {
        let trust = log.trust_entries().await.map_err(proof::fault)?;
        self.proving = Some(Proving::new(log, taken, self.at.tree_size, trust));
        Ok(self)
    }

    /// The same, with the commits behind each head for an agent that judged them up to `judged`; "" for none.
    #[must_use]
    pub fn authored(mut self, commits: Arc<dyn Commits>, judged: &str) -> Self {
        self.authors = Some(Authors::new(commits, judged));
        self
    }

    /// The same, with what people with override keys said; `came` wakes when more of it came in.
    #[must_use]
    pub(crate) fn overridden(mut self, log: Log, came: watch::Receiver<u64>, clock: Clock) -> Self {
        self.overrides = Some(Overrides::new(log, &self.cluster, came, clock));
        self
    }

    /// The same, with the states that people let through before the witnesses of `root` have seen them.
    #[must_use]
    pub(crate) fn through_glass(mut self, root: Arc<VerifiedRoot>, clock: Clock) -> Self {
        self.witnesses = Some(Witnesses::new(root, clock));
        self
    }

    /// The same, with what people ask of the cluster.
    #[must_use]
    pub(crate) fn asked(mut self, questions: watch::Receiver<Vec<Question>>, clock: Clock) -> Self {
        self.asked = Some(Asked::new(questions, clock));
        self
    }

    /// The same, for a level that asks for a second renderer's word on each state.
    #[must_use]
    pub fn reproduced(mut self, log: Log) -> Self {
        self.second = Some(Second::new(log));
        self
    }

    /// The same, for one who may not have judged anything yet: with what a first judgement reads as well.
    #[must_use]
    pub fn or_first(mut self) -> Self {
        if let Some(authors) = &mut self.authors {
            authors.or_first();
        }
        self
    }

    /// Waits until there is something to say, and says it. The first message comes at once, empty if the agent is at
    /// the head already.
    ///
    /// # Cancel safety
    /// May be dropped: where the agent stands moves only when a message is handed out.
    pub async fn advance(&mut self) -> Result<wire::Head, Ended> {
        if let Some(message) = self.rest.pop_front() {
            return Ok(message);
        }
        let mut refresh = false;
        loop {
            if self.greeted
                && let Some(question) = self.asked.as_mut().and_then(Asked::next)
            {
                return Ok(question);
            }
            let head = self.newest.borrow_and_update().clone();
            let step = next(self.at.generation, head.as_deref())?;
            if !self.greeted {
                if let Some((agent, ours)) = self.proving.as_ref().and_then(Proving::ahead) {
                    return Err(Apart::LogWentBack { agent, ours }.into());
                }
                self.check_past(head.as_deref()).await?;
            }
            let (news, beyond) = self.look().await?;
            if let Some(message) = self.broken_glass(head.as_deref()).await? {
                return Ok(message);
            }
            let message = match (step, head) {
                (Next::Wait, _) if refresh || news || !self.greeted => Some(wire::Head::default()),
                (Next::Wait, _) | (Next::Lacks, None) => None,
                (Next::Lacks, Some(head)) => {
                    let envelopes = self.above(&head).await?;
                    Some(self.reach(envelopes, &head))
                }
            };
            let (message, words, unspoken) = match message {
                None => (None, Vec::new(), false),
                Some(message) => match self.settle(message, None).await? {
                    Some((message, words)) => (Some(message), words, false),
                    // It waits for a word, and hears of newer checkpoints meanwhile.
                    None => {
                        let bare = (refresh || news || !self.greeted).then(wire::Head::default);
                        (bare, Vec::new(), true)
                    }
                },
            };
            let uncovered = match message {
                None => false,
                Some(message) => {
                    let commits = self.commits(&message).await?;
                    match self.prove(message)? {
                        Some(mut message) => {
                            if let Some(proving) = &self.proving {
                                message.reproductions = proving.shown(words)?;
                            }
                            self.override_by(&mut message)?;
                            return Ok(self.hand_out(message, commits));
                        }
                        None => true,
                    }
                }
            };
            refresh = self.wait(uncovered, unspoken || beyond).await?;
        }
    }

    /// What may go out of a message; none if the agent waits for a second renderer's word. Of entries those among the first
    /// `size` count; without it those under the newest checkpoint that the agent takes.
    pub(super) async fn settle(
        &mut self,
        message: wire::Head,
        size: Option<u64>,
    ) -> Result<Option<Settled>, SealedFault> {
        let (Some(second), Some(proving)) = (&self.second, &mut self.proving) else {
            return Ok(Some((message, Vec::new())));
        };
        let whole = message.envelopes.len();
        let size = size.unwrap_or_else(|| proving.size());
        let settled = second.settle(message, size).await?;
        if let Some((message, _)) = &settled
            && message.envelopes.len() < whole
        {
            self.let_read_last(message).await?;
        }
        Ok(settled)
    }

    /// A message may end before the newest head, in what is none of ours any more, or not since our start; its agent reads its
    /// blobs all the same.
    pub(super) async fn let_read_last(&self, message: &wire::Head) -> Result<(), SealedFault> {
        if let Some(last) = message.envelopes.last() {
            let (generation, manifest) = second::names(last)?;
            let head = restore(&*self.sealed, generation, last.clone(), manifest).await?;
            let_read(&self.readable, &head);
        }
        Ok(())
    }

    /// Looks for overrides: whether some can be sent, and whether some wait for a larger checkpoint.
    async fn look(&mut self) -> Result<(bool, bool), SealedFault> {
        let (Some(overrides), Some(proving)) = (&mut self.overrides, &mut self.proving) else {
            return Ok((false, false));
        };
        overrides.look().await?;
        // A checkpoint below the agent's own can't be sent.
        let size = proving.size();
        let size = if size < proving.sent_size() { 0 } else { size };
        Ok((overrides.are_covered(size), overrides.are_beyond(size)))
    }

    /// Adds the overrides that the message's checkpoint covers.
    fn override_by(&mut self, message: &mut wire::Head) -> Result<(), SealedFault> {
        if let (Some(overrides), Some(proving)) = (&mut self.overrides, &self.proving)
            && !message.checkpoint.is_empty()
        {
            message.overrides = proving.shown(overrides.take(proving.sent_size()))?;
        }
        Ok(())
    }

    pub(super) async fn commits(
        &self,
        message: &wire::Head,
    ) -> Result<Option<(String, Arc<[Bytes]>)>, Ended> {
        match &self.authors {
            None => Ok(None),
            Some(authors) => Ok(authors.of(message).await?),
        }
    }

    /// The first of the messages that this one takes; from here on the agent stands where they lead.
    pub(super) fn hand_out(
        &mut self,
        message: wire::Head,
        commits: Option<(String, Arc<[Bytes]>)>,
    ) -> wire::Head {
        self.greeted = true;
        self.at.generation += message.envelopes.len() as u64;
        let (Some(authors), Some((commit, objects))) = (&mut self.authors, commits) else {
            return message;
        };
        authors.judged(commit);
        self.rest = authors::spread(message, &objects);
        self.rest.pop_front().unwrap_or_default()
    }

    fn prove(&mut self, message: wire::Head) -> Result<Option<wire::Head>, SealedFault> {
        match &mut self.proving {
            None => Ok(Some(message)),
            Some(proving) => proving.prove(message),
        }
    }

    /// Waits for a newer head, an override or, if one of them or an entry waits for it (`entries`), another checkpoint; says
    /// whether it is time for a message that brings a checkpoint alone.
    async fn wait(&mut self, uncovered: bool, entries: bool) -> Result<bool, Ended> {
        let (overrides, asked) = (&mut self.overrides, &mut self.asked);
        let asked = async {
            match asked {
                Some(asked) => asked.came().await,
                None => std::future::pending().await,
            }
        };
        let Some(proving) = &mut self.proving else {
            // Both may be dropped.
            tokio::select! { biased;
                changed = self.newest.changed() => changed.map_err(|_| Ended::Stopped)?,
                () = asked => {}
            }
            return Ok(false);
        };
        let came = async {
            match overrides {
                Some(overrides) => overrides.came().await,
                None => std::future::pending().await,
            }
        };
        // All may be dropped.
        tokio::select! { biased;
            changed = self.newest.changed() => changed.map(|()| false).map_err(|_| Ended::Stopped),
            () = came => Ok(false),
            () = asked => Ok(false),
            refresh = due(proving, uncovered, entries) => Ok(refresh),
        }
    }

    async fn check_past(&self, head: Option<&Head>) -> Result<(), Ended> {
        let (Some(had), generation @ 1..) = (self.at.envelope, self.at.generation) else {
            return Ok(());
        };
        let ours = match head {
            Some(head) if head.generation == generation => head.digest,
            Some(_) | None => {
                let found = self
                    .sealed
                    .envelopes(&self.cluster, generation - 1, 1)
                    .await?;
                match found.first() {
                    Some(envelope) => Digest::of(envelope),
                    None => return Err(missing(&self.cluster, generation).into()),
                }
            }
        };
        if ours == had {
            Ok(())
        } else {
            Err(Apart::Forked { generation }.into())
        }
    }

    /// The envelopes that the agent lacks up to `head`, the first of them if they are many.
    pub(super) async fn above(&self, head: &Head) -> Result<Vec<Bytes>, Ended> {
        let above = self.at.generation;
        if above + 1 == head.generation {
            return Ok(vec![head.envelope.clone()]);
        }
        let mut envelopes = self
            .sealed
            .envelopes(&self.cluster, above, ENVELOPES_PER_HEAD_MAX)
            .await?;
        let wanted = usize::try_from(head.generation - above).unwrap_or(usize::MAX);
        envelopes.truncate(wanted.min(ENVELOPES_PER_HEAD_MAX));
        if envelopes.is_empty() {
            return Err(missing(&self.cluster, above + 1).into());
        }
        Ok(envelopes)
    }

    pub(super) fn reach(&self, envelopes: Vec<Bytes>, head: &Head) -> wire::Head {
        let more = self.at.generation + (envelopes.len() as u64) < head.generation;
        wire::Head {
            envelopes,
            more,
            attached: if more { Vec::new() } else { attached(head) },
            ..wire::Head::default()
        }
    }
}

/// Says whether it is time for a message that brings a checkpoint alone.
async fn due(proving: &mut Proving, uncovered: bool, entries: bool) -> bool {
    if entries && !uncovered {
        return proving.stirred().await;
    }
    proving.due(uncovered).await;
    !uncovered
}

fn missing(cluster: &str, generation: u64) -> SealedFault {
    SealedFault::Unreadable(format!("envelope {generation} of {cluster} is missing"))
}

fn attached(head: &Head) -> Vec<wire::Blob> {
    head.attached
        .iter()
        .map(|(name, content)| wire::Blob {
            digest: Bytes::copy_from_slice(name.as_bytes()),
            content: content.clone(),
        })
        .collect()
}
