//! Check 3: the signatures are of keys valid for this environment, at this place of the log.

use std::collections::BTreeSet;

use crate::dsse::Envelope;
use crate::key::{PublicKey, Verify};
use crate::refusal::Refusal;
use crate::trust::{Holds, Role, VerifiedRoot, Windows};

/// Those keys that may seal for `environment` and signed these exact bytes; one at least.
pub(super) fn check(
    envelope: &Envelope,
    root: &VerifiedRoot,
    environment: &str,
    verifier: &dyn Verify,
) -> Result<BTreeSet<PublicKey>, Refusal> {
    let signers = envelope.signed_by(root.sealers(environment), verifier);
    if signers.is_empty() {
        return Err(Refusal::SignatureInvalid {
            environment: environment.to_owned(),
        });
    }
    Ok(signers)
}

/// One of the signers could seal for `environment` at `index`, as far as the log says.
pub(super) fn check_window(
    windows: &Windows,
    signers: &BTreeSet<PublicKey>,
    environment: &str,
    index: u64,
) -> Result<(), Refusal> {
    let mut refusal = None;
    for key in signers {
        match windows.holds(key, Role::Sealer(environment), index) {
            Holds::Yes | Holds::Unrecorded => return Ok(()),
            Holds::Dropped { version, since } => {
                refusal = Some(Refusal::KeyRevoked {
                    index,
                    version,
                    since,
                });
            }
            Holds::NotYet => {
                refusal.get_or_insert(Refusal::KeyNotYet { index });
            }
        }
    }
    refusal.map_or(Ok(()), Err)
}
