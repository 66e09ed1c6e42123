//! Check 2: the log signed this checkpoint, enough witnesses did, and it follows the last one that was seen here.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::fork::Fork;
use crate::key::Verify;
use crate::limits::CHECKPOINT_SKEW_SECONDS_MAX;
use crate::refusal::Refusal;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::merkle::{self, EMPTY_ROOT, ProofError};
use crate::tlog::note::{Note, Opened, Vkey};
use crate::tlog::policy::Policy;
use crate::trust::{Level, VerifiedRoot};

use super::Known;

/// The last checkpoint that was verified: what the next one must follow. Kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Entries in the log.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The signed note: evidence, should the log ever contradict it.
    pub note: Vec<u8>,
    /// Newest time of a quorum of witnesses, in seconds since 1970; none if there was none.
    pub time: Option<u64>,
    /// The same of a checkpoint before it, where this one was taken without witnesses.
    pub before: Option<u64>,
}

impl Seen {
    /// The newest time that a quorum of witnesses ever gave here, in seconds since 1970.
    #[must_use]
    pub fn clock(&self) -> Option<u64> {
        self.time.max(self.before)
    }
}

/// A tree that the log signed. What is asked of it beyond that is said by the type around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) log: Vkey,
    pub(super) seen: Seen,
}

impl Tree {
    pub(super) fn size(&self) -> u64 {
        self.seen.size
    }

    pub(super) fn root(&self) -> &Digest {
        &self.seen.root
    }
}

/// A checkpoint all of whose checks passed. Only [`checkpoint`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    tree: Tree,
}

impl VerifiedCheckpoint {
    /// The log's key.
    #[must_use]
    pub fn log(&self) -> &Vkey {
        &self.tree.log
    }

    /// Entries in the log.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> &Digest {
        self.tree.root()
    }

    /// Newest time of a quorum of witnesses, in seconds since 1970; none if no quorum cosigned, or none is asked for.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        self.tree.seen.time
    }

    /// What is kept of it: the next checkpoint must follow this one.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.tree.seen
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// Checks a checkpoint against the newest trust root and the last one that was seen.
///
/// `consistency` leads from the last seen one to this one; it is empty if none was seen. `now` is in seconds since 1970:
/// without it, or below level `witnessed`, no checkpoint is too old.
pub fn checkpoint(
    known: &Known,
    note: &[u8],
    consistency: &[Digest],
    now: Option<u64>,
    verifier: &dyn Verify,
) -> Result<VerifiedCheckpoint, Refusal> {
    let newest = known.roots.newest();
    let level = newest.cluster(&known.cluster)?.level;
    let log = newest.log().ok_or(Refusal::NoLog)?;
    let witnesses = newest.witnesses();

    let mut keys = vec![log.clone()];
    let policy = witnesses.into_iter().flat_map(Policy::witnesses);
    keys.extend(policy.map(|witness| witness.vkey.clone()));
    let (checkpoint, opened) = opened(&keys, log, note, verifier)?;

    let time = witnesses.and_then(|policy| policy.newest_time(&policy.cosigned(&opened)));
    if level >= Level::Witnessed {
        let time = time.ok_or(Refusal::WitnessQuorumMissing)?;
        if let Some(now) = now {
            // A clock that was set back is not believed: witnesses have seen a later time.
            let seen = known.seen.as_ref().and_then(Seen::clock);
            check_time(time, now.max(seen.unwrap_or(0)), known.stale_seconds)?;
        }
    }
    check_follows(known.seen.as_ref(), &checkpoint, note, consistency)?;
    let seen = Seen {
        size: checkpoint.size,
        root: checkpoint.root,
        note: note.to_vec(),
        time,
        before: None,
    };
    let log = log.clone();
    Ok(VerifiedCheckpoint {
        tree: Tree { log, seen },
    })
}

/// A checkpoint that the log signed and that follows the last one that was seen, whoever cosigned it.
pub(super) fn signed(
    known: &Known,
    note: &[u8],
    consistency: &[Digest],
    verifier: &dyn Verify,
) -> Result<Tree, Refusal> {
    let log = known.roots.newest().log().ok_or(Refusal::NoLog)?;
    let (checkpoint, _) = opened(std::slice::from_ref(log), log, note, verifier)?;
    check_follows(known.seen.as_ref(), &checkpoint, note, consistency)?;
    let seen = Seen {
        size: checkpoint.size,
        root: checkpoint.root,
        note: note.to_vec(),
        time: None,
        before: known.seen.as_ref().and_then(Seen::clock),
    };
    let log = log.clone();
    Ok(Tree { log, seen })
}

/// A checkpoint that was verified before, read again from where it was kept: signed by a log that one of the known roots
/// lists.
pub(super) fn reopened(known: &Known, note: &[u8], verifier: &dyn Verify) -> Result<Tree, Refusal> {
    let logs: BTreeSet<&Vkey> = known.roots.iter().filter_map(VerifiedRoot::log).collect();
    let mut refusal = Refusal::NoLog;
    for log in logs {
        match opened(std::slice::from_ref(log), log, note, verifier) {
            Ok((checkpoint, _)) => {
                let seen = Seen {
                    size: checkpoint.size,
                    root: checkpoint.root,
                    note: note.to_vec(),
                    time: None,
                    before: None,
                };
                let log = log.clone();
                return Ok(Tree { log, seen });
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// The checkpoint in a note that `log` signed, and whose known signatures are all right.
fn opened(
    keys: &[Vkey],
    log: &Vkey,
    note: &[u8],
    verifier: &dyn Verify,
) -> Result<(Checkpoint, Opened), Refusal> {
    let malformed = |problem: String| Refusal::CheckpointMalformed { problem };
    let unsigned = |problem: String| Refusal::LogSignatureInvalid { problem };
    let opened = Note::parse(note)
        .map_err(|error| malformed(error.to_string()))?
        .open(keys, verifier)
        .map_err(|error| unsigned(error.to_string()))?;
    if opened.by(log).is_none() {
        return Err(unsigned(format!("{:?} did not sign it", log.name())));
    }
    let checkpoint =
        Checkpoint::parse(opened.text()).map_err(|error| malformed(error.to_string()))?;
    if checkpoint.origin != log.name() {
        return Err(Refusal::WrongLog {
            want: log.name().to_owned(),
            got: checkpoint.origin,
        });
    }
    Ok((checkpoint, opened))
}

fn check_time(time: u64, now: u64, stale_seconds: u64) -> Result<(), Refusal> {
    if now.saturating_sub(time) > stale_seconds {
        return Err(Refusal::CheckpointStale { time, now });
    }
    if time.saturating_sub(now) > CHECKPOINT_SKEW_SECONDS_MAX {
        return Err(Refusal::CheckpointFromFuture { time, now });
    }
    Ok(())
}

/// Every agent is a witness: what was seen once must be a prefix of what comes.
fn check_follows(
    seen: Option<&Seen>,
    checkpoint: &Checkpoint,
    note: &[u8],
    consistency: &[Digest],
) -> Result<(), Refusal> {
    let (size, root) = seen.map_or((0, EMPTY_ROOT), |seen| (seen.size, seen.root));
    let fork = || {
        Box::new(Fork {
            ours: seen.map_or_else(Vec::new, |seen| seen.note.clone()),
            theirs: note.to_vec(),
            consistency: consistency.to_vec(),
        })
    };
    match merkle::verify_consistency(size, &root, checkpoint.size, &checkpoint.root, consistency) {
        Ok(()) => Ok(()),
        Err(ProofError::TreeShrinks { old, new }) => Err(Refusal::LogRolledBack {
            had: old,
            got: new,
            evidence: fork(),
        }),
        Err(ProofError::HashCount { .. } | ProofError::IndexOutOfTree { .. }) => {
            Err(Refusal::ConsistencyUnproven {
                had: size,
                got: checkpoint.size,
                evidence: fork(),
            })
        }
        Err(ProofError::RootMismatch { .. } | ProofError::OldRootMismatch { .. }) => {
            Err(Refusal::LogForked {
                had: size,
                got: checkpoint.size,
                evidence: fork(),
            })
        }
    }
}
