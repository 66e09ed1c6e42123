//! A chain that came whole: its blobs are fetched and checked, then it is persisted, then published.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Level;
use countersign_ledger::verify::{Known, VerifiedStatement};

use super::store::{BLOBS_PER_CALL, Store};
use super::{Failure, Puller, hub};
use crate::engine::Engine;
use crate::receipt::inbox::Standing;
use crate::saved::{self, State};
use crate::verify::{self, Assembled, Chain, Commits, End, Kept, Untrusted};

/// Unneeded blobs are removed after so many states.
const TIDY_EVERY: u64 = 32;

/// A chain under way, and the blobs that came along.
#[derive(Debug, Clone)]
pub(super) struct Batches {
    pub(super) chain: Chain,
    pub(super) attached: HashMap<Digest, Bytes>,
}

impl Batches {
    pub(super) fn new(known: Known) -> Self {
        Self {
            chain: Chain::new(known),
            attached: HashMap::new(),
        }
    }

    /// Blobs that came unasked; each counts only under the digest that its own bytes have.
    pub(super) fn take(&mut self, blobs: Vec<Untrusted<Bytes>>) {
        for blob in blobs {
            self.attached.insert(Digest::of(&blob.0), blob.0);
        }
    }
}

impl Puller {
    /// The chain is whole: fetch, check, persist, publish. How long hub and disk were waited for meanwhile.
    pub(super) async fn arrive(
        &mut self,
        client: &mut hub::Client,
        batches: Batches,
    ) -> Result<Duration, Failure> {
        let Batches { chain, attached } = batches;
        let known = chain.known().clone();
        let Some(End {
            statement,
            envelope,
            shown,
            words,
            git_objects,
        }) = chain.end()
        else {
            return Ok(Duration::ZERO);
        };
        let (statement, authored) = self.authored(&known, statement, git_objects).await?;
        let (generation, envelope_digest) = (statement.generation(), statement.envelope());
        self.above_floor(generation)?;
        self.note_stood();
        let (manifest, trust_version) =
            (statement.desired().manifest, self.roots.newest().version());
        let last = statement.last();
        let mut store = Store {
            saved: &self.saved,
            attached,
            fetched: vec![(envelope_digest, envelope)],
            waited: Duration::ZERO,
        };

        store.need(client, &self.engine, vec![manifest]).await?;
        let list = store
            .bytes(&manifest)
            .ok_or(Refusal::BlobMissing { digest: manifest })?;
        let sections = verify::sections(statement, &Untrusted(list))?;
        let parts: Vec<Digest> = sections.blobs().copied().collect();
        store.need(client, &self.engine, parts).await?;
        // A state that does not arrive whole costs what was kept: the next is read as if none had been before.
        let before = self.kept.take();
        let needed_before = blobs_to_tidy(generation, before.as_ref());
        // One that a pause holds back costs nothing.
        let old = if self.may_hold() {
            before.clone()
        } else {
            None
        };
        let assembled = Assembled::new(sections, before, |digest| store.bytes(digest))?;
        // Before the objects' blobs are fetched: what may not be applied need not travel.
        let assembled = assembled.reproduced(&known, &words)?;
        store.flush().await?;

        let missing: Vec<(Digest, u64)> = assembled
            .blobs()
            .filter(|(digest, _)| !self.checked.contains_key(digest))
            .collect();
        for batch in missing.chunks(BLOBS_PER_CALL) {
            store
                .need(
                    client,
                    &self.engine,
                    batch.iter().map(|(digest, _)| *digest).collect(),
                )
                .await?;
            for (digest, length) in batch {
                let bytes = store
                    .bytes(digest)
                    .ok_or(Refusal::BlobMissing { digest: *digest })?;
                let (checked, _) = verify::blob(digest, *length, Untrusted(bytes))?;
                self.checked.insert(*digest, checked);
            }
            store.flush().await?;
        }
        let kept = assembled.complete(|digest| self.checked.get(digest).copied())?;
        self.check_deletions(&known, last, &kept)?;
        if let Err(paused) = self.check_pauses(old.as_ref(), &kept) {
            self.kept = old;
            return Err(paused);
        }
        self.check_glass(&words)?;
        let (waited, committing) = (store.waited, Instant::now());
        self.commit(State {
            trust_version,
            generation,
            envelope: envelope_digest,
            manifest,
            cluster_uid: self.identity.uid.clone(),
            cluster_ca: Digest::from_bytes(
                <[u8; 32]>::try_from(&self.identity.ca_fingerprint[..]).unwrap_or_default(),
            )
            .to_string(),
            log: saved::Log::of(known.seen.as_ref(), shown.map(Into::into), &known.windows),
            authored: authored.clone(),
        })
        .await?;
        let waited = waited + committing.elapsed();
        self.last = Some(last);
        self.authored = authored;
        self.seen = known.seen;
        self.windows = known.windows;
        self.believe();
        self.publish(kept);
        self.tidy(needed_before).await;
        Ok(waited)
    }

    /// Whether people signed the commits behind it, where the level asks for that, and then the commit up to which they were
    /// judged. Hashing and signatures may take long.
    async fn authored(
        &self,
        known: &Known,
        statement: VerifiedStatement,
        objects: Untrusted<Vec<Bytes>>,
    ) -> Result<(VerifiedStatement, Option<String>), Failure> {
        let level = self.roots.newest().cluster(&self.cluster)?.level;
        if level < Level::Authored {
            return Ok((statement, None));
        }
        let judge = Commits {
            old: self.authored.clone(),
            objects,
        };
        let known = known.clone();
        let judged = tokio::task::spawn_blocking(move || {
            countersign_ledger::verify::authored(&known, statement, &judge)
        });
        let statement = judged.await.map_err(std::io::Error::other)??;
        let commit = statement.desired().commit.clone();
        Ok((statement, Some(commit)))
    }

    /// All checks have passed: now, and only now, it is what this agent knows.
    pub(super) async fn commit(&self, state: State) -> Result<(), Failure> {
        let saved = Arc::clone(&self.saved);
        tokio::task::spawn_blocking(move || saved.commit(&state))
            .await
            .map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Hands a verified state on; at a start the saved one, before the hub was ever reached.
    pub fn publish(&mut self, kept: Kept) {
        self.engine.set_rules(rules(&kept, &self.engine));
        let desired = Arc::clone(kept.desired());
        let statement = kept.manifest().statement();
        self.engine.receipts.stands(Standing {
            generation: statement.generation(),
            envelope: statement.envelope(),
            manifest: statement.desired().manifest,
            glass: statement.glass(),
        });
        self.engine
            .metrics
            .generation_verified
            .set(i64::try_from(desired.generation).unwrap_or(0));
        self.engine
            .metrics
            .objects
            .set(i64::try_from(desired.objects.len()).unwrap_or(0));
        self.engine.forget_told();
        tracing::info!(
            generation = desired.generation,
            objects = desired.objects.len(),
            "verified"
        );
        self.kept = Some(kept);
        self.newest.send_replace(Some(desired));
    }

    /// Settles what arrived, and removes blobs that neither this state names nor the one before it, of which a write may still
    /// be under way.
    async fn tidy(&mut self, needed_before: Option<HashSet<Digest>>) {
        if self.saved.wants_settling() {
            let saved = Arc::clone(&self.saved);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = saved.settle() {
                    tracing::warn!(%error, "the last arrivals can't be settled");
                }
            });
        }
        let Some(mut needed) = needed_before else {
            return;
        };
        needed.extend(self.kept.iter().flat_map(Kept::blobs));
        self.checked.retain(|digest, _| needed.contains(digest));
        let saved = Arc::clone(&self.saved);
        // Before the next state's blobs arrive, which nothing needs yet.
        match tokio::task::spawn_blocking(move || saved.drop_blobs_except(&needed)).await {
            Ok(Ok(dropped)) => tracing::debug!(dropped, "blobs removed"),
            Ok(Err(error)) => tracing::warn!(%error, "blobs can't be removed"),
            Err(error) => tracing::warn!(%error, "blobs can't be removed"),
        }
    }
}

/// What the state before needs, when it is time to remove the rest.
fn blobs_to_tidy(generation: u64, before: Option<&Kept>) -> Option<HashSet<Digest>> {
    let due = generation.is_multiple_of(TIDY_EVERY);
    due.then(|| before.into_iter().flat_map(Kept::blobs).collect())
}

/// Health rules of all apps in one set. A rule of the fleet comes with every app that has such objects and counts once;
/// one that can't be read or compiled, or differs from another app's for the same kind, is left out and named.
fn rules(kept: &Kept, engine: &Engine) -> countersign_health::Rules {
    let mut all: Vec<countersign_health::rules::Rule> = Vec::new();
    for app in kept.manifest().apps().as_slice() {
        match countersign_health::rules::from_json(&app.health_rules) {
            Ok(rules) => {
                for rule in rules {
                    if !all.contains(&rule) {
                        all.push(rule);
                    }
                }
            }
            Err(error) => engine.refused("HEALTH_RULE", &format!("app {}: {error}", app.name)),
        }
    }
    let (rules, mistakes) = countersign_health::Rules::compile(&all);
    for mistake in mistakes {
        engine.refused("HEALTH_RULE", &mistake.to_string());
    }
    rules
}
