//! The hub's nonces in receipts. Only the hub knows its own; what the log shows is when one was given, and that one that was given
//! to a cluster stands in another's word.

use countersign_ledger::nonce::Nonce;

use super::receipts::{Link, span, time};
use super::{Judge, Judgement};
use crate::audit::finding::Code;

impl Judge {
    /// A receipt was written after its nonce was given, not long after, and carries the newest that its cluster knew.
    pub(super) fn nonce(&mut self, index: u64, link: &Link<'_>, out: &mut Judgement) {
        // An agent that has not heard of its hub since its start has none.
        if link.nonce.is_empty() {
            return;
        }
        let cluster = link.cluster;
        let mut odd = |why: String| out.find(index, Code::ReceiptNonce, cluster, why);
        let Some(nonce) = Nonce::parse(link.nonce) else {
            odd(format!("{} is none that a hub gives", link.nonce));
            return;
        };
        let (given, skew) = (nonce.given(), self.limits.skew_ms);
        if given > link.ended.saturating_add(skew) {
            let (at, given) = (time(link.ended), time(given));
            odd(format!("was given {given}, to a receipt that says {at}"));
        } else if link.ended.saturating_sub(given) > self.limits.silence_ms {
            let old = span(link.ended.saturating_sub(given));
            odd(format!("was given {old} before the receipt was written"));
        }
        let before = self.state.clusters.get(cluster);
        let before = before.and_then(|known| Nonce::parse(&known.nonce));
        if before == Some(nonce) {
            return;
        }
        if let Some(newest) = before.map(|before| before.given())
            && given.saturating_add(skew) < newest
        {
            let (given, newest) = (time(given), time(newest));
            odd(format!("was given {given}, the one before it {newest}"));
            return;
        }
        if let Some(other) = self.nonces.get(&nonce) {
            let why = format!("{nonce} is that of {other:?}");
            out.find(index, Code::NonceForeign, cluster, why);
            return;
        }
        let name = before.and_then(|before| self.nonces.remove(&before));
        let name = name.unwrap_or_else(|| cluster.to_owned());
        self.nonces.insert(nonce, name);
        link.nonce.clone_into(&mut self.cluster(cluster).nonce);
    }
}
