//! What CI's word must be: of an environment that the fleet has.

use countersign_ledger::statement::Infrastructure;
use countersign_ledger::trust::VerifiedRoot;

use super::Refusal;

pub(super) fn check(this: &Infrastructure, root: &VerifiedRoot) -> Result<(), Refusal> {
    let mut clusters = root.document().clusters.values();
    if clusters.any(|cluster| cluster.environment == this.environment) {
        return Ok(());
    }
    let text = format!("no cluster is of environment {:?}", this.environment);
    Err(Refusal::unprocessable("INFRASTRUCTURE_INVALID", text))
}
