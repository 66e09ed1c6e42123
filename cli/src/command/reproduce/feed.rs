//! The log, as a second renderer follows it: a checkpoint that goes on from the one before, and entries under its root.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use countersign_fleet::reproduce::State;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::manifest::{Apps, SectionList};
use countersign_ledger::statement::{Desired, Source, Statement};
use countersign_ledger::trust::{Role, Roots};

use super::memory::Memory;
use crate::audit::content;
use crate::exit::Failure;
use crate::log::{Files, Log, LogError, Trust, source};

/// A log's files, and whose word counts.
pub struct Feed {
    files: Box<dyn Files>,
    first: Vec<u8>,
    pin: Digest,
}

/// A sealed state.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Place in the log.
    pub index: u64,
    /// Leaf hash.
    pub leaf: Digest,
    /// What it says.
    pub desired: Desired,
}

/// An entry that matters here.
pub enum Item {
    /// A state that a sealer of its environment signed.
    State(Box<Sealed>),
    /// A state that no sealer of its environment signed: agents refuse it, whoever renders it.
    Unsigned(Box<Sealed>),
    /// Anything else: its exact bytes.
    Other(Bytes),
}

impl Feed {
    /// The log in `place`, under the chain of trust roots that `trust` is in.
    pub fn open(place: &str, ca: Option<&Path>, trust: &Path) -> Result<Self, Failure> {
        let files = source::open(place, ca)?;
        let first = std::fs::read(trust).map_err(|e| Failure::file(trust, &e))?;
        Ok(Self {
            files,
            pin: Digest::of(&first),
            first,
        })
    }

    /// The trust roots, from the one that was given on, or before it.
    pub fn trust(&self) -> Result<Trust, Failure> {
        let root = countersign_ledger::trust::VerifiedRoot::parse(&self.first, &RingVerifier)
            .map_err(|refusal| {
                Failure::Negative(format!("--trust: {refusal} ({})", refusal.code()))
            })?;
        // A log in a folder alone may have no chain of roots beside it: then the one that was given counts.
        let first = (root.version() == 1).then_some(&self.first[..]);
        match Trust::read(self.files.as_ref(), first, Some(&self.pin)) {
            Ok(trust) => Ok(trust),
            Err(LogError::Missing(_)) => Ok(Trust {
                pinned: Some(root.version()),
                roots: Roots::new(root),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The log at its newest checkpoint, which goes on from the remembered one and has the witnesses' word if the trust
    /// root asks for them.
    pub fn newest(&self, trust: &Trust, memory: &Memory) -> Result<Log<'_>, Failure> {
        let log = Log::open(self.files.as_ref(), &trust.known()?)?;
        if log.head().asked && log.head().cosigned.is_none() {
            return Err(Failure::Negative(
                "checkpoint: the witnesses that cosigned it are no quorum (WITNESS_QUORUM_MISSING)"
                    .to_owned(),
            ));
        }
        if log.size() < memory.size {
            return Err(Failure::Negative(format!(
                "the log has {} entries, and had {}: it was rolled back (LOG_ROLLED_BACK)",
                log.size(),
                memory.size
            )));
        }
        if let Some(root) = &memory.root
            && memory.size > 0
        {
            log.consistency(memory.size, root)
                .map_err(|error| match error {
                    LogError::Proof(_) => Failure::Negative(format!(
                        "the log is not the one that was seen at size {}: {error} (LOG_FORKED)",
                        memory.size
                    )),
                    other => other.into(),
                })?;
        }
        Ok(log)
    }
}

/// Reads an entry.
pub fn item(log: &Log<'_>, trust: &Trust, index: u64) -> Result<Item, Failure> {
    let (bytes, _) = log.entry(index)?;
    Ok(read(&bytes, trust, index).unwrap_or(Item::Other(bytes)))
}

fn read(bytes: &Bytes, trust: &Trust, index: u64) -> Option<Item> {
    let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return None;
    }
    let Statement::Desired(desired) = Statement::parse(envelope.payload()).ok()? else {
        return None;
    };
    let signed = trust.roots.iter().any(|root| {
        let keys = root.holders(Role::Sealer(&desired.environment));
        !envelope.signed_by(&keys, &RingVerifier).is_empty()
    });
    let sealed = Box::new(Sealed {
        index,
        leaf: envelope.leaf_hash(),
        desired,
    });
    Some(if signed {
        Item::State(sealed)
    } else {
        Item::Unsigned(sealed)
    })
}

/// What the source entry of a state says: it lies before the state, mostly right before it.
pub fn source_of(log: &Log<'_>, sealed: &Sealed) -> Result<Option<Source>, Failure> {
    for index in (0..sealed.index).rev() {
        let bytes = log.lying(index)?;
        if countersign_ledger::digest::leaf_hash(&bytes) != sealed.desired.source {
            continue;
        }
        let statement = Envelope::parse(&bytes, &Limits::entry())
            .ok()
            .and_then(|envelope| Statement::parse(envelope.payload()).ok());
        return Ok(match statement {
            Some(Statement::Source(source)) => Some(source),
            _ => None,
        });
    }
    Ok(None)
}

/// A state's lines and apps; none if a blob is not there.
pub fn state(log: &Log<'_>, manifest: &Digest) -> Result<Option<State>, Failure> {
    let bad =
        |error: &dyn std::fmt::Display| Failure::Negative(format!("manifest {manifest}: {error}"));
    let Some(bytes) = log.blob(manifest)? else {
        return Ok(None);
    };
    let list = SectionList::parse(&bytes).map_err(|error| bad(&error))?;
    let Some(lines) = content::manifest(log, manifest)? else {
        return Ok(None);
    };
    let Some(apps) = log.blob(&list.apps)? else {
        return Ok(None);
    };
    let apps = Apps::parse(&apps).map_err(|error| bad(&error))?;
    let by_id: BTreeMap<_, _> = lines
        .into_values()
        .map(|line| (line.id().clone(), line))
        .collect();
    Ok(Some(State {
        lines: by_id.into_values().collect(),
        apps: apps.as_slice().to_vec(),
    }))
}
