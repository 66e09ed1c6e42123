//! Check 6, for every level: the `source` entry that a statement names is in the log, before it, and of the same commit.

use std::collections::BTreeMap;

use crate::digest::{Digest, leaf_hash};
use crate::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use crate::key::Verify;
use crate::refusal::Refusal;
use crate::statement::{Desired, Source, Statement};
use crate::trust::Roots;

use super::checkpoint::Tree;
use super::inclusion::Link;

/// The source entries that came, by leaf hash; each is checked once, when a statement first names it.
pub(super) struct Sources<'s, E> {
    came: BTreeMap<Digest, &'s Link<E>>,
    checked: BTreeMap<Digest, (u64, String)>,
}

impl<'s, E: AsRef<[u8]>> Sources<'s, E> {
    pub(super) fn new(links: &'s [Link<E>]) -> Self {
        Self {
            came: links
                .iter()
                .map(|link| (leaf_hash(link.envelope.as_ref()), link))
                .collect(),
            checked: BTreeMap::new(),
        }
    }

    /// Checks the source entry of `desired`, which stands at `index`.
    pub(super) fn check(
        &mut self,
        desired: &Desired,
        index: u64,
        roots: &Roots,
        tree: &Tree,
        verifier: &dyn Verify,
    ) -> Result<(), Refusal> {
        let leaf = desired.source;
        if !self.checked.contains_key(&leaf) {
            let link = self
                .came
                .get(&leaf)
                .ok_or(Refusal::SourceMissing { leaf })?;
            let place = link.check(tree)?;
            let source = read(link.envelope.as_ref(), roots, verifier)?;
            self.checked.insert(leaf, (place, source.new));
        }
        let wrong = |problem| Refusal::SourceMismatch { leaf, problem };
        let (place, commit) = self
            .checked
            .get(&leaf)
            .ok_or(Refusal::SourceMissing { leaf })?;
        if *commit != desired.commit {
            return Err(wrong("is of another commit"));
        }
        if *place >= index {
            return Err(wrong("stands after the statement"));
        }
        Ok(())
    }
}

fn read(bytes: &[u8], roots: &Roots, verifier: &dyn Verify) -> Result<Source, Refusal> {
    let leaf = leaf_hash(bytes);
    let wrong = |problem| Refusal::SourceMismatch { leaf, problem };
    let envelope = Envelope::parse(bytes, &Limits::entry())?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(wrong("is no statement"));
    }
    let Statement::Source(source) = Statement::parse(envelope.payload())? else {
        return Err(wrong("is no source entry"));
    };
    if source.fleet != roots.newest().fleet() {
        return Err(wrong("is of another fleet"));
    }
    // Whichever environment's sealer saw the ref move: the entry is of the fleet, not of one environment.
    let sealers = roots
        .iter()
        .flat_map(|root| root.document().sealers.values().flatten())
        .map(|sealer| &sealer.key);
    if envelope.signed_by(sealers, verifier).is_empty() {
        return Err(wrong("bears no signature of a sealer key"));
    }
    Ok(source)
}
