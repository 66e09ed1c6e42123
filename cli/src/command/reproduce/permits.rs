//! Deletions that people permitted. Where the trust root lists people for overrides, the word of a state is not enough: one of
//! them must have signed it, in the log and before the state, and each word counts for one state.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::guard::DeletionPermits;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::statement::override_::OverrideKind;
use countersign_ledger::statement::{Desired, Permit, PermitKind, Statement, TrustEntry};
use countersign_ledger::time::Time;
use countersign_ledger::trust::{Role, Roots, VerifiedRoot, Windows};
use countersign_ledger::verify::Known;
use countersign_ledger::verify::overrides::rejudge;
use serde::{Deserialize, Serialize};

/// What was heard of people's words, in the order of the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Words {
    /// Places of trust roots' entries, and their versions.
    roots: Vec<(u64, u64)>,
    deletions: Vec<Word>,
}

/// A deletion that a person permitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Word {
    index: u64,
    /// Of what was signed: it can stand in the log in many spellings.
    payload: Digest,
    cluster: String,
    app: String,
    what: Digest,
    by: String,
    until: Time,
    /// Entry of the state that it was used for.
    used: Option<u64>,
}

impl Words {
    /// Takes an entry in, if it is a person's word or says that a trust root is in effect. The same again changes nothing.
    pub fn hear(&mut self, roots: &Roots, index: u64, bytes: &[u8]) {
        let Some(envelope) = Envelope::parse(bytes, &Limits::entry()).ok() else {
            return;
        };
        match Statement::parse(envelope.payload()) {
            Ok(Statement::TrustEntry(entry)) => self.root(roots, index, &envelope, &entry),
            Ok(Statement::Override(says)) if says.kind == OverrideKind::Deletion => {
                let (Some(cluster), Some(app)) = (says.cluster, says.app) else {
                    return;
                };
                let known = Known {
                    windows: self.windows(roots),
                    ..Known::new(&cluster, roots.clone(), None)
                };
                let Ok(word) = rejudge(&known, bytes, index, &RingVerifier) else {
                    return;
                };
                let payload = word.payload();
                let Ok(what) = says.what.parse() else { return };
                if self.deletions.iter().all(|had| had.payload != payload) {
                    self.deletions.push(Word {
                        index,
                        payload,
                        cluster,
                        app,
                        what,
                        by: says.by,
                        until: says.until,
                        used: None,
                    });
                }
            }
            _ => {}
        }
    }

    fn root(&mut self, roots: &Roots, index: u64, envelope: &Envelope, entry: &TrustEntry) {
        let follows = |(last, version): &(u64, u64)| *last < index && *version < entry.version;
        let root = roots.at(entry.version);
        let genuine = |root: &VerifiedRoot| {
            let signers = root.holders(Role::AgentCa);
            root.digest() == entry.root && !envelope.signed_by(&signers, &RingVerifier).is_empty()
        };
        if root.is_some_and(genuine) && self.roots.last().is_none_or(follows) {
            self.roots.push((index, entry.version));
        }
    }

    fn windows(&self, roots: &Roots) -> Windows {
        let mut windows = Windows::default();
        for (index, version) in &self.roots {
            if let Some(root) = roots.at(*version) {
                // They were put in in order.
                let _ = windows.push(*index, Arc::new(root.clone()));
            }
        }
        windows
    }

    /// The deletions of a state at `index` that were permitted, each word used for it. `after` is a time before which the
    /// state was not in the log: what had ended by then counts for nothing.
    pub fn permitted(
        &mut self,
        roots: &Roots,
        desired: &Desired,
        index: u64,
        after: Option<Time>,
    ) -> DeletionPermits {
        let windows = self.windows(roots);
        let root = windows.at(index).map_or(roots.newest(), |(_, root)| root);
        let signed_only = !root.document().overriders.is_empty();
        let mut permitted = DeletionPermits::new();
        for permit in &desired.permits {
            let Some((app, what)) = deletion(permit) else {
                continue;
            };
            if !signed_only || self.uses(&desired.cluster, (&app, what), permit, index, after) {
                permitted.insert((app, what));
            }
        }
        permitted
    }

    fn uses(
        &mut self,
        cluster: &str,
        (app, what): (&str, Digest),
        permit: &Permit,
        index: u64,
        after: Option<Time>,
    ) -> bool {
        let fits = |word: &&mut Word| {
            word.index < index
                && word.cluster == cluster
                && word.app == app
                && word.what == what
                && word.by == permit.by
                && word.used.is_none_or(|used| used == index)
                && (word.used.is_some() || after.is_none_or(|after| after < word.until))
        };
        let fitting: Vec<&mut Word> = self.deletions.iter_mut().filter(fits).collect();
        // The one that was used for it before, else the first.
        let best = fitting
            .into_iter()
            .min_by_key(|word| (word.used.is_none(), word.index));
        match best {
            None => false,
            Some(word) => {
                word.used = Some(index);
                true
            }
        }
    }
}

fn deletion(permit: &Permit) -> Option<(String, Digest)> {
    let of_objects = permit.permit == PermitKind::Deletion;
    let what = permit.object.parse().ok().filter(|_| of_objects)?;
    Some((permit.subject.clone(), what))
}

/// The apps whose deletions a state says were permitted, and nobody signed.
pub fn unsigned(desired: &Desired, permitted: &DeletionPermits) -> BTreeSet<String> {
    let named = desired.permits.iter().filter_map(deletion);
    let missing = named.filter(|deletion| !permitted.contains(deletion));
    missing.map(|(app, _)| app).collect()
}

#[cfg(test)]
mod tests;
