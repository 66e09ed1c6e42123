//! What is signed: from a rendered state and the head before it to a statement.

use countersign_ledger::Digest;
use countersign_ledger::statement::{Admission, Desired, Permit};

use super::Head;

/// What a statement says that the head before it does not decide.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub(super) fleet: &'a str,
    pub(super) cluster: &'a str,
    pub(super) environment: &'a str,
    pub(super) manifest: Digest,
    pub(super) commit: &'a str,
    pub(super) source: Digest,
    pub(super) renderer: &'a str,
    pub(super) admission: &'a Admission,
    pub(super) ring: &'a str,
    pub(super) trust_root: u64,
    pub(super) permits: &'a [Permit],
}

/// Whether a cluster whose head is `head` needs a statement at all: its manifest changed, or the head was made under
/// another trust root, whose keys may be gone.
pub(super) fn is_needed(head: Option<&Head>, manifest: &Digest, trust_root: u64) -> bool {
    head.is_none_or(|head| {
        head.desired.manifest != *manifest || head.desired.trust_root != trust_root
    })
}

/// The statement after `head`; none if the cluster has used up all generations.
pub(super) fn next(draft: &Draft<'_>, head: Option<&Head>) -> Option<Desired> {
    let generation = head
        .map_or(0, |head| head.desired.generation)
        .checked_add(1)?;
    Some(Desired {
        manifest: draft.manifest,
        fleet: draft.fleet.to_owned(),
        cluster: draft.cluster.to_owned(),
        environment: draft.environment.to_owned(),
        generation,
        previous: head.map(|head| head.digest),
        commit: draft.commit.to_owned(),
        source: draft.source,
        renderer: draft.renderer.to_owned(),
        admission: draft.admission.clone(),
        ring: draft.ring.to_owned(),
        trust_root: draft.trust_root,
        permits: draft.permits.to_vec(),
    })
}
