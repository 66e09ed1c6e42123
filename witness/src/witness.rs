//! The witness: joins the decision with the logs' keys, its own key, a clock and the state.
//!
//! One log is one lock. Under it the newest checkpoint is compared, the next one cosigned, made durable and remembered,
//! in this order; only then is the cosignature handed out. So of two requests at once one comes after the other, and a
//! crash anywhere loses at most a cosignature that nobody has seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::checkpoint::{Checkpoint, CheckpointError, Extensions};
use countersign_ledger::tlog::cosignature;
use countersign_ledger::tlog::note::{KeyKind, Note, NoteSignError, Opened, Vkey};

use crate::clock::Clock;
use crate::decide::{Decision, Offer, Refusal, Tree, consider};
use crate::home::Home;
use crate::limits::{KEYS_PER_LOG_MAX, ORIGIN_BYTES_MAX};
use crate::metrics::{CodeLabels, LogLabels, Metrics};
use crate::request::AddCheckpoint;
use crate::state::disk::{Disk, RealDisk};
use crate::state::sealed::Damage;
use crate::state::{State, StateError};

/// The witness can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A key that is no log's.
    #[error("{vkey}: a log signs with an Ed25519 key of kind 0x01; this one is a witness's")]
    NotALogKey {
        /// The key.
        vkey: Vkey,
    },
    /// An origin that no file can be made of.
    #[error("{0:?}: an origin has at most {ORIGIN_BYTES_MAX} bytes")]
    Origin(String),
    /// Too many keys of one log.
    #[error("{0}: a log has at most {KEYS_PER_LOG_MAX} keys")]
    TooManyKeys(String),
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub enum NotCosigned {
    /// The rules say no; asking again changes nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The state could not be made durable, or the key did not sign. Asking again may help.
    #[error("{0}")]
    Fault(String),
}

/// A witness, shared by all requests.
#[derive(Debug)]
pub struct Witness {
    home: Home,
    state: State,
    logs: BTreeMap<String, Log>,
    /// Hex SHA-256 of an origin, as the monitoring address has it.
    by_hash: BTreeMap<Digest, String>,
    clock: Clock,
    metrics: Metrics,
}

/// A log that is followed.
#[derive(Debug)]
struct Log {
    keys: Vec<Vkey>,
    /// Held from the comparison until the checkpoint is durable.
    newest: Mutex<Option<Tree>>,
    /// The same, with its signatures, for readers: never anything that isn't durable.
    shown: RwLock<Option<Bytes>>,
}

impl Witness {
    /// Opens the state and begins to follow `logs`; one log may have more than one key.
    ///
    /// # Errors
    /// [`OpenError`]: above all if the state is not what this witness wrote.
    pub fn open(home: Home, logs: &[Vkey], clock: Clock) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(RealDisk), home, logs, clock)
    }

    /// As [`Witness::open`], on another disk.
    ///
    /// # Errors
    /// As [`Witness::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        home: Home,
        logs: &[Vkey],
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let (mut state, records) = State::open(home.folder(), disk)?;
        let keys = by_origin(logs)?;
        let metrics = Metrics::default();
        let mut kept = BTreeMap::new();
        for (origin, checkpoint) in records {
            let Some(checkpoint) = checkpoint else {
                continue;
            };
            let tree = remembered(home.vkey(), &origin, &checkpoint)
                .map_err(|damage| StateError::damaged(state.path(&origin), damage))?;
            kept.insert(origin, (tree, Bytes::from(checkpoint)));
        }
        let mut followed = BTreeMap::new();
        for (origin, keys) in keys {
            state.follow(&origin)?;
            let (tree, shown) = kept.remove(&origin).unzip();
            if let Some(tree) = &tree {
                metrics.size.get_or_create(&labels(&origin)).set(tree.size);
            }
            followed.insert(
                origin,
                Log {
                    keys,
                    newest: Mutex::new(tree),
                    shown: RwLock::new(shown),
                },
            );
        }
        let by_hash = followed
            .keys()
            .map(|origin| (Digest::of(origin.as_bytes()), origin.clone()))
            .collect();
        Ok(Self {
            home,
            state,
            logs: followed,
            by_hash,
            clock,
            metrics,
        })
    }

    /// The witness's key as others know it.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        self.home.vkey()
    }

    /// Origins of the logs that are followed.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.logs.keys().map(String::as_str)
    }

    /// What is counted.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The newest cosigned checkpoint of the log whose origin has this SHA-256.
    #[must_use]
    pub fn newest(&self, origin: &Digest) -> Option<Bytes> {
        let log = self.logs.get(self.by_hash.get(origin)?)?;
        log.shown.read().ok()?.clone()
    }

    /// Answers the body of `add-checkpoint` with signature lines. Blocks while the state is made durable.
    ///
    /// # Errors
    /// [`NotCosigned`]: nothing was cosigned.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, NotCosigned> {
        let answer = self.answered(body);
        match &answer {
            Ok(_) => {}
            Err(NotCosigned::Refused(refusal)) => {
                let code = refusal.code();
                self.metrics
                    .refusals
                    .get_or_create(&CodeLabels { code })
                    .inc();
            }
            Err(NotCosigned::Fault(fault)) => {
                self.metrics.faults.inc();
                tracing::error!(%fault, "a cosignature was withheld");
            }
        }
        answer
    }

    fn answered(&self, body: &[u8]) -> Result<String, NotCosigned> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let note =
            Note::parse(&request.note).map_err(|error| Refusal::NoCheckpoint(error.to_string()))?;
        let origin = note.text().lines().next().unwrap_or_default();
        let log = self
            .logs
            .get(origin)
            .ok_or_else(|| Refusal::UnknownLog(origin.chars().take(ORIGIN_BYTES_MAX).collect()))?;
        let opened = note
            .open(&log.keys, &RingVerifier)
            .map_err(|_| Refusal::NotSigned)?;
        let checkpoint = Checkpoint::parse_with(opened.text(), Extensions::Ignore).map_err(
            |error| match error {
                CheckpointError::EmptyRoot { .. } => Refusal::EmptyRoot,
                other => Refusal::NoCheckpoint(other.to_string()),
            },
        )?;
        let offer = Offer {
            old: request.old,
            proof: &request.proof,
            tree: Tree {
                size: checkpoint.size,
                root: checkpoint.root,
            },
        };
        self.decided(origin, log, &opened, &offer)
    }

    /// Compares, cosigns, makes durable and remembers, under the log's lock.
    fn decided(
        &self,
        origin: &str,
        log: &Log,
        opened: &Opened,
        offer: &Offer<'_>,
    ) -> Result<String, NotCosigned> {
        // A thread that panicked may have left memory and disk apart.
        let mut newest = log
            .newest
            .lock()
            .map_err(|_| NotCosigned::Fault("an earlier request did not end; restart".into()))?;
        if let Decision::Refuse(refusal) = consider(*newest, offer) {
            if let Refusal::Forked { .. } = refusal {
                self.forked(origin, opened, &refusal);
            }
            return Err(refusal.into());
        }
        let time = self.clock.now();
        let (line, checkpoint) = self.cosigned(opened, time)?;
        let began = Instant::now();
        self.state
            .store(origin, &checkpoint)
            .map_err(|error| NotCosigned::Fault(format!("{origin}: the state: {error}")))?;
        self.metrics
            .store_seconds
            .observe(began.elapsed().as_secs_f64());
        *newest = Some(offer.tree);
        if let Ok(mut shown) = log.shown.write() {
            *shown = Some(checkpoint.into());
        }
        let labels = labels(origin);
        self.metrics.cosigned.get_or_create(&labels).inc();
        self.metrics
            .size
            .get_or_create(&labels)
            .set(offer.tree.size);
        self.metrics.time.get_or_create(&labels).set(time);
        Ok(line)
    }

    /// Our signature line, and the checkpoint with the log's signatures and ours.
    fn cosigned(&self, opened: &Opened, time: u64) -> Result<(String, Vec<u8>), NotCosigned> {
        let fault = |error: NoteSignError| NotCosigned::Fault(error.to_string());
        let name = self.vkey().name();
        let signature =
            cosignature::sign(name, self.home.key(), time, opened.text()).map_err(fault)?;
        let line = signature.line();
        let mut note =
            Note::new(opened.text()).map_err(|error| NotCosigned::Fault(error.to_string()))?;
        for verified in opened.verified() {
            note.add(verified.signature.clone());
        }
        note.add(signature);
        Ok((line, note.bytes()))
    }

    /// The log signed two roots of one size.
    fn forked(&self, origin: &str, opened: &Opened, refusal: &Refusal) {
        self.metrics.forks.get_or_create(&labels(origin)).inc();
        let checkpoint = opened.text();
        tracing::error!(origin, %refusal, checkpoint, "the log has forked");
    }
}

fn labels(origin: &str) -> LogLabels {
    LogLabels {
        origin: origin.to_owned(),
    }
}

/// Keys by their log: a log's origin is its key's name.
fn by_origin(logs: &[Vkey]) -> Result<BTreeMap<String, Vec<Vkey>>, OpenError> {
    let mut out: BTreeMap<String, Vec<Vkey>> = BTreeMap::new();
    for vkey in logs {
        if vkey.kind() != KeyKind::Ed25519 {
            return Err(OpenError::NotALogKey { vkey: vkey.clone() });
        }
        let origin = vkey.name();
        if origin.len() > ORIGIN_BYTES_MAX {
            return Err(OpenError::Origin(origin.to_owned()));
        }
        let keys = out.entry(origin.to_owned()).or_default();
        if !keys.contains(vkey) {
            keys.push(vkey.clone());
        }
        if keys.len() > KEYS_PER_LOG_MAX {
            return Err(OpenError::TooManyKeys(origin.to_owned()));
        }
    }
    Ok(out)
}

/// The tree of a checkpoint from the state. It must bear our own cosignature: it is ours and whole. The log's key is not
/// asked: it may have changed since.
fn remembered(own: &Vkey, origin: &str, checkpoint: &[u8]) -> Result<Tree, Damage> {
    let content = |problem: String| Damage::Content(problem);
    let opened = Note::parse(checkpoint)
        .and_then(|note| note.open(std::slice::from_ref(own), &RingVerifier))
        .map_err(|error| content(format!("the checkpoint in it: {error}")))?;
    let checkpoint = Checkpoint::parse_with(opened.text(), Extensions::Ignore)
        .map_err(|error| content(format!("the checkpoint in it: {error}")))?;
    if checkpoint.origin != origin {
        return Err(content(format!(
            "holds a checkpoint of {:?}",
            checkpoint.origin
        )));
    }
    Ok(Tree {
        size: checkpoint.size,
        root: checkpoint.root,
    })
}

#[cfg(test)]
mod tests;
