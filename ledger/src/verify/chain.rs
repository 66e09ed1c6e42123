//! A head comes with the statements from the last known one to it; each is checked, the last one is used.

use crate::digest::Digest;
use crate::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use crate::key::Verify;
use crate::limits::CHAIN_LINKS_MAX;
use crate::refusal::Refusal;
use crate::statement::{Desired, Statement};

use super::{Known, Last, identity, root, signatures};

/// A statement that says what this cluster shall run, with all checks of its chain passed. The blobs are still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStatement {
    desired: Desired,
    envelope: Digest,
}

impl VerifiedStatement {
    /// What it says.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Digest of its envelope.
    #[must_use]
    pub fn envelope(&self) -> Digest {
        self.envelope
    }

    /// Its generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.desired.generation
    }

    /// What is kept of it.
    #[must_use]
    pub fn last(&self) -> Last {
        Last {
            generation: self.desired.generation,
            envelope: self.envelope,
            trust_root: self.desired.trust_root,
        }
    }
}

/// Checks `envelopes`, oldest first, against what is known, and returns the last one: the head.
///
/// A chain longer than [`CHAIN_LINKS_MAX`] comes in batches: all but the last go through [`verify_part`].
pub fn verify_chain<E: AsRef<[u8]>>(
    known: &Known,
    envelopes: &[E],
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    links(known, envelopes, Some(envelopes.len()), verifier)
}

/// Checks a batch after which more follow, and returns what is known then. It is no state to apply, nor one to keep:
/// only the head shows that the hub may still speak for this cluster.
pub fn verify_part<E: AsRef<[u8]>>(
    known: &Known,
    envelopes: &[E],
    verifier: &dyn Verify,
) -> Result<Known, Refusal> {
    let statement = links(known, envelopes, None, verifier)?;
    Ok(known.after(&statement))
}

/// `head` is the place of the head, counted from 1.
fn links<E: AsRef<[u8]>>(
    known: &Known,
    envelopes: &[E],
    head: Option<usize>,
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    if envelopes.len() > CHAIN_LINKS_MAX {
        return Err(Refusal::ChainTooLong {
            got: envelopes.len(),
            max: CHAIN_LINKS_MAX,
        });
    }
    root::check_level(known)?;
    let mut last = known.last;
    let mut newest = None;
    for (index, bytes) in envelopes.iter().enumerate() {
        let link = verify_link(
            known,
            last,
            bytes.as_ref(),
            head == Some(index + 1),
            verifier,
        )?;
        last = Some(link.last());
        newest = Some(link);
    }
    newest.ok_or(Refusal::ChainEmpty)
}

fn verify_link(
    known: &Known,
    before: Option<Last>,
    bytes: &[u8],
    is_head: bool,
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    let envelope = Envelope::parse(bytes, &Limits::entry())?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(Refusal::PayloadType {
            got: envelope.payload_type().chars().take(120).collect(),
        });
    }
    let Statement::Desired(desired) = Statement::parse(envelope.payload())? else {
        return Err(Refusal::NotDesired);
    };
    let environment = known.environment()?;
    let trust_root = before.map_or(0, |last| last.trust_root);
    let root = root::root_for(known, &desired, trust_root, is_head)?;
    signatures::check(&envelope, root, environment, verifier)?;
    identity::check_for(
        &desired,
        known.roots.newest().fleet(),
        &known.cluster,
        environment,
    )?;
    let generation = before.map_or(0, |last| last.generation);
    identity::check_follows(&desired, generation, before.map(|last| last.envelope))?;
    Ok(VerifiedStatement {
        desired,
        envelope: envelope.digest(),
    })
}
