//! Check 1: the statement was made under a trust root that is known here; and what the newest one asks of this cluster.

use crate::refusal::Refusal;
use crate::statement::Desired;
use crate::trust::{Level, VerifiedRoot};

use super::Known;
use super::checkpoint::VerifiedCheckpoint;

/// What the newest trust root asks of this cluster: its level, and a checkpoint if it lists a log.
pub(super) fn check_level<'c>(
    known: &Known,
    checkpoint: Option<&'c VerifiedCheckpoint>,
) -> Result<(Level, Option<&'c VerifiedCheckpoint>), Refusal> {
    let newest = known.roots.newest();
    let level = newest.cluster(&known.cluster)?.level;
    if newest.log().is_none() {
        return if level == Level::Signed {
            Ok((level, None))
        } else {
            Err(Refusal::LevelNotMet { level })
        };
    }
    let checkpoint = checkpoint.ok_or(Refusal::LogProofMissing)?;
    check_log(known, checkpoint)?;
    if level >= Level::Witnessed && checkpoint.time().is_none() {
        return Err(Refusal::WitnessQuorumMissing);
    }
    Ok((level, Some(checkpoint)))
}

/// The checkpoint is one of the log that the newest trust root lists.
pub(super) fn check_log(known: &Known, checkpoint: &VerifiedCheckpoint) -> Result<(), Refusal> {
    let log = known.roots.newest().log().ok_or(Refusal::NoLog)?;
    if log == checkpoint.log() {
        Ok(())
    } else {
        Err(Refusal::WrongLog {
            want: log.to_string(),
            got: checkpoint.log().to_string(),
        })
    }
}

/// The root whose keys count for `desired`.
///
/// For the head that is the newest root: a key that was dropped seals nothing new. For the ones
/// before it, it is the root that they name, if it is one of those known here; what an older root signed before the
/// pinned one must bear a key of the pinned one.
pub(super) fn root_for<'k>(
    known: &'k Known,
    desired: &Desired,
    before: u64,
    head: bool,
) -> Result<&'k VerifiedRoot, Refusal> {
    let newest = known.roots.newest();
    let named = desired.trust_root;
    if named > newest.version() {
        return Err(Refusal::TrustRootUnknown {
            named,
            newest: newest.version(),
        });
    }
    if named < before {
        return Err(Refusal::TrustRootReplayed {
            generation: desired.generation,
            named,
            before,
        });
    }
    Ok(if head {
        newest
    } else {
        known
            .roots
            .at(named)
            .unwrap_or_else(|| known.roots.pinned())
    })
}
