//! The chain of each cluster's receipts and drift records, and whether they fit the states and the log.

use countersign_ledger::digest::Digest;
use countersign_ledger::key::PublicKey;
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::statement::{Drift, Receipt};
use countersign_ledger::trust::Level;

use super::{Around, Entry, Judge, Judgement, LastReceipt, LateRoot, PastDesired};
use crate::audit::entry::word;
use crate::audit::finding::Code;

/// What receipts and drift records have in common.
pub(super) struct Link<'l> {
    pub(super) cluster: &'l str,
    seq: u64,
    previous: Option<Digest>,
    /// When it began and ended.
    started: u64,
    pub(super) ended: u64,
    pub(super) nonce: &'l str,
}

impl Judge {
    pub(super) fn receipt(
        &mut self,
        entry: &Entry,
        said: &Receipt,
        around: &Around<'_>,
        out: &mut Judgement,
    ) {
        let link = Link {
            cluster: &said.cluster,
            seq: said.seq,
            previous: said.previous,
            started: said.started.ms(),
            ended: said.ended.ms(),
            nonce: &said.nonce,
        };
        if !self.link(entry, &link, out) {
            return;
        }
        let (cluster, index) = (said.cluster.as_str(), entry.read.index);
        let state = (said.generation > 0).then(|| self.state_of(cluster, said.generation, around));
        if let Some(state) = state {
            let own = state.filter(|state| {
                Some(state.digest) == said.desired && Some(state.manifest) == said.manifest
            });
            let (generation, size) = (said.generation, said.checkpoint.size);
            let synced = said.kind == ReceiptKind::Sync;
            match own {
                None => {
                    let why = format!("generation {generation} is another state, or none");
                    out.find(index, Code::ReceiptStateUnknown, cluster, why);
                }
                Some(state) if synced && state.index >= size => {
                    let at = state.index;
                    let why = format!(
                        "generation {generation} is entry {at}, the checkpoint had {size} entries"
                    );
                    out.find(index, Code::ReceiptBeforeLog, cluster, why);
                }
                Some(_) => {}
            }
        }
        self.checkpoint(index, said, around, out);
        self.levels(index, said, out);
        self.remarks(index, said, out);
        if said.kind == ReceiptKind::Sync {
            let known = self.cluster(cluster);
            known.answered = known.answered.max(said.generation);
        }
    }

    pub(super) fn drift(
        &mut self,
        entry: &Entry,
        said: &Drift,
        around: &Around<'_>,
        out: &mut Judgement,
    ) {
        let link = Link {
            cluster: &said.cluster,
            seq: said.seq,
            previous: said.previous,
            started: said.first.ms(),
            ended: said.last.ms(),
            nonce: &said.nonce,
        };
        if !self.link(entry, &link, out) {
            return;
        }
        let state = self.state_of(&said.cluster, said.generation, around);
        if state.is_none_or(|state| state.manifest != said.manifest) {
            let why = format!("generation {} is another state, or none", said.generation);
            out.find(
                entry.read.index,
                Code::ReceiptStateUnknown,
                &said.cluster,
                why,
            );
        }
    }

    fn state_of(&self, cluster: &str, generation: u64, around: &Around<'_>) -> Option<PastDesired> {
        let known = self.state.clusters.get(cluster);
        let head = known.and_then(|known| known.head.as_ref());
        match head.filter(|head| head.generation == generation) {
            Some(head) => Some(PastDesired {
                index: head.index,
                digest: head.digest,
                leaf: head.leaf,
                manifest: head.manifest,
            }),
            None => around.past.desired(cluster, generation),
        }
    }

    /// Who speaks, and whether it follows what the cluster said before.
    fn link(&mut self, entry: &Entry, link: &Link<'_>, out: &mut Judgement) -> bool {
        let (cluster, index) = (link.cluster, entry.read.index);
        if self.keys.enrolled(cluster).is_empty() {
            let why = format!("{cluster:?} was never enrolled before");
            out.find(index, Code::ReceiptUnenrolled, cluster, why);
            return false;
        }
        let key = self.speaker(entry, cluster, out);
        let Some(key) = key else {
            return false;
        };
        out.holds = self.in_order(index, key, link, out);
        self.times(index, link, out);
        self.nonce(index, link, out);
        if out.holds {
            self.cluster(cluster).receipt = Some(LastReceipt {
                key,
                seq: link.seq,
                index,
                digest: entry.read.digest,
                ended: link.ended,
            });
        }
        out.holds
    }

    fn in_order(
        &mut self,
        index: u64,
        key: PublicKey,
        link: &Link<'_>,
        out: &mut Judgement,
    ) -> bool {
        let cluster = link.cluster;
        let before = self.cluster(cluster).receipt.clone();
        // Each receipt key counts from 1.
        let before = before.filter(|before| before.key == key);
        let (seq, digest) = match &before {
            Some(before) => (before.seq, Some(before.digest)),
            None => (0, None),
        };
        if link.seq <= seq {
            let at = before.filter(|before| before.seq == link.seq);
            let at = at.map_or_else(
                || "before".to_owned(),
                |had| format!("at entry {}", had.index),
            );
            let why = format!("number {} stands {at} too, with other content", link.seq);
            out.find(index, Code::Equivocation, cluster, why);
            return false;
        }
        if link.seq > seq + 1 {
            let missing = link.seq - seq - 1;
            let why = format!("{missing} missing between {seq} and {}", link.seq);
            out.find(index, Code::ReceiptGap, cluster, why);
        } else if link.previous != digest {
            let why = format!("number {} follows another receipt", link.seq);
            out.find(index, Code::ReceiptPrevious, cluster, why);
        }
        true
    }

    /// What the cluster's clock says, against its own earlier words and against the log.
    fn times(&mut self, index: u64, link: &Link<'_>, out: &mut Judgement) {
        let (cluster, limits) = (link.cluster, self.limits);
        if link.ended > self.now.saturating_add(limits.skew_ms) {
            out.find(
                index,
                Code::ClockAhead,
                cluster,
                format!("says {}", time(link.ended)),
            );
            return;
        }
        let last = self
            .cluster(cluster)
            .receipt
            .as_ref()
            .map(|last| last.ended);
        if let Some(silent) = last.and_then(|last| link.started.checked_sub(last))
            && silent > limits.silence_ms
        {
            let why = format!("for {} before {}", span(silent), time(link.started));
            out.find(index, Code::ReceiptSilence, cluster, why);
        }
        if let Some(late) = self.state.newest.checked_sub(link.ended)
            && late > limits.late_ms
        {
            let why = format!("written {} before it was logged", span(late));
            out.find(index, Code::ReceiptLate, cluster, why);
        }
        if link.ended > self.state.newest {
            self.state.newest = link.ended;
            out.floor = Some(link.ended);
        }
    }

    /// The checkpoint that the agent had verified must be of this log.
    fn checkpoint(&mut self, index: u64, said: &Receipt, around: &Around<'_>, out: &mut Judgement) {
        let seen = said.checkpoint;
        let cluster = said.cluster.as_str();
        if seen.size > index {
            let why = format!("had verified {} entries when there were {index}", seen.size);
            out.find(index, Code::LogForked, cluster, why);
            return;
        }
        match around.tree.root_at(seen.size) {
            Some(root) if root != seen.root => {
                out.find(
                    index,
                    Code::LogForked,
                    cluster,
                    forked(seen.size, &seen.root, &root),
                );
                return;
            }
            Some(_) => {}
            None => {
                out.late_root = Some(LateRoot {
                    index,
                    cluster: cluster.to_owned(),
                    size: seen.size,
                    root: seen.root,
                });
            }
        }
        let ended = said.ended.ms();
        let (size, time) = self.state.ceiling;
        if seen.size > size && ended <= self.now.saturating_add(self.limits.skew_ms) {
            self.state.ceiling = (seen.size, time.max(ended));
            out.ceiling = Some(self.state.ceiling);
        }
    }

    fn levels(&mut self, index: u64, said: &Receipt, out: &mut Judgement) {
        let cluster = said.cluster.as_str();
        let level = self.level(cluster);
        if said.kind != ReceiptKind::Sync {
            return;
        }
        if level >= Level::Witnessed && said.checkpoint.time.is_none() {
            let glass = said
                .desired
                .and_then(|state| self.state.break_glass.get(&state));
            let glass = glass.map_or_else(String::new, |index| {
                format!(", as the break-glass of entry {index} allows")
            });
            let why = format!("generation {} at level {level}{glass}", said.generation);
            out.find(index, Code::ReceiptUnwitnessed, cluster, why);
        }
        if level >= Level::Reproduced && !self.cluster(cluster).confirmed.contains(&said.generation)
        {
            let why = format!("generation {} was applied", said.generation);
            out.find(index, Code::ReproductionMissing, cluster, why);
        }
    }

    fn remarks(&mut self, index: u64, said: &Receipt, out: &mut Judgement) {
        let cluster = said.cluster.as_str();
        if let Some(attack) = &said.attack {
            let why = format!("{}, evidence {}", attack.code, attack.evidence);
            out.find(index, Code::AttackDetected, cluster, why);
        } else if said.kind == ReceiptKind::Refusal {
            let why = format!("while at generation {}", said.generation);
            out.find(index, Code::Refused, cluster, why);
        }
        if said.apps.failed > 0 {
            let why = format!(
                "{} apps of generation {}, health {}",
                said.apps.failed,
                said.generation,
                word(&said.health)
            );
            out.find(index, Code::ApplyFailed, cluster, why);
        }
    }
}

/// How a fork is told.
pub fn forked(size: u64, theirs: &Digest, ours: &Digest) -> String {
    format!("at {size} entries it verified root {theirs}, this log's is {ours}")
}

/// A time in words of the log.
pub fn time(ms: u64) -> String {
    countersign_ledger::time::Time::from_ms(ms).map_or_else(|_| ms.to_string(), |t| t.to_string())
}

/// A span in words.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}
