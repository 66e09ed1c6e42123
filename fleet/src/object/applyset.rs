//! The label by which Kubernetes' tools know a set of applied objects (ApplySet, KEP-3659). A hint for them alone: no code
//! of ours reads it, and no parent object is written, so that the agent writes nothing in steady state.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_ledger::digest::Digest;

use crate::document::GROUP;

/// Label of every object that we apply, beside ours.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// The set of an app: named by its App, which is no object of the cluster, so that no tool takes it for a set that it
/// may prune.
pub(super) fn id(app: &str) -> String {
    let parent = format!("{app}..App.{GROUP}");
    let hash = Digest::of(parent.as_bytes());
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hash.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_as_the_proposal_says_and_fits_a_label() {
        assert_eq!(
            id("web"),
            "applyset-eWWAsC3dV6hJpKvVS326WWkpnH7lZ4FkyP9MCp0zEzE-v1"
        );
        assert!(id(&"a".repeat(253)).len() <= 63);
    }
}
