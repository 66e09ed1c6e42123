//! Where the chain stands by the hub's word, and by ours.

use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::statement::Statement;
use countersign_ledger::verify::Known;
use countersign_proto::agent::v1 as proto;

use super::{Failure, Sender};

impl Sender {
    /// Where the chain stands by the hub's word, against ours. A volume that is new, or was set back, goes on from the newest
    /// envelope in the log, which bears our own signature; nothing else moves our chain.
    pub(super) async fn agree(
        &self,
        known: &Known,
        response: &proto::ReceiptsResponse,
    ) -> Result<(), Failure> {
        let (begun, empty, next) = {
            let queue = self.outbox.queue();
            (queue.has_begun(), queue.is_empty(), queue.next().seq)
        };
        let theirs = response.next_seq;
        if begun && (theirs <= next || !empty) {
            return Ok(());
        }
        let floor = self.engine.floor.seq(&self.keys.receipt());
        if theirs <= floor {
            return Err(Failure::Chain {
                code: "RECEIPT_CHAIN_SET_BACK",
                text: format!(
                    "the hub wants receipt {theirs} next, but {floor} was proven to be in the log: its log is of an older day, or hides what this cluster said"
                ),
            });
        }
        if theirs <= 1 {
            self.outbox.begin(0, None).await?;
            return Ok(());
        }
        let newest = self.own(known, &response.newest);
        let Some((seq, digest)) = newest.filter(|(seq, _)| seq.checked_add(1) == Some(theirs))
        else {
            return Err(Failure::Chain {
                code: "RECEIPT_CHAIN_UNPROVEN",
                text: format!(
                    "the hub wants receipt {theirs} next and shows no envelope of ours before it"
                ),
            });
        };
        if begun {
            let text = format!(
                "the log has receipts of this key up to {seq}, this volume up to {}: it was set back, or the key was copied",
                next.saturating_sub(1)
            );
            self.engine.refused("RECEIPT_SET_BACK", &text);
        }
        self.outbox.begin(seq, Some(digest)).await?;
        Ok(())
    }

    /// The `seq` and digest of an envelope that this agent signed.
    fn own(&self, known: &Known, bytes: &[u8]) -> Option<(u64, Digest)> {
        let envelope = Envelope::parse(bytes, &Limits::entry()).ok()?;
        let key: PublicKey = self.keys.receipt();
        if envelope.signed_by([&key], &RingVerifier).is_empty() {
            return None;
        }
        let (fleet, cluster, seq) = match Statement::parse(envelope.payload()).ok()? {
            Statement::Receipt(receipt) => (receipt.fleet, receipt.cluster, receipt.seq),
            Statement::Drift(drift) => (drift.fleet, drift.cluster, drift.seq),
            _ => return None,
        };
        let ours = fleet == known.roots.newest().fleet() && cluster == known.cluster;
        ours.then(|| (seq, envelope.digest()))
    }
}

/// The hub says that an envelope does not belong into the chain.
pub(super) fn refused(response: &proto::ReceiptsResponse) -> Failure {
    let code = match response.refused_code.as_str() {
        "RECEIPT_EQUIVOCATION" => "RECEIPT_EQUIVOCATION",
        "RECEIPT_GAP" => "RECEIPT_GAP",
        "RECEIPT_PREVIOUS_MISMATCH" => "RECEIPT_PREVIOUS_MISMATCH",
        "RECEIPT_REPLAYED" => "RECEIPT_REPLAYED",
        _ => "RECEIPT_REFUSED",
    };
    let told: String = response.refused.chars().take(512).collect();
    Failure::Chain {
        code,
        text: format!("the hub does not take a receipt: {told}"),
    }
}
