//! What a second renderer's finding must be: about a state that is sealed.

use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::statement::{Reproduction, Statement};
use countersign_ledger::trust::VerifiedRoot;

use super::Refusal;
use crate::log::Log;

pub(super) fn check(this: &Reproduction, root: &VerifiedRoot) -> Result<(), Refusal> {
    if root.document().clusters.contains_key(&this.cluster) {
        return Ok(());
    }
    let text = format!("the trust root lists no cluster {:?}", this.cluster);
    Err(Refusal::unprocessable("REPRODUCTION_INVALID", text))
}

/// The entry that it is about is in the log, and says what it says it does.
pub(super) async fn check_sealed(log: &Log, this: &Reproduction) -> Result<(), Refusal> {
    let found = log.entry_of(&this.desired).await;
    let bytes = found.map_err(|error| Refusal::fault(&error))?;
    let sealed = bytes.and_then(|bytes| {
        let envelope = Envelope::parse(&bytes, &Limits::entry()).ok()?;
        Statement::parse(envelope.payload()).ok()
    });
    match sealed {
        Some(Statement::Desired(sealed))
            if sealed.cluster == this.cluster
                && sealed.generation == this.generation
                && sealed.commit == this.commit =>
        {
            Ok(())
        }
        _ => Err(Refusal::unprocessable(
            "REPRODUCTION_INVALID",
            "the log holds no such state of this cluster, generation and commit",
        )),
    }
}
