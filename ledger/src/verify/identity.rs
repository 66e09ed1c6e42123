//! Check 5: the statement is for this cluster, and follows the last one.

use crate::digest::Digest;
use crate::refusal::Refusal;
use crate::statement::Desired;

/// For this fleet, cluster and environment.
pub(super) fn check_for(
    desired: &Desired,
    fleet: &str,
    cluster: &str,
    environment: &str,
) -> Result<(), Refusal> {
    let (want, got) = (fleet.to_owned(), desired.fleet.clone());
    if want != got {
        return Err(Refusal::WrongFleet { want, got });
    }
    let (want, got) = (cluster.to_owned(), desired.cluster.clone());
    if want != got {
        return Err(Refusal::WrongCluster { want, got });
    }
    let (want, got) = (environment.to_owned(), desired.environment.clone());
    if want != got {
        return Err(Refusal::WrongEnvironment { want, got });
    }
    Ok(())
}

/// The generation after `had`, following `envelope`.
pub(super) fn check_follows(
    desired: &Desired,
    had: u64,
    envelope: Option<Digest>,
) -> Result<(), Refusal> {
    let got = desired.generation;
    if got <= had {
        return Err(Refusal::Replayed { had, got });
    }
    if had.checked_add(1) != Some(got) {
        return Err(Refusal::Skipped { had, got });
    }
    if desired.previous != envelope {
        return Err(Refusal::PreviousMismatch {
            generation: got,
            want: envelope,
            got: desired.previous,
        });
    }
    Ok(())
}
