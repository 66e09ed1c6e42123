//! What people with override keys said, as operators are shown it: judged by the rules of the agents, for each cluster.
//!
//! Nothing here decides anything: agents judge for themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_fleet::api::{Overrides, Paused};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::Statement;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::time::Time;
use countersign_ledger::trust::{Roots, VerifiedRoot, Windows};
use countersign_ledger::verify::Known;
use countersign_ledger::verify::overrides::{Standing, VerifiedOverride, rejudge, standing};
use jiff::Timestamp;

use super::entries::{Refusal, proven};
use super::limits::OVERRIDES_LISTED_MAX;
use super::state::{State, Trust};
use crate::log::{Log, ReadError};
use crate::store::index::OutsideKind;

/// What was judged last.
#[derive(Debug, Default)]
pub(crate) struct Said(RwLock<Arc<Judged>>);

#[derive(Debug, Default)]
struct Judged {
    /// What was told of entries from outside when they were looked at; none before the first look.
    told: Option<u64>,
    clusters: BTreeMap<String, Vec<VerifiedOverride>>,
}

impl Said {
    fn judged(&self) -> Arc<Judged> {
        let judged = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&judged)
    }

    /// The pauses that hold for a cluster, by what was looked at last.
    pub(crate) fn pauses(&self, cluster: &str, now: Timestamp) -> Vec<Paused> {
        let judged = self.judged();
        let words = judged.clusters.get(cluster);
        words.map_or_else(Vec::new, |words| pauses(words, now))
    }
}

/// Reads what came in since the last look, if anything did.
pub(crate) async fn look(state: &State) {
    let Some(log) = state.log.as_ref().filter(|_| state.is_ready()) else {
        return;
    };
    let told = Some(*state.watch_outside().borrow());
    if state.said.judged().told == told {
        return;
    }
    match judge(log, &state.trust()).await {
        Ok(clusters) => {
            let judged = Arc::new(Judged { told, clusters });
            *state.said.0.write().unwrap_or_else(PoisonError::into_inner) = judged;
        }
        // What was known is shown; the next request looks again.
        Err(error) => tracing::warn!(%error, "overrides can't be read for operators"),
    }
}

async fn judge(
    log: &Log,
    trust: &Trust,
) -> Result<BTreeMap<String, Vec<VerifiedOverride>>, ReadError> {
    let Some(roots) = roots(trust) else {
        return Ok(BTreeMap::new());
    };
    let windows = windows(&roots, &log.trust_entries().await?);
    let fleet = log.outside(OutsideKind::Override, "").await?;
    let mut clusters = BTreeMap::new();
    for name in trust.clusters.keys() {
        let own = log.outside(OutsideKind::Override, name).await?;
        let known = Known {
            windows: windows.clone(),
            ..Known::new(name, roots.clone(), None)
        };
        let words = own.iter().chain(&fleet);
        let counted = words
            .filter_map(|(index, bytes)| rejudge(&known, bytes, *index, &RingVerifier).ok())
            .collect();
        clusters.insert(name.clone(), counted);
    }
    Ok(clusters)
}

fn roots(trust: &Trust) -> Option<Roots> {
    let mut documents = trust.documents.iter().map(|(_, bytes)| bytes);
    let mut roots = Roots::new(VerifiedRoot::parse(documents.next()?, &RingVerifier).ok()?);
    for document in documents {
        roots.extend(document, &RingVerifier).ok()?;
    }
    Some(roots)
}

/// Since when roots are in effect, as this hub itself said.
fn windows(roots: &Roots, entries: &[(u64, Bytes)]) -> Windows {
    let mut windows = Windows::default();
    for (index, bytes) in entries {
        let root = version(bytes).and_then(|version| roots.at(version));
        if let Some(root) = root
            && windows.push(*index, Arc::new(root.clone())).is_err()
        {
            break;
        }
    }
    windows
}

fn version(bytes: &[u8]) -> Option<u64> {
    let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
    match Statement::parse(envelope.payload()).ok()? {
        Statement::TrustEntry(entry) => Some(entry.version),
        _ => None,
    }
}

/// Pure.
fn pauses(words: &[VerifiedOverride], now: Timestamp) -> Vec<Paused> {
    let ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let now = Time::from_ms(ms).unwrap_or_default();
    let paused = |(index, (word, standing)): (u64, (&VerifiedOverride, Standing))| {
        let says = word.says();
        let until = i64::try_from(says.until.ms()).ok()?;
        let holds = says.kind == OverrideKind::Pause && standing == Standing::Holds;
        holds.then_some(Paused {
            app: says.app.clone(),
            reason: says.reason.clone(),
            by: says.by.clone(),
            until: Timestamp::from_millisecond(until).ok()?,
            index,
        })
    };
    standing(words, now)
        .into_iter()
        .filter_map(paused)
        .collect()
}

/// All that override keys said, the newest if it is too much, each with its proof.
pub(crate) async fn list(state: &State) -> Result<Overrides, Refusal> {
    let Some(log) = &state.log else {
        return Ok(Overrides::default());
    };
    let mut all: BTreeMap<u64, Bytes> = BTreeMap::new();
    let trust = state.trust();
    let names = trust.clusters.keys().map(String::as_str);
    for about in names.chain([""]) {
        let found = log.outside(OutsideKind::Override, about).await;
        all.extend(found.map_err(|error| Refusal::fault(&error))?);
    }
    let more = all.len() > OVERRIDES_LISTED_MAX;
    while all.len() > OVERRIDES_LISTED_MAX {
        all.pop_first();
    }
    let mut overrides = Vec::with_capacity(all.len());
    for bytes in all.values() {
        overrides.extend(proven(log, bytes)?);
    }
    Ok(Overrides { overrides, more })
}
