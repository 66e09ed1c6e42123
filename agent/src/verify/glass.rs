//! A head whose checkpoint too few witnesses cosigned, and which a person let through all the same.

use bytes::Bytes;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::time::Time;
use countersign_ledger::verify::glass::{self, Came};

use super::{Batch, Chain, End, Ground, Note, Shown, Untrusted, Words, new_entries};

impl Chain {
    /// Follows a message whose checkpoint was refused with `refusal`, if witnesses are all that it lacks and a person let its
    /// last state through. Nothing else of it is believed: pauses that came along are heard once witnesses have seen them.
    pub(super) fn through_glass(
        &mut self,
        batch: &Batch,
        refusal: Refusal,
        now: u64,
    ) -> Result<(), Refusal> {
        let lacks_witnesses = matches!(
            refusal,
            Refusal::WitnessQuorumMissing | Refusal::CheckpointStale { .. }
        );
        let (Some(Note { note, consistency }), Some(last)) =
            (&batch.checkpoint, batch.links.last())
        else {
            return Err(refusal);
        };
        // A chain in parts would have to be believed before its end is known.
        if !lacks_witnesses || batch.more {
            return Err(refusal);
        }
        let trust_entries = new_entries(&self.known, &batch.trust_entries);
        let came: Came<'_, Bytes> = Came {
            note,
            consistency,
            trust_entries: &trust_entries,
            words: &batch.overrides,
            links: &batch.links,
            sources: &batch.sources,
        };
        let time = Time::from_ms(now.saturating_mul(1_000)).unwrap_or_default();
        let glass = match glass::verify(&self.known, &came, time, &RingVerifier) {
            Ok(glass) => glass,
            // Nobody let it through: what was wrong with the checkpoint is what there is to say.
            Err(Refusal::WitnessQuorumMissing) => return Err(refusal),
            Err(why) => return Err(why),
        };
        let mut git_objects = self.git_objects.clone();
        git_objects.take(&batch.git_objects)?;
        self.newest = Some(End {
            statement: glass.statement().clone(),
            envelope: last.envelope.clone(),
            shown: last.proof.clone().map(|proof| Shown {
                note: glass.seen().note.clone(),
                proof,
                glass: glass.statement().glass(),
            }),
            git_objects: Untrusted(git_objects.objects.clone()),
            words: Words {
                entries: batch.reproductions.clone(),
                ground: Some(Ground::Glass(Box::new(glass.clone()))),
            },
        });
        self.known = glass.known().clone();
        self.begun = true;
        self.git_objects = git_objects;
        Ok(())
    }
}
