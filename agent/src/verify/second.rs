//! What second renderers said of a state, as it came with the head; asked for where the level is `reproduced`.

use bytes::Bytes;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Level;
use countersign_ledger::verify::{self, Known, Link, VerifiedCheckpoint};

use super::Assembled;

/// Entries of second renderers, and the checkpoint that they stand under.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// The entries as they came; nothing of them is checked.
    pub entries: Vec<Link<Bytes>>,
    /// Of the message that brought them; none before the fleet has a log.
    pub checkpoint: Option<VerifiedCheckpoint>,
}

impl Assembled {
    /// Checks that a second renderer agreed to this state and none contradicted, if the cluster's level asks for that.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn reproduced(mut self, known: &Known, words: &Words) -> Result<Self, Refusal> {
        if known.roots.newest().cluster(&known.cluster)?.level < Level::Reproduced {
            return Ok(self);
        }
        let checkpoint = words.checkpoint.as_ref().ok_or(Refusal::LogProofMissing)?;
        self.manifest = verify::reproduced(
            known,
            self.manifest,
            &words.entries,
            checkpoint,
            &RingVerifier,
        )?;
        Ok(self)
    }
}
