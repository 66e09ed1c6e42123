//! Publishing: the checkpoint whose tiles all lie in the store goes to the witnesses, and with their quorum to
//! `checkpoint`. Without a witness policy it is published as it is.
//!
//! One checkpoint is put to all witnesses at once (a *round*), so that their words are about the same tree; it gives way
//! to a newer one when it has its quorum, or when its time is up. The log goes on meanwhile: only publishing waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_ledger::tlog::note::Signature;
use countersign_ledger::tlog::{Note, Policy};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::metrics::{AnswerLabels, LogMetrics, WitnessLabels};
use super::proofs::Prover;
use super::signed::Signed;
use super::witness::{self, WitnessTrouble};
use super::{Alarm, Timing};
use crate::serve::Clock;
use crate::store::{CHECKPOINT, Index, Store, StoreFault};

/// Publishes.
pub(super) struct Publisher {
    pub(super) store: Store,
    pub(super) index: Arc<Index>,
    pub(super) prover: Arc<Prover>,
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) tiled: watch::Receiver<Option<Arc<Signed>>>,
    pub(super) published: watch::Sender<Option<Arc<Signed>>>,
    /// Why publishing waits, for people; none if it does not.
    pub(super) waits: watch::Sender<Option<String>>,
    pub(super) metrics: LogMetrics,
    pub(super) alarm: Alarm,
    pub(super) clock: Clock,
    pub(super) timing: Timing,
}

/// A checkpoint that is put to the witnesses.
#[derive(Debug, Clone)]
struct Target {
    round: u64,
    signed: Arc<Signed>,
}

/// What a witness said in a round.
struct Said {
    round: u64,
    witness: usize,
    said: Result<Signature, WitnessTrouble>,
}

/// A round under way. Pure.
struct Round {
    target: Target,
    until: Instant,
    note: Note,
    cosigned: BTreeMap<String, Signature>,
    troubles: BTreeMap<String, String>,
    /// Signatures in the note that was published last in this round; none before its quorum.
    published: Option<usize>,
}

impl Round {
    fn has_quorum(&self, policy: &Policy) -> bool {
        policy.satisfied(&self.cosigned.keys().map(String::as_str).collect())
    }

    fn note(&self) -> Signed {
        let mut note = self.note.clone();
        for signature in self.cosigned.values() {
            note.add(signature.clone());
        }
        Signed {
            note: note.bytes().into(),
            ..(*self.target.signed).clone()
        }
    }

    /// Whether the witnesses may be asked about another checkpoint now.
    fn is_over(&self, now: Instant) -> bool {
        self.published.is_some() || now >= self.until
    }
}

impl Publisher {
    /// Runs until stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        match self.policy.clone() {
            None => self.run_alone(stop).await,
            Some(policy) => self.run_witnessed(policy, stop).await,
        }
    }

    async fn run_alone(&mut self, stop: CancellationToken) {
        loop {
            let newest = self.tiled.borrow_and_update().clone();
            let done = match newest {
                Some(newest) if self.is_newer(&newest) => self.publish(newest).await,
                Some(_) | None => Ok(()),
            };
            let changed = async {
                if done.is_err() {
                    tokio::time::sleep(self.timing.retry_after).await;
                    true
                } else {
                    self.tiled.changed().await.is_ok()
                }
            };
            // Both may be dropped.
            tokio::select! { biased;
                () = stop.cancelled() => return,
                goes_on = changed => if !goes_on { return },
            }
        }
    }

    async fn run_witnessed(&mut self, policy: Arc<Policy>, stop: CancellationToken) {
        let client = match client() {
            Ok(client) => client,
            Err(error) => {
                (self.alarm)("LOG_NO_CLIENT", error.to_string());
                return;
            }
        };
        let target: watch::Sender<Option<Target>> = watch::Sender::new(None);
        let (answers, mut said) = mpsc::channel(policy.witnesses().len().max(1));
        for place in 0..policy.witnesses().len() {
            let asker = Asker {
                place,
                policy: Arc::clone(&policy),
                client: client.clone(),
                prover: Arc::clone(&self.prover),
                index: Arc::clone(&self.index),
                target: target.subscribe(),
                answers: answers.clone(),
                metrics: self.metrics.clone(),
            };
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = asker.run() => {}
                }
            });
        }
        let mut round: Option<Round> = None;
        let (mut rounds, mut due) = (0_u64, Instant::now());
        loop {
            let now = Instant::now();
            let newest = self.tiled.borrow_and_update().clone();
            if round.as_ref().is_none_or(|round| round.is_over(now))
                && let Some(newest) = newest
            {
                let grown = round
                    .as_ref()
                    .is_none_or(|round| round.target.signed.size < newest.size);
                let failed = round.as_ref().filter(|round| round.published.is_none());
                if let Some(failed) = failed {
                    self.no_quorum(failed);
                }
                if grown || failed.is_some() || now >= due {
                    rounds += 1;
                    round = self.begin(rounds, newest, now);
                    target.send_replace(round.as_ref().map(|round| round.target.clone()));
                }
            }
            let wake = match &round {
                Some(round) if round.published.is_none() => round.until,
                Some(_) | None => due.max(now + self.timing.retry_after),
            };
            // All may be dropped: `recv`, `changed` and `sleep_until` lose nothing.
            tokio::select! { biased;
                () = stop.cancelled() => return,
                Some(said) = said.recv() => {
                    if let Some(round) = round.as_mut()
                        && self.take(round, &policy, said).await
                    {
                        due = Instant::now() + self.timing.cosign_every;
                    }
                }
                changed = self.tiled.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn begin(&self, round: u64, signed: Arc<Signed>, now: Instant) -> Option<Round> {
        // The published note of this size may bear older cosignatures; a round collects new ones.
        let note = Note::parse(&signed.note).ok()?;
        Some(Round {
            target: Target { round, signed },
            until: now + self.timing.round_max,
            note,
            cosigned: BTreeMap::new(),
            troubles: BTreeMap::new(),
            published: None,
        })
    }

    /// Takes an answer in; says whether the round's checkpoint was published now.
    async fn take(&self, round: &mut Round, policy: &Policy, said: Said) -> bool {
        let Some(witness) = policy.witnesses().get(said.witness) else {
            return false;
        };
        let name = witness.name.clone();
        match said.said {
            Ok(signature) if said.round == round.target.round => {
                round.troubles.remove(&name);
                round.cosigned.insert(name, signature);
            }
            Ok(_) => return false,
            Err(trouble) => {
                tracing::warn!(witness = name, code = trouble.code(), %trouble, "no cosignature");
                if trouble.is_alarm() {
                    (self.alarm)(trouble.code(), format!("witness {name}: {trouble}"));
                }
                round.troubles.insert(name, trouble.code().to_owned());
                return false;
            }
        }
        if !round.has_quorum(policy) {
            return false;
        }
        let first = round.published.is_none();
        let last = round.cosigned.len() == policy.witnesses().len();
        if !first && !last {
            return false;
        }
        let note = Arc::new(round.note());
        let done = if first {
            self.publish(note).await
        } else {
            // More cosignatures than the quorum are for auditors: agents are not woken for them.
            self.put(&note).await.map(|()| {
                self.published.send_if_modified(|published| {
                    *published = Some(note);
                    false
                });
            })
        };
        if done.is_err() {
            return false;
        }
        round.published = Some(round.cosigned.len());
        first
    }

    fn no_quorum(&self, round: &Round) {
        self.metrics.publish_failed.inc();
        let troubles: Vec<String> = round
            .troubles
            .iter()
            .map(|(witness, code)| format!("{witness}: {code}"))
            .collect();
        let text = format!(
            "size {} waits for its quorum; cosigned by {} ({})",
            round.target.signed.size,
            round.cosigned.len(),
            troubles.join(", ")
        );
        let new = self.waits.borrow().is_none();
        self.waits.send_replace(Some(text.clone()));
        if new {
            (self.alarm)("LOG_NO_QUORUM", text);
        }
    }

    fn is_newer(&self, signed: &Signed) -> bool {
        self.published
            .borrow()
            .as_ref()
            .is_none_or(|published| published.size < signed.size)
    }

    /// Publishes a checkpoint that is not smaller than the published one.
    async fn publish(&self, signed: Arc<Signed>) -> Result<(), StoreFault> {
        self.put(&signed).await?;
        self.metrics
            .published
            .set(i64::try_from(signed.size).unwrap_or(i64::MAX));
        self.metrics
            .published_time
            .set(self.clock.now().as_second());
        self.waits.send_replace(None);
        self.published.send_replace(Some(signed));
        Ok(())
    }

    async fn put(&self, signed: &Signed) -> Result<(), StoreFault> {
        let written = self.store.put(CHECKPOINT, signed.note.clone()).await;
        if let Err(fault) = &written {
            self.metrics.publish_failed.inc();
            self.waits.send_replace(Some(fault.to_string()));
            tracing::warn!(%fault, "the checkpoint was not published");
        }
        written
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(super::limits::WITNESS_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Asks one witness, round after round; a slow or broken one holds nobody up.
struct Asker {
    place: usize,
    policy: Arc<Policy>,
    client: reqwest::Client,
    prover: Arc<Prover>,
    index: Arc<Index>,
    target: watch::Receiver<Option<Target>>,
    answers: mpsc::Sender<Said>,
    metrics: LogMetrics,
}

impl Asker {
    async fn run(mut self) {
        let policy = Arc::clone(&self.policy);
        let Some(witness) = policy.witnesses().get(self.place) else {
            return;
        };
        let vkey = witness.vkey.to_string();
        let (mut done, mut failures) = (0_u64, 0_u32);
        loop {
            let next = |target: &Option<Target>| {
                target.as_ref().is_some_and(|target| target.round != done)
            };
            let target = match self.target.wait_for(next).await {
                Ok(target) => target.clone(),
                Err(_) => return,
            };
            let Some(Target { round, signed }) = target else {
                continue;
            };
            let old = self.index.witness_size(&vkey).unwrap_or_default();
            let said = witness::ask(&self.client, witness, &self.prover, &signed, old).await;
            self.count(&witness.name, said.as_ref().err());
            let failed = said.is_err();
            if !failed {
                self.remember(witness.name.clone(), &vkey, signed.size);
            }
            let witness = self.place;
            if self
                .answers
                .send(Said {
                    round,
                    witness,
                    said,
                })
                .await
                .is_err()
            {
                return;
            }
            if failed {
                tokio::time::sleep(witness::backoff(failures)).await;
                failures = failures.saturating_add(1);
            } else {
                (done, failures) = (round, 0);
            }
        }
    }

    fn count(&self, witness: &str, trouble: Option<&WitnessTrouble>) {
        let labels = AnswerLabels {
            witness: witness.to_owned(),
            outcome: trouble.map_or("OK", WitnessTrouble::code),
        };
        self.metrics.witness_answers.get_or_create(&labels).inc();
    }

    fn remember(&self, witness: String, vkey: &str, size: u64) {
        self.metrics
            .witness_size
            .get_or_create(&WitnessLabels { witness })
            .set(i64::try_from(size).unwrap_or(i64::MAX));
        // It tells us itself if this was lost.
        if let Err(error) = self.index.set_witness_size(vkey, size) {
            tracing::warn!(%error, "a witness's size was not kept");
        }
    }
}
