//! From which place of the log on each trust root is in effect.

use std::sync::Arc;

use crate::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use crate::key::Verify;
use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::trust::{Role, Windows};

use super::Known;
use super::checkpoint::{Tree, VerifiedCheckpoint};
use super::inclusion::Link;

/// Checks `trust/v1` entries, in the order of the log, and adds them to what is known of windows. Each must stand in the
/// log, bear a key of the agent CA that the root itself lists, and name one of the roots that are known here.
pub fn trust_entries<E: AsRef<[u8]>>(
    known: &Known,
    entries: &[Link<E>],
    checkpoint: &VerifiedCheckpoint,
    verifier: &dyn Verify,
) -> Result<Windows, Refusal> {
    under(known, entries, checkpoint.tree(), verifier)
}

pub(super) fn under<E: AsRef<[u8]>>(
    known: &Known,
    entries: &[Link<E>],
    tree: &Tree,
    verifier: &dyn Verify,
) -> Result<Windows, Refusal> {
    let mut windows = known.windows.clone();
    for link in entries {
        let envelope = Envelope::parse(link.envelope.as_ref(), &Limits::entry())?;
        let index = link.check(tree)?;
        if envelope.payload_type() != PAYLOAD_TYPE {
            return Err(Refusal::PayloadType {
                got: envelope.payload_type().chars().take(120).collect(),
            });
        }
        let Statement::TrustEntry(entry) = Statement::parse(envelope.payload())? else {
            return Err(Refusal::TrustEntryMismatch {
                version: 0,
                problem: "is another statement",
            });
        };
        let wrong = |problem| Refusal::TrustEntryMismatch {
            version: entry.version,
            problem,
        };
        let root = known
            .roots
            .at(entry.version)
            .ok_or_else(|| wrong("names a version that is not known here"))?;
        if entry.fleet != root.fleet() {
            return Err(wrong("is of another fleet"));
        }
        if entry.root != root.digest() {
            return Err(wrong("names another document"));
        }
        if envelope
            .signed_by(&root.holders(Role::AgentCa), verifier)
            .is_empty()
        {
            return Err(wrong("bears no signature of the agent CA"));
        }
        windows
            .push(index, Arc::new(root.clone()))
            .map_err(|_| wrong("does not follow the one before it"))?;
    }
    Ok(windows)
}
