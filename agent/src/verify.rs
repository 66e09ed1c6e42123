//! What came from the hub, checked against what is known: a [`VerifiedState`] or a [`Refusal`]. The checks themselves
//! stand in the ledger crate, in the order of DESIGN.md section 5; here they are fed, step by step, as blobs arrive.
//!
//! Pure but for reading blobs through a function. Nothing is persisted or applied before [`Assembled::complete`] gave a
//! [`VerifiedState`].

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::manifest::{Line, SectionList, SectionRef};
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::{Roots, Windows};
use countersign_ledger::verify::{
    self, Checked, Inclusion, Known, Link, Seen, VerifiedCheckpoint, VerifiedManifest,
    VerifiedSections, VerifiedState, VerifiedStatement, overrides,
};

use crate::overrides::Word;
use crate::plan::Desired;

mod author;
mod desired;
mod glass;
mod second;

pub use author::Commits;
use author::GitObjects;
pub use second::{Ground, Words};

/// Bytes that came from outside and were not checked.
#[derive(Debug, Clone)]
pub struct Untrusted<T>(pub T);

/// Statements as they came, oldest first, and what shows that they stand in the log.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The envelopes, each with its proof.
    pub links: Vec<Link<Bytes>>,
    /// The source entries that they name.
    pub sources: Vec<Link<Bytes>>,
    /// The log's checkpoint; none before the fleet has a log.
    pub checkpoint: Option<Note>,
    /// What second renderers said of the last statement.
    pub reproductions: Vec<Link<Bytes>>,
    /// Since when trust roots are in effect: their entries, in the order of the log.
    pub trust_entries: Vec<Link<Bytes>>,
    /// More follow before the head is reached.
    pub more: bool,
    /// What people with override keys said.
    pub overrides: Vec<Link<Bytes>>,
    /// Raw commits and trees behind the newest statement, each framed; only a level that asks for people's word reads them.
    pub git_objects: Vec<Bytes>,
}

/// What people with override keys said, judged: each on its own, as a word that does not count stops nobody else's.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// What counts.
    pub words: Vec<Word>,
    /// Why others do not.
    pub refused: Vec<Refusal>,
}

/// A checkpoint as it came.
#[derive(Debug, Clone)]
pub struct Note {
    /// The signed note.
    pub note: Bytes,
    /// From the checkpoint before it in the stream.
    pub consistency: Vec<Digest>,
}

/// That a statement stands in the log, kept so that it can be shown again after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The checkpoint that the proof leads to.
    pub note: Vec<u8>,
    /// The proof.
    pub proof: Inclusion,
    /// The place of the override under which it came before witnesses had seen it.
    pub glass: Option<u64>,
}

/// A chain of envelopes, followed batch by batch.
#[derive(Debug, Clone)]
pub struct Chain {
    known: Known,
    begun: bool,
    git_objects: GitObjects,
    heard: Heard,
    newest: Option<End>,
}

/// Where a chain ends.
#[derive(Debug, Clone)]
pub struct End {
    /// The head's statement.
    pub statement: VerifiedStatement,
    /// Bytes of its envelope.
    pub envelope: Bytes,
    /// That it stands in the log; none before the fleet has one.
    pub shown: Option<Shown>,
    /// What second renderers said of it.
    pub words: Words,
    /// Raw commits and trees that came with it.
    pub git_objects: Untrusted<Vec<Bytes>>,
}

impl Chain {
    /// Starts from what is known.
    #[must_use]
    pub fn new(known: Known) -> Self {
        Self {
            known,
            begun: false,
            git_objects: GitObjects::default(),
            heard: Heard::default(),
            newest: None,
        }
    }

    /// Checks one more batch. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The [`Refusal`]; the chain then stands where it stood.
    pub fn follow(&mut self, batch: &Untrusted<Batch>, now: u64) -> Result<(), Refusal> {
        let batch = &batch.0;
        let mut known = self.known.clone();
        let checkpoint = match &batch.checkpoint {
            None => None,
            Some(Note { note, consistency }) => {
                match verify::checkpoint(&known, note, consistency, Some(now), &RingVerifier) {
                    Ok(verified) => {
                        known = known.seeing(&verified);
                        Some(verified)
                    }
                    Err(refusal) => return self.through_glass(batch, refusal, now),
                }
            }
        };
        known.windows = windows(&known, &batch.trust_entries, checkpoint.as_ref())?;
        let heard = heard(&known, &batch.overrides, checkpoint.as_ref());
        let mut git_objects = self.git_objects.clone();
        git_objects.take(&batch.git_objects)?;
        let (links, sources) = (&batch.links, &batch.sources);
        if let Some(last) = links.last() {
            if batch.more {
                known = verify::verify_part(
                    &known,
                    links,
                    sources,
                    checkpoint.as_ref(),
                    &RingVerifier,
                )?;
                self.newest = None;
            } else {
                let statement = verify::verify_chain(
                    &known,
                    links,
                    sources,
                    checkpoint.as_ref(),
                    &RingVerifier,
                )?;
                known = known.after(&statement);
                let shown = checkpoint.as_ref().zip(last.proof.clone());
                self.newest = Some(End {
                    statement,
                    envelope: last.envelope.clone(),
                    shown: shown.map(|(checkpoint, proof)| Shown {
                        note: checkpoint.seen().note.clone(),
                        proof,
                        glass: None,
                    }),
                    words: Words {
                        entries: batch.reproductions.clone(),
                        ground: checkpoint.clone().map(Ground::Witnessed),
                    },
                    git_objects: Untrusted(git_objects.objects.clone()),
                });
            }
            self.begun = true;
        }
        self.git_objects = git_objects;
        self.heard.words.extend(heard.words);
        self.heard.refused.extend(heard.refused);
        self.known = known;
        Ok(())
    }

    /// What came of overrides since this was asked last.
    pub fn heard(&mut self) -> Heard {
        std::mem::take(&mut self.heard)
    }

    /// No statement came yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.begun
    }

    /// It ends in a head.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.newest.is_some()
    }

    /// The newest checkpoint that was verified on the way.
    #[must_use]
    pub fn seen(&self) -> Option<&Seen> {
        self.known.seen.as_ref()
    }

    /// What is known once all that came is verified: against this people's word is asked for.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The last statement; none when none came that is the head.
    #[must_use]
    pub fn end(self) -> Option<End> {
        self.newest
    }
}

/// Judges overrides. Without a checkpoint none can be.
fn heard(known: &Known, entries: &[Link<Bytes>], checkpoint: Option<&VerifiedCheckpoint>) -> Heard {
    let mut heard = Heard::default();
    for link in entries {
        let judged = match checkpoint {
            Some(checkpoint) => overrides::judge(known, link, checkpoint, &RingVerifier),
            None => Err(Refusal::LogProofMissing),
        };
        match judged {
            Ok(verified) => heard.words.push(Word {
                verified,
                envelope: link.envelope.clone(),
            }),
            Err(refusal) => heard.refused.push(refusal),
        }
    }
    heard
}

/// What is known of windows with these entries too. The hub says all of them at the beginning of each stream: those up to
/// the newest that is known are passed over.
fn windows(
    known: &Known,
    entries: &[Link<Bytes>],
    checkpoint: Option<&VerifiedCheckpoint>,
) -> Result<Windows, Refusal> {
    let new = new_entries(known, entries);
    if new.is_empty() {
        return Ok(known.windows.clone());
    }
    let checkpoint = checkpoint.ok_or(Refusal::LogProofMissing)?;
    verify::trust_entries(known, &new, checkpoint, &RingVerifier)
}

fn new_entries(known: &Known, entries: &[Link<Bytes>]) -> Vec<Link<Bytes>> {
    let newest = known.windows.effects().next_back();
    let is_new = |link: &&Link<Bytes>| match (newest, &link.proof) {
        (Some((since, _)), Some(proof)) => proof.index > since,
        (None, _) | (_, None) => true,
    };
    entries.iter().filter(is_new).cloned().collect()
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

/// A verified state as it is kept for the next one, which is read at the price of what it changes.
#[derive(Debug, Clone)]
pub struct Kept {
    manifest: VerifiedManifest,
    desired: Arc<Desired>,
}

impl Kept {
    /// Of a state that passed all checks; the one before it is not known.
    #[must_use]
    pub fn new(state: VerifiedState) -> Self {
        let desired = Arc::new(desired::whole(&state));
        Self {
            manifest: state.into_manifest(),
            desired,
        }
    }

    /// What it says, as verified.
    #[must_use]
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// The same in the agent's own terms.
    #[must_use]
    pub fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// Digests of all blobs that it stands on.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> {
        let statement = self.manifest.statement();
        let list = self.manifest.list();
        [
            statement.envelope(),
            statement.desired().manifest,
            list.apps,
        ]
        .into_iter()
        .chain(list.sections.iter().map(|section| section.digest))
        .chain(objects(self.manifest.lines()).map(|(digest, _)| digest))
    }
}

/// A manifest whose lines are known; its objects' blobs are still to be checked.
#[derive(Debug)]
pub struct Assembled {
    manifest: VerifiedManifest,
    before: Option<Before>,
}

/// What is known of the state before.
#[derive(Debug)]
struct Before {
    desired: Arc<Desired>,
    sections: HashSet<Digest>,
    /// Identities of the lines in sections that are there no more as they were.
    dropped: HashSet<ObjectId>,
}

impl Assembled {
    /// Reads the lines out of the sections; those that `before` has too are taken from there.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn new<B: AsRef<[u8]>>(
        sections: VerifiedSections,
        before: Option<Kept>,
        blob: impl FnMut(&Digest) -> Option<B>,
    ) -> Result<Self, Refusal> {
        let (manifest, before) = match before {
            None => (None, None),
            Some(Kept { manifest, desired }) => {
                let named = |list: &SectionList| -> HashSet<Digest> {
                    list.sections.iter().map(|named| named.digest).collect()
                };
                let now = named(sections.list());
                let dropped = lines_by_section(&manifest)
                    .filter(|(named, _)| !now.contains(&named.digest))
                    .flat_map(|(_, lines)| lines.iter().map(|line| line.id().clone()))
                    .collect();
                let before = Before {
                    desired,
                    sections: named(manifest.list()),
                    dropped,
                };
                (Some(manifest), Some(before))
            }
        };
        Ok(Self {
            manifest: sections.assemble_after(manifest, blob)?,
            before,
        })
    }

    /// The objects' blobs with their lengths, where the state before did not have the same lines.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        objects(self.new_lines())
    }

    /// Lines in sections that the state before did not have.
    fn new_lines(&self) -> impl Iterator<Item = &Line> {
        let had = |digest: &Digest| {
            let before = self.before.as_ref();
            before.is_some_and(|before| before.sections.contains(digest))
        };
        lines_by_section(&self.manifest)
            .filter(move |(named, _)| !had(&named.digest))
            .flat_map(|(_, lines)| lines)
    }

    /// All checks have passed, if `checked` knows every blob.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn complete(
        self,
        checked: impl FnMut(&Digest) -> Option<Checked>,
    ) -> Result<Kept, Refusal> {
        let changed = self.before.as_ref().map(|before| {
            let lines = self.new_lines();
            Arc::new(desired::after(
                &before.desired,
                &self.manifest,
                lines,
                &before.dropped,
            ))
        });
        let state = verify::complete(self.manifest, checked)?;
        Ok(match changed {
            Some(desired) => Kept {
                manifest: state.into_manifest(),
                desired,
            },
            None => Kept::new(state),
        })
    }
}

/// Each section with its lines: they stand in the order of the list.
fn lines_by_section(manifest: &VerifiedManifest) -> impl Iterator<Item = (&SectionRef, &[Line])> {
    let mut rest = manifest.lines();
    manifest.list().sections.iter().map(move |named| {
        let count = usize::try_from(named.lines).unwrap_or(usize::MAX);
        let (own, others) = rest.split_at(count.min(rest.len()));
        rest = others;
        (named, own)
    })
}

fn objects<'a>(lines: impl IntoIterator<Item = &'a Line>) -> impl Iterator<Item = (Digest, u64)> {
    lines.into_iter().filter_map(|line| match line {
        Line::Object(object) => Some((*object.content.blob(), object.bytes)),
        Line::Tombstone(_) | Line::Orphan(_) => None,
    })
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

/// Checks again what was saved: the envelope against the roots that it was verified under, against itself as the one
/// before it, and that it stands in the log if those roots list one.
///
/// # Errors
/// The [`Refusal`]: the folder was changed by somebody.
pub fn saved_statement(
    cluster: &str,
    roots: Roots,
    envelope: &[u8],
    shown: Option<&Shown>,
) -> Result<VerifiedStatement, Refusal> {
    let known = Known::new(cluster, roots, None);
    let link = Link {
        envelope,
        proof: shown.map(|shown| shown.proof.clone()),
    };
    let note = shown.map(|shown| &shown.note[..]);
    let glass = shown.and_then(|shown| shown.glass);
    verify::restored(&known, &link, note, glass, &RingVerifier)
}

#[cfg(test)]
mod tests;
