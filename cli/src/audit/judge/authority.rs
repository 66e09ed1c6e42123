//! Who may speak: trust roots, enrolments, revocations; and people's overrides.

use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Enrolment, Override, Revocation, TrustEntry};

use super::{Entry, Judge, Judgement, Role, RootRole};
use crate::audit::entry::word;
use crate::audit::finding::Code;
use crate::audit::keys::Standing;

impl Judge {
    pub(super) fn trust_entry(&mut self, entry: &Entry, said: &TrustEntry, out: &mut Judgement) {
        let index = entry.read.index;
        // The first word of a new agent CA may be that its own root is in effect.
        let new = self.keys.root(said.version);
        let listed = new.map_or_else(Vec::new, |root| root.holders(RootRole::AgentCa));
        let role = Role::Root(RootRole::AgentCa);
        let its_own = entry.signers.iter().any(|key| {
            listed.contains(key) && self.keys.standing(role, key, index) == Standing::NotYet
        });
        let known = new.is_some_and(|root| root.digest() == said.root);
        if !its_own && !self.speaks(entry, "", out) {
            return;
        }
        if !known {
            let why = format!("version {} with digest {}", said.version, said.root);
            out.find(index, Code::TrustRootUnknown, "", why);
            return;
        }
        let before = self.keys.effective().unwrap_or(0);
        out.holds = self.keys.take_root(said.version, index).is_ok();
        if !out.holds {
            let why = format!("version {} after {before}", said.version);
            out.find(index, Code::TrustRootOrder, "", why);
        }
    }

    pub(super) fn enrolment(&mut self, entry: &Entry, said: &Enrolment, out: &mut Judgement) {
        let (cluster, index) = (said.cluster.as_str(), entry.read.index);
        if !self.speaks(entry, cluster, out) {
            return;
        }
        if !entry.signers.contains(&said.receipt_key) {
            let why = format!("{} did not sign itself", said.receipt_key);
            out.find(index, Code::EnrolmentUnproven, cluster, why);
            return;
        }
        if self.keys.cluster(cluster).is_none() {
            let why = format!("the trust root does not list {cluster:?}");
            out.find(index, Code::ClusterUnknown, cluster, why);
        }
        let last = self.keys.enrolled(cluster).last();
        let before = last.map_or(0, |last| last.number);
        if said.number != before + 1 {
            let why = format!("number {} after {before}", said.number);
            out.find(index, Code::EnrolmentNumber, cluster, why);
        }
        out.holds = true;
        self.keys
            .take_enrolment(cluster, said.receipt_key, said.number, index);
    }

    pub(super) fn revocation(&mut self, entry: &Entry, said: &Revocation, out: &mut Judgement) {
        let cluster = said.cluster.as_deref().unwrap_or_default();
        out.holds = self.speaks(entry, cluster, out);
        if out.holds {
            self.keys.take_revocation(said.key, entry.read.index);
        }
    }

    pub(super) fn override_(&mut self, entry: &Entry, said: &Override, out: &mut Judgement) {
        let cluster = said.cluster.as_deref().unwrap_or_default();
        let index = entry.read.index;
        let Some(key) = self.speaker(entry, cluster, out) else {
            return;
        };
        let name = self.keys.overrider(&key).unwrap_or_default().to_owned();
        out.holds = true;
        if name != said.by {
            let why = format!("says it is by {:?}, the key is of {name:?}", said.by);
            out.find(index, Code::KeyRole, cluster, why);
            out.holds = false;
        }
        if out.holds
            && said.kind == OverrideKind::BreakGlass
            && let Ok(state) = said.what.parse()
        {
            self.state.break_glass.insert(state, index);
        }
        let why = format!(
            "{} by {name} until {}: {}",
            word(&said.kind),
            said.until,
            said.reason
        );
        out.find(index, Code::OverrideUsed, cluster, why);
    }
}
