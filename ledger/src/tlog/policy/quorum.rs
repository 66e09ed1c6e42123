//! Counting parties.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, Policy, Witness};
use crate::tlog::note::Opened;

/// Who cosigned, and when: the newest time by the witness's name in the policy.
pub type Cosigned<'p> = BTreeMap<&'p str, u64>;

impl Policy {
    /// Which witnesses' checked cosignatures an opened note bears.
    #[must_use]
    pub fn cosigned(&self, note: &Opened) -> Cosigned<'_> {
        self.witnesses
            .iter()
            .filter_map(|witness| {
                let time = note.by(&witness.vkey)?.time?;
                Some((witness.name.as_str(), time))
            })
            .collect()
    }
}

pub(super) fn satisfied(policy: &Policy, cosigned: &dyn Fn(&Witness) -> bool) -> bool {
    // A group names only groups of earlier lines: one pass in their order settles all of them.
    let mut settled: Vec<bool> = Vec::with_capacity(policy.groups.len());
    for group in &policy.groups {
        let mut parties = BTreeSet::new();
        let mut groups = 0;
        for member in &group.members {
            match *member {
                Member::Witness(place) => {
                    if let Some(witness) = policy.witnesses.get(place).filter(|w| cosigned(w)) {
                        parties.insert(witness.vkey.name());
                    }
                }
                Member::Group(place) => groups += usize::from(settled.get(place) == Some(&true)),
            }
        }
        settled.push(parties.len() + groups >= group.threshold);
    }
    match policy.quorum {
        Member::Witness(place) => policy.witnesses.get(place).is_some_and(cosigned),
        Member::Group(place) => settled.get(place) == Some(&true),
    }
}

pub(super) fn newest_time(policy: &Policy, cosigned: &Cosigned<'_>) -> Option<u64> {
    let times: BTreeSet<u64> = cosigned.values().copied().collect();
    times.into_iter().rev().find(|time| {
        satisfied(policy, &|witness| {
            cosigned
                .get(witness.name.as_str())
                .is_some_and(|at| at >= time)
        })
    })
}
