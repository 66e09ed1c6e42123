//! Check 3: the signatures are of keys valid for this environment.

use crate::dsse::Envelope;
use crate::key::Verify;
use crate::refusal::Refusal;
use crate::trust::VerifiedRoot;

/// One key that may seal for `environment` signed these exact bytes.
pub(super) fn check(
    envelope: &Envelope,
    root: &VerifiedRoot,
    environment: &str,
    verifier: &dyn Verify,
) -> Result<(), Refusal> {
    if envelope
        .signed_by(root.sealers(environment), verifier)
        .is_empty()
    {
        return Err(Refusal::SignatureInvalid {
            environment: environment.to_owned(),
        });
    }
    Ok(())
}
