//! What the cluster answers: receipts and drift records, signed by its own key, into the log.
//!
//! This file is pure: what happened becomes a statement. [`inbox`] gathers and folds what happens, [`record`] signs it,
//! [`queue`] keeps it on disk until it is proven to be in the log, [`send`] brings it there, once [`enrol`] has seen the key that
//! signs it in the log.
//!
//! ```text
//! sync, heal, delete, refusals ─► inbox ─► record: sign, append ─► queue ─► send ─► the hub's log
//!                                                                   ▲               │ proof, checked
//!                                                                   └───────────────┘
//! ```
//!
//! No value of any object stands in a statement or a blob: objects are named, fields by their paths, failures by their codes.

pub mod enrol;
pub mod inbox;
pub mod outbox;
pub mod queue;
pub mod record;
pub mod send;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::json::{self, JsonError};
use countersign_ledger::statement::drift::DriftKind;
use countersign_ledger::statement::receipt::{
    AppCounts, Attack, Health, ReceiptKind, SeenCheckpoint,
};
use countersign_ledger::statement::{Drift, Receipt, Statement};
use countersign_ledger::time::Time;
use serde_json::{Value, json};

use crate::health::Status;
use crate::news::DriftRecord;
use inbox::{DeletedSeen, DriftSeen, PauseSeen, RefusalSeen, Standing, SyncSeen};
use queue::Place;

/// What every statement says beside what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The fleet.
    pub fleet: String,
    /// The cluster.
    pub cluster: String,
    /// The newest checkpoint that was verified.
    pub checkpoint: SeenCheckpoint,
    /// Version of the newest trust root.
    pub trust_root: u64,
    /// The hub's newest nonce, hex.
    pub nonce: String,
    /// The worst health now.
    pub health: Status,
}

/// A statement and the blobs that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What is signed.
    pub statement: Statement,
    /// What it names.
    pub blobs: Vec<Bytes>,
}

/// Codes of refusals that only somebody's ill will, or a damaged hub, explains: what came was signed by nobody who may, or is
/// not what was signed, or contradicts what the log showed before.
#[must_use]
pub fn shows_attack(code: &str) -> bool {
    matches!(
        code,
        "TRUST_ROOT_SIGNATURES"
            | "LOG_SIGNATURE_INVALID"
            | "LOG_ROLLED_BACK"
            | "LOG_FORKED"
            | "CONSISTENCY_UNPROVEN"
            | "NOT_IN_LOG"
            | "LOG_ORDER"
            | "SOURCE_MISMATCH"
            | "TRUST_ENTRY_MISMATCH"
            | "REPRODUCTION_DISAGREES"
            | "REPRODUCTION_MISMATCH"
            | "SIGNATURE_INVALID"
            | "WRONG_FLEET"
            | "WRONG_CLUSTER"
            | "REPLAYED"
            | "PREVIOUS_MISMATCH"
            | "BLOB_TAMPERED"
            | "SECRET_TAMPERED"
            | "IDENTITY_CHANGED"
    )
}

impl Facts {
    fn receipt(&self, place: Place, kind: ReceiptKind, standing: Option<Standing>) -> Receipt {
        Receipt {
            desired: standing.map(|standing| standing.envelope),
            fleet: self.fleet.clone(),
            cluster: self.cluster.clone(),
            seq: place.seq,
            previous: place.previous,
            kind,
            generation: standing.map_or(0, |standing| standing.generation),
            manifest: standing.map(|standing| standing.manifest),
            checkpoint: self.checkpoint,
            apps: AppCounts::default(),
            results: None,
            health: health(self.health),
            started: time(0),
            ended: time(0),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            nonce: self.nonce.clone(),
            attack: None,
            trust_root: self.trust_root,
            dropped: 0,
            break_glass: standing.and_then(|standing| standing.glass),
        }
    }

    /// A state was applied.
    #[must_use]
    pub fn sync(&self, place: Place, standing: Standing, sync: &SyncSeen) -> Told {
        let receipt = Receipt {
            apps: sync.apps,
            results: Some(Digest::of(&sync.results)),
            health: health(sync.health),
            started: time(sync.started.min(sync.ended)),
            ended: time(sync.ended),
            dropped: sync.dropped,
            ..self.receipt(place, ReceiptKind::Sync, Some(standing))
        };
        Told {
            statement: Statement::Receipt(receipt),
            blobs: vec![sync.results.clone()],
        }
    }

    /// Nothing changed, and all of it stands.
    #[must_use]
    pub fn heartbeat(
        &self,
        place: Place,
        standing: Option<Standing>,
        apps: AppCounts,
        now: i64,
    ) -> Told {
        let receipt = Receipt {
            apps,
            started: time(now),
            ended: time(now),
            ..self.receipt(place, ReceiptKind::Heartbeat, standing)
        };
        Told {
            statement: Statement::Receipt(receipt),
            blobs: Vec::new(),
        }
    }

    /// A check said no.
    ///
    /// # Errors
    /// When the blob can't be written, which no refusal of ours causes.
    pub fn refusal(
        &self,
        place: Place,
        standing: Option<Standing>,
        refusal: &RefusalSeen,
    ) -> Result<Told, JsonError> {
        let RefusalSeen { code, words, .. } = refusal;
        let what = match words {
            Some(words) => json!({"code": code, "count": refusal.count, "words": words}),
            None => json!({"code": code, "count": refusal.count}),
        };
        let results = Bytes::from(json::canonical(&what)?);
        let mut blobs = vec![results.clone()];
        let evidence = refusal.evidence.clone();
        let attack = refusal.attack.then(|| Attack {
            code: (*code).to_owned(),
            evidence: Digest::of(evidence.as_ref().unwrap_or(&results)),
        });
        if attack.is_some() {
            let small = |blob: &Bytes| blob.len() <= queue::BLOB_BYTES_MAX;
            blobs.extend(evidence.filter(small));
        }
        let receipt = Receipt {
            results: Some(Digest::of(&results)),
            started: time(refusal.first.min(refusal.last)),
            ended: time(refusal.last),
            attack,
            dropped: refusal.count.saturating_sub(1),
            ..self.receipt(place, ReceiptKind::Refusal, standing)
        };
        Ok(Told {
            statement: Statement::Receipt(receipt),
            blobs,
        })
    }

    /// A pause began or is over. Why and by whom stands in the override, which is in the log at the place that is named.
    ///
    /// # Errors
    /// When the blob can't be written, which no pause causes.
    pub fn pause(
        &self,
        place: Place,
        standing: Option<Standing>,
        pause: &PauseSeen,
    ) -> Result<Told, JsonError> {
        let what = json!({
            "app": pause.app,
            "override": pause.index,
            "paused": pause.began,
            "until": pause.until.to_string(),
        });
        let results = Bytes::from(json::canonical(&what)?);
        let receipt = Receipt {
            results: Some(Digest::of(&results)),
            started: time(pause.time),
            ended: time(pause.time),
            ..self.receipt(place, ReceiptKind::Pause, standing)
        };
        Ok(Told {
            statement: Statement::Receipt(receipt),
            blobs: vec![results],
        })
    }

    /// Objects are gone because tombstones named them.
    ///
    /// # Errors
    /// When the blob can't be written, which no identity causes.
    pub fn deletion(
        &self,
        place: Place,
        standing: Standing,
        deleted: &DeletedSeen,
    ) -> Result<Told, JsonError> {
        let lines = deleted
            .objects
            .iter()
            .map(|id| json!({"object": id.to_value(), "outcome": "deleted"}));
        let results = json_lines(lines)?;
        let receipt = Receipt {
            results: Some(Digest::of(&results)),
            started: time(deleted.first.min(deleted.last)),
            ended: time(deleted.last),
            dropped: deleted.more,
            ..self.receipt(place, ReceiptKind::Deletion, Some(standing))
        };
        Ok(Told {
            statement: Statement::Receipt(receipt),
            blobs: vec![results],
        })
    }

    /// Something drifted, once or often.
    ///
    /// # Errors
    /// When the blob can't be written, which no drift causes.
    pub fn drift(
        &self,
        place: Place,
        standing: Standing,
        drift: &DriftSeen,
    ) -> Result<Told, JsonError> {
        let record = &drift.record;
        let samples = match drift.samples.as_slice() {
            [] => None,
            samples => Some(json_lines(samples.iter().map(sample))?),
        };
        let told = Drift {
            manifest: standing.manifest,
            fleet: self.fleet.clone(),
            cluster: self.cluster.clone(),
            seq: place.seq,
            previous: place.previous,
            generation: standing.generation,
            app: record.app.to_string(),
            object: (*record.id).clone(),
            what: kind(record.what),
            managers: record.managers.clone(),
            paths: record.paths.clone(),
            healed: record.healed,
            healed_after_ms: if record.healed {
                u64::from(drift.healed_after)
            } else {
                0
            },
            count: drift.count,
            first: time(record.time.min(drift.last)),
            last: time(drift.last),
            samples: samples.as_ref().map(|samples| Digest::of(samples)),
            nonce: self.nonce.clone(),
        };
        Ok(Told {
            statement: Statement::Drift(told.bounded()),
            blobs: samples.into_iter().collect(),
        })
    }
}

fn sample(record: &DriftRecord) -> Value {
    json!({
        "app": &*record.app,
        "healed": record.healed,
        "healedAfterMs": record.healed_after,
        "managers": record.managers,
        "object": record.id.to_value(),
        "paths": record.paths,
        "time": time(record.time).to_string(),
        "what": record.what,
    })
}

/// One canonical line for each value.
///
/// # Errors
/// When a value has no canonical form.
pub fn json_lines(values: impl IntoIterator<Item = Value>) -> Result<Bytes, JsonError> {
    let mut out = Vec::new();
    for value in values {
        out.append(&mut json::canonical(&value)?);
        out.push(b'\n');
    }
    Ok(out.into())
}

/// A clock before 1970 or after 9999 tells the nearest time that can be said.
fn time(ms: i64) -> Time {
    let ms = u64::try_from(ms).unwrap_or(0);
    Time::from_ms(ms).unwrap_or_default()
}

fn kind(word: &str) -> DriftKind {
    match word {
        "deleted" => DriftKind::Deleted,
        "added" => DriftKind::Added,
        _ => DriftKind::Changed,
    }
}

fn health(status: Status) -> Health {
    match status {
        Status::Healthy => Health::Healthy,
        Status::Suspended => Health::Suspended,
        Status::Progressing => Health::Progressing,
        Status::Unknown => Health::Unknown,
        Status::Missing => Health::Missing,
        Status::Degraded => Health::Degraded,
    }
}

#[cfg(test)]
mod tests;
