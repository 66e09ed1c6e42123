//! What came from the hub, checked against what is known: a [`VerifiedState`] or a [`Refusal`]. The checks themselves
//! stand in the ledger crate, in the order of DESIGN.md section 5; here they are fed, step by step, as blobs arrive.
//!
//! Pure but for reading blobs through a function. Nothing is persisted or applied before [`Assembled::complete`] gave a
//! [`VerifiedState`].

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::manifest::{Content, Line};
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Roots;
use countersign_ledger::verify::{
    self, Checked, Known, Link, VerifiedManifest, VerifiedSections, VerifiedState,
    VerifiedStatement,
};

use crate::plan::{App, Desired, Want};

/// Bytes that came from outside and were not checked.
#[derive(Debug, Clone)]
pub struct Untrusted<T>(pub T);

/// A chain of envelopes, followed batch by batch.
#[derive(Debug)]
pub struct Chain {
    known: Known,
    newest: Option<VerifiedStatement>,
    /// Bytes of the newest envelope.
    envelope: Vec<u8>,
}

impl Chain {
    /// Starts from what is known.
    #[must_use]
    pub fn new(known: Known) -> Self {
        Self {
            known,
            newest: None,
            envelope: Vec::new(),
        }
    }

    /// Checks one more batch.
    ///
    /// # Errors
    /// The [`Refusal`]; the chain then stands where it stood.
    pub fn follow<E: AsRef<[u8]>>(&mut self, batch: &Untrusted<Vec<E>>) -> Result<(), Refusal> {
        let links: Vec<Link<&[u8]>> = batch.0.iter().map(|e| Link::bare(e.as_ref())).collect();
        let statement = verify::verify_chain(&self.known, &links, &[], None, &RingVerifier)?;
        self.known = self.known.after(&statement);
        if let Some(last) = batch.0.last() {
            self.envelope = last.as_ref().to_vec();
        }
        self.newest = Some(statement);
        Ok(())
    }

    /// The last statement, with its envelope's bytes; none when nothing came.
    #[must_use]
    pub fn end(self) -> Option<(VerifiedStatement, Vec<u8>)> {
        self.newest.map(|statement| (statement, self.envelope))
    }
}

/// Checks the section list of a statement.
///
/// # Errors
/// The [`Refusal`].
pub fn sections(
    statement: VerifiedStatement,
    list: &Untrusted<impl AsRef<[u8]>>,
) -> Result<VerifiedSections, Refusal> {
    verify::sections(statement, list.0.as_ref())
}

/// A manifest whose lines are known; its objects' blobs are still to be checked.
#[derive(Debug)]
pub struct Assembled {
    manifest: VerifiedManifest,
}

impl Assembled {
    /// Reads the lines out of the sections.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn new<B: AsRef<[u8]>>(
        sections: VerifiedSections,
        blob: impl FnMut(&Digest) -> Option<B>,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            manifest: sections.assemble(blob)?,
        })
    }

    /// The objects' blobs with their lengths.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.manifest.lines().iter().filter_map(|line| match line {
            Line::Object(object) => Some((*object.content.blob(), object.bytes)),
            Line::Tombstone(_) | Line::Orphan(_) => None,
        })
    }

    /// All checks have passed, if `checked` knows every blob.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn complete(
        self,
        checked: impl FnMut(&Digest) -> Option<Checked>,
    ) -> Result<VerifiedState, Refusal> {
        verify::complete(self.manifest, checked)
    }
}

/// Checks one blob.
///
/// # Errors
/// The [`Refusal`].
pub fn blob<B: AsRef<[u8]>>(
    digest: &Digest,
    length: u64,
    bytes: Untrusted<B>,
) -> Result<(Checked, B), Refusal> {
    let verified = verify::check_blob(digest, length, bytes.0)?;
    Ok((verified.checked(), verified.into_bytes()))
}

/// Checks again what was saved: the envelope against the roots that it was verified under, and against itself as the
/// one before it.
///
/// # Errors
/// The [`Refusal`]: the folder was changed by somebody.
pub fn saved_statement(
    cluster: &str,
    roots: Roots,
    envelope: &[u8],
) -> Result<VerifiedStatement, Refusal> {
    let known = Known::new(cluster, roots, None);
    verify::restored(&known, &Link::bare(envelope), None, &RingVerifier)
}

/// A verified state in the agent's own terms.
#[must_use]
pub fn desired(state: &VerifiedState) -> Desired {
    let mut names: BTreeMap<&str, Arc<str>> = BTreeMap::new();
    let manifest = state.manifest();
    for line in manifest.lines() {
        names.entry(line.app()).or_insert_with(|| line.app().into());
    }
    for app in manifest.apps().as_slice() {
        names
            .entry(&app.name)
            .or_insert_with(|| app.name.as_str().into());
    }
    let name = |text: &str| names.get(text).map_or_else(|| text.into(), Arc::clone);
    let mut out = Desired {
        generation: state.generation(),
        ..Desired::default()
    };
    for app in manifest.apps().as_slice() {
        out.apps.insert(
            name(&app.name),
            App {
                name: name(&app.name),
                commit: app.commit.clone(),
                depends_on: app.depends_on.iter().map(|other| name(other)).collect(),
                exclusive: app.exclusive,
            },
        );
    }
    for line in manifest.lines() {
        let id = Arc::new(line.id().clone());
        match line {
            Line::Object(object) => {
                let commitment = match object.content {
                    Content::Plain { .. } => None,
                    Content::Secret { commitment, .. } => Some(commitment),
                };
                let blob = *object.content.blob();
                let want = Want {
                    app: name(&object.app),
                    wave: object.wave,
                    blob,
                    bytes: object.bytes,
                    commitment,
                };
                out.objects.insert(id, want);
            }
            Line::Tombstone(line) => {
                out.tombstones.insert(id, name(&line.app));
            }
            Line::Orphan(line) => {
                out.orphans.insert(id, name(&line.app));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
