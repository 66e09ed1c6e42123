//! What can only be said at the end of the log.

use super::Judge;
use super::receipts::{span, time};
use crate::audit::finding::{Code, Finding};

/// What the log stands under when all entries were judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// Time of the witnesses' quorum, in milliseconds since 1970; none without one.
    pub cosigned: Option<u64>,
    /// Whether the trust root asks for witnesses and too few cosigned.
    pub quorum_missing: bool,
}

impl Judge {
    /// Silent clusters, unanswered states, and the checkpoint itself.
    pub fn end(&self, end: &End) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut at = |index, code, cluster: &str, detail| {
            found.push(Finding {
                index,
                code,
                cluster: cluster.to_owned(),
                detail,
            });
        };
        for (name, known) in &self.state.clusters {
            for (generation, index) in &known.unreproduced {
                let why = format!("generation {generation}");
                at(Some(*index), Code::StateUnreproduced, name, why);
            }
            if known.unreproduced_before > 0 {
                let why = format!("{} more before them", known.unreproduced_before);
                at(None, Code::StateUnreproduced, name, why);
            }
        }
        let mut find = |code, cluster: &str, detail| at(None, code, cluster, detail);
        if end.quorum_missing {
            let why = "too few of the trust root's witnesses cosigned it".to_owned();
            find(Code::WitnessQuorumMissing, "", why);
        }
        if let Some(age) = end.cosigned.and_then(|at| self.now.checked_sub(at))
            && age > self.limits.stale_ms
        {
            let why = format!("cosigned {} ago", span(age));
            find(Code::CheckpointStale, "", why);
        }
        // A copy of a log ends when it was made: its clusters are not silent because the auditor came later.
        let newest = end.cosigned.unwrap_or(self.state.newest);
        let root = self.keys.in_effect();
        for name in root.into_iter().flat_map(|root| root.clusters.keys()) {
            let Some(known) = self.state.clusters.get(name) else {
                let why = "has neither a state nor a receipt".to_owned();
                find(Code::ClusterSilent, name, why);
                continue;
            };
            match &known.receipt {
                None => find(Code::ClusterSilent, name, "has no receipt".to_owned()),
                Some(last) => {
                    let silent = newest.saturating_sub(last.ended);
                    if silent > self.limits.silence_ms {
                        let why = format!("since {} ({})", time(last.ended), span(silent));
                        find(Code::ReceiptSilence, name, why);
                    }
                }
            }
            if let Some(head) = known.head.as_ref()
                && head.generation > known.answered
            {
                let why = format!(
                    "generation {} (entry {}), the last one answered is {}",
                    head.generation, head.index, known.answered
                );
                find(Code::StateUnanswered, name, why);
            }
        }
        found
    }
}
