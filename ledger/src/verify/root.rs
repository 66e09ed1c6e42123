//! Check 1: the statement was made under a trust root that is known here. Checks 2, 4, 6 and 7 stand here as their gap.

use crate::refusal::Refusal;
use crate::statement::Desired;
use crate::trust::{Level, VerifiedRoot};

use super::Known;

/// What the newest trust root asks of this cluster must be something that can be checked.
pub(super) fn check_level(known: &Known) -> Result<(), Refusal> {
    let newest = known.roots.newest();
    let cluster = newest.cluster(&known.cluster)?;
    if newest.document().log.is_some() {
        return Err(Refusal::LogProofMissing);
    }
    if cluster.level != Level::Signed {
        return Err(Refusal::LevelNotMet {
            level: cluster.level,
        });
    }
    Ok(())
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
