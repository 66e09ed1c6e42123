//! Sources, the chain of each cluster's states, and what second renderers said of them.

use countersign_ledger::statement::{Desired, Reproduction, Source, Verdict};
use countersign_ledger::trust::Level;

use super::{Around, Entry, HeadState, Judge, Judgement, PastSource};
use crate::audit::finding::Code;

/// Confirmed generations that are remembered of a cluster; what is applied is hardly older.
const CONFIRMED_MAX: usize = 64;
/// States that no second renderer has spoken of, named one by one for each cluster.
const UNREPRODUCED_MAX: usize = 1_024;

impl Judge {
    pub(super) fn source(&mut self, entry: &Entry, said: &Source, out: &mut Judgement) {
        out.holds = self.speaks(entry, "", out);
        if out.holds {
            let past = PastSource {
                index: entry.read.index,
                commit: said.new.clone(),
                verdict: said.verdict,
                signer: said.signer.clone(),
            };
            self.state.source = Some((entry.read.leaf, past));
        }
    }

    pub(super) fn desired(
        &mut self,
        entry: &Entry,
        said: &Desired,
        around: &Around<'_>,
        out: &mut Judgement,
    ) {
        let cluster = said.cluster.as_str();
        let index = entry.read.index;
        if !self.speaks(entry, cluster, out) {
            return;
        }
        match self.keys.cluster(cluster) {
            None => {
                let why = format!("the trust root does not list {cluster:?}");
                out.find(index, Code::ClusterUnknown, cluster, why);
                return;
            }
            Some(trust) if trust.environment != said.environment => {
                let (got, want) = (&said.environment, &trust.environment);
                let why = format!("for environment {got:?}, the trust root says {want:?}");
                out.find(index, Code::EnvironmentOther, cluster, why);
                return;
            }
            Some(_) => {}
        }
        out.holds = self.follows(entry, said, out);
        self.trust_order(index, said, out);
        self.origin(index, said, around, out);
        if out.holds {
            self.cluster(cluster).head = Some(HeadState {
                generation: said.generation,
                index,
                digest: entry.read.digest,
                leaf: entry.read.leaf,
                manifest: said.manifest,
                trust_root: said.trust_root,
            });
            self.unreproduced(cluster, said.generation, index);
        }
    }

    /// At level reproduced a second renderer owes its word on each state.
    fn unreproduced(&mut self, cluster: &str, generation: u64, index: u64) {
        if self.level(cluster) < Level::Reproduced {
            return;
        }
        let known = self.cluster(cluster);
        known.unreproduced.insert(generation, index);
        if known.unreproduced.len() > UNREPRODUCED_MAX {
            known.unreproduced.pop_first();
            known.unreproduced_before += 1;
        }
    }

    /// Whether a state follows the one before. One that leaves others out is taken as the newest all the same, so that
    /// one gap is one finding.
    fn follows(&mut self, entry: &Entry, said: &Desired, out: &mut Judgement) -> bool {
        let (cluster, index) = (said.cluster.as_str(), entry.read.index);
        let had = self.cluster(cluster).head.clone();
        let (generation, digest) = match &had {
            Some(head) => (head.generation, Some(head.digest)),
            None => (0, None),
        };
        if said.generation == generation && had.is_some() {
            let at = had.map_or(0, |head| head.index);
            let why = format!("generation {generation} stands at entry {at} too");
            out.find(index, Code::Equivocation, cluster, why);
            return false;
        }
        if said.generation < generation {
            let why = format!("generation {} after {generation}", said.generation);
            out.find(index, Code::GenerationReplayed, cluster, why);
            return false;
        }
        if said.generation != generation + 1 {
            let why = format!("generation {} after {generation}", said.generation);
            out.find(index, Code::GenerationSkipped, cluster, why);
        } else if said.previous != digest {
            let why = format!("generation {} follows another state", said.generation);
            out.find(index, Code::PreviousOther, cluster, why);
        }
        true
    }

    fn trust_order(&mut self, index: u64, said: &Desired, out: &mut Judgement) {
        let before = self.cluster(&said.cluster).head.as_ref();
        let before = before.map_or(0, |head| head.trust_root);
        let known = self.keys.root(said.trust_root).is_some();
        let in_effect = self
            .keys
            .effective()
            .is_none_or(|now| said.trust_root <= now);
        if said.trust_root < before {
            let why = format!(
                "sealed under trust root {}, after {before}",
                said.trust_root
            );
            out.find(index, Code::TrustRootOrder, &said.cluster, why);
        } else if !known || !in_effect {
            let why = format!("sealed under trust root {}", said.trust_root);
            out.find(index, Code::TrustRootUnknown, &said.cluster, why);
        }
    }

    /// The source entry behind a state.
    fn origin(&mut self, index: u64, said: &Desired, around: &Around<'_>, out: &mut Judgement) {
        let cluster = said.cluster.as_str();
        let newest = self.state.source.as_ref();
        let source = match newest.filter(|(leaf, _)| *leaf == said.source) {
            Some((_, source)) => Some(source.clone()),
            None => around.past.source(&said.source),
        };
        let Some(source) = source else {
            let why = format!("names the source entry {}", said.source);
            out.find(index, Code::SourceMissing, cluster, why);
            return;
        };
        if source.commit != said.commit {
            let (got, want) = (&said.commit, &source.commit);
            let why = format!(
                "commit {got}, its source entry {} says {want}",
                source.index
            );
            out.find(index, Code::SourceOther, cluster, why);
        }
        if source.verdict != Verdict::Verified && self.level(cluster) >= Level::Authored {
            let why = format!("commit {} has no verified signer", said.commit);
            out.find(index, Code::SourceUnverified, cluster, why);
        }
        for permit in &said.permits {
            if !source.signer.is_empty() && permit.by.eq_ignore_ascii_case(&source.signer) {
                let why = format!("{} permitted and signed commit {}", permit.by, said.commit);
                out.find(index, Code::SelfApproved, cluster, why);
            }
        }
    }

    pub(super) fn reproduction(
        &mut self,
        entry: &Entry,
        said: &Reproduction,
        around: &Around<'_>,
        out: &mut Judgement,
    ) {
        let (cluster, index) = (said.cluster.as_str(), entry.read.index);
        if !self.speaks(entry, cluster, out) {
            return;
        }
        out.holds = true;
        let state = around.past.desired(cluster, said.generation);
        let is_its = state.is_some_and(|state| state.leaf == said.desired);
        if is_its {
            self.cluster(cluster).unreproduced.remove(&said.generation);
        }
        if !is_its {
            let why = format!("of generation {}, another state", said.generation);
            out.find(index, Code::ReceiptStateUnknown, cluster, why);
        } else if said.agrees {
            let confirmed = &mut self.cluster(cluster).confirmed;
            confirmed.insert(said.generation);
            if confirmed.len() > CONFIRMED_MAX {
                confirmed.pop_first();
            }
        } else {
            let why = format!(
                "generation {} of commit {} renders to {}",
                said.generation, said.commit, said.digest
            );
            out.find(index, Code::ReproductionDisagrees, cluster, why);
        }
    }
}
