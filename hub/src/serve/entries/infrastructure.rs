//! What CI's word must be: of an environment that the fleet has, by the CI whose key signed it.

use countersign_ledger::statement::Infrastructure;
use countersign_ledger::trust::VerifiedRoot;

use super::Refusal;

pub(super) fn check(this: &Infrastructure, by: &str, root: &VerifiedRoot) -> Result<(), Refusal> {
    if this.by != by {
        let text = format!("is by {:?}, signed with the key of {by:?}", this.by);
        return Err(Refusal::unprocessable("INFRASTRUCTURE_INVALID", text));
    }
    environment(this, root)
}

/// It is of an environment that some cluster is of.
pub(super) fn environment(this: &Infrastructure, root: &VerifiedRoot) -> Result<(), Refusal> {
    let mut clusters = root.document().clusters.values();
    if clusters.any(|cluster| cluster.environment == this.environment) {
        return Ok(());
    }
    let text = format!("no cluster is of environment {:?}", this.environment);
    Err(Refusal::unprocessable("INFRASTRUCTURE_INVALID", text))
}
