//! What second renderers said of a state, as it came with the head; asked for where the level is `reproduced`.

use bytes::Bytes;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Level;
use countersign_ledger::verify::glass::BrokenGlass;
use countersign_ledger::verify::{self, Known, Link, VerifiedCheckpoint};

use super::Assembled;

/// Entries of second renderers, and what they stand under.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// The entries as they came; nothing of them is checked.
    pub entries: Vec<Link<Bytes>>,
    /// Of the message that brought them; none before the fleet has a log.
    pub ground: Option<Ground>,
}

/// The checkpoint that a state stands under.
#[derive(Debug, Clone)]
pub enum Ground {
    /// One that counts for all.
    Witnessed(VerifiedCheckpoint),
    /// One that counts for this state, because a person said so.
    Glass(Box<BrokenGlass>),
}

impl Words {
    /// The person's word that let the state through, if one did.
    #[must_use]
    pub fn glass(&self) -> Option<&BrokenGlass> {
        match &self.ground {
            Some(Ground::Glass(glass)) => Some(glass),
            Some(Ground::Witnessed(_)) | None => None,
        }
    }
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
        let (manifest, entries) = (self.manifest, &words.entries);
        self.manifest = match words.ground.as_ref().ok_or(Refusal::LogProofMissing)? {
            Ground::Witnessed(checkpoint) => {
                verify::reproduced(known, manifest, entries, checkpoint, &RingVerifier)?
            }
            Ground::Glass(glass) => glass.reproduced(manifest, entries, &RingVerifier)?,
        };
        Ok(self)
    }
}
