//! A head comes with the statements from the last known one to it; each is checked, the last one is used.

use crate::digest::Digest;
use crate::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use crate::key::Verify;
use crate::limits::CHAIN_LINKS_MAX;
use crate::refusal::Refusal;
use crate::statement::{Desired, Statement};
use crate::trust::Level;

use super::checkpoint::{Tree, VerifiedCheckpoint};
use super::inclusion::Link;
use super::source::Sources;
use super::{Known, Last, identity, root, signatures};

/// A statement that says what this cluster shall run, with all checks of its chain passed. The blobs are still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStatement {
    desired: Desired,
    envelope: Digest,
    leaf: Digest,
    index: Option<u64>,
    outstanding: Outstanding,
    glass: Option<u64>,
}

/// The checks that the level asks for and that the chain alone can't make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outstanding {
    /// The level that asks for it, while no person's word was checked.
    pub(super) author: Option<Level>,
    /// The level that asks for it, while no second renderer's word was checked.
    pub(super) renderer: Option<Level>,
}

impl Outstanding {
    fn of(level: Level) -> Self {
        Self {
            author: (level >= Level::Authored).then_some(level),
            renderer: (level >= Level::Reproduced).then_some(level),
        }
    }
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

    /// Leaf hash of its envelope.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// Its place in the log; none before a fleet has one.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.index
    }

    /// The place of the override under which it came before witnesses had seen it; none for a state that came as all do.
    #[must_use]
    pub fn glass(&self) -> Option<u64> {
        self.glass
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
            index: self.index,
        }
    }

    pub(super) fn outstanding(&self) -> Outstanding {
        self.outstanding
    }

    pub(super) fn mark_glass(mut self, word: u64) -> Self {
        self.glass = Some(word);
        self
    }

    pub(super) fn mark_authored(mut self) -> Self {
        self.outstanding.author = None;
        self
    }

    pub(super) fn mark_reproduced(mut self) -> Self {
        self.outstanding.renderer = None;
        self
    }
}

/// Checks `links`, oldest first, against what is known, and returns the last one: the head.
///
/// Where the trust root lists a log, each link must stand in the log of `checkpoint`, and so must the entry of `sources` that
/// it names. Where it lists none, proofs, sources and checkpoint are not looked at.
///
/// A chain longer than [`CHAIN_LINKS_MAX`] comes in batches: all but the last go through [`verify_part`].
pub fn verify_chain<E: AsRef<[u8]>>(
    known: &Known,
    links: &[Link<E>],
    sources: &[Link<E>],
    checkpoint: Option<&VerifiedCheckpoint>,
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    let (level, checkpoint) = root::check_level(known, checkpoint)?;
    let tree = checkpoint.map(VerifiedCheckpoint::tree);
    head(known, links, sources, (level, tree), verifier)
}

/// [`verify_chain`] under a tree of which the level's other demands were met, or are not made.
pub(super) fn head<E: AsRef<[u8]>>(
    known: &Known,
    links: &[Link<E>],
    sources: &[Link<E>],
    under: (Level, Option<&Tree>),
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    follow(known, links, sources, under, Some(links.len()), verifier)
}

/// Checks a batch after which more follow, and returns what is known then. It is no state to apply, nor one to keep:
/// only the head shows that the hub may still speak for this cluster.
pub fn verify_part<E: AsRef<[u8]>>(
    known: &Known,
    links: &[Link<E>],
    sources: &[Link<E>],
    checkpoint: Option<&VerifiedCheckpoint>,
    verifier: &dyn Verify,
) -> Result<Known, Refusal> {
    let (level, checkpoint) = root::check_level(known, checkpoint)?;
    let under = (level, checkpoint.map(VerifiedCheckpoint::tree));
    let statement = follow(known, links, sources, under, None, verifier)?;
    Ok(known.after(&statement))
}

/// `head` is the place of the head, counted from 1.
fn follow<E: AsRef<[u8]>>(
    known: &Known,
    links: &[Link<E>],
    sources: &[Link<E>],
    (level, tree): (Level, Option<&Tree>),
    head: Option<usize>,
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    for got in [links.len(), sources.len()] {
        if got > CHAIN_LINKS_MAX {
            return Err(Refusal::ChainTooLong {
                got,
                max: CHAIN_LINKS_MAX,
            });
        }
    }
    let mut sources = Sources::new(sources);
    let mut last = known.last;
    let mut newest = None;
    for (place, link) in (1..).zip(links) {
        let mut verified = verify_link(known, last, link, head == Some(place), verifier)?;
        if let Some(tree) = tree {
            let index = link.check(tree)?;
            check_order(last, index)?;
            verified.check_window(known, index)?;
            let desired = &verified.statement.desired;
            sources.check(desired, index, &known.roots, tree, verifier)?;
            verified.statement.index = Some(index);
        }
        last = Some(verified.statement.last());
        newest = Some(verified.statement);
    }
    let mut newest = newest.ok_or(Refusal::ChainEmpty)?;
    newest.outstanding = Outstanding::of(level);
    Ok(newest)
}

/// Checks again what this agent verified with all checks and kept on its own volume, under the roots of that time: the
/// signature, for whom it is, and, if the trust root that it was made under lists a log, that it stands in the log of the
/// note that was kept with it. Neither the age of that note is looked at nor who cosigned it, nor the words of people and
/// second renderers: what runs goes on. `glass` is the place of the override that was kept with it, if one was.
pub fn restored<E: AsRef<[u8]>>(
    known: &Known,
    link: &Link<E>,
    note: Option<&[u8]>,
    glass: Option<u64>,
    verifier: &dyn Verify,
) -> Result<VerifiedStatement, Refusal> {
    let envelope = Envelope::parse(link.envelope.as_ref(), &Limits::entry())?;
    let Statement::Desired(desired) = Statement::parse(envelope.payload())? else {
        return Err(Refusal::NotDesired);
    };
    let before = desired.previous.map(|previous| Last {
        generation: desired.generation.saturating_sub(1),
        envelope: previous,
        trust_root: desired.trust_root,
        index: None,
    });
    let mut verified = verify_link(known, before, link, true, verifier)?;
    let root = known.roots.at(desired.trust_root);
    if root.is_some_and(|root| root.log().is_some()) {
        let note = note.ok_or(Refusal::LogProofMissing)?;
        let tree = super::checkpoint::reopened(known, note, verifier)?;
        verified.statement.index = Some(link.check(&tree)?);
    }
    verified.statement.glass = glass;
    Ok(verified.statement)
}

/// Statements of a cluster stand in the log in the order of their generations.
fn check_order(before: Option<Last>, index: u64) -> Result<(), Refusal> {
    match before.and_then(|last| last.index) {
        Some(before) if index <= before => Err(Refusal::LogOrder { index, before }),
        Some(_) | None => Ok(()),
    }
}

/// A link with its signers, before its place in the log is known.
struct Signed {
    statement: VerifiedStatement,
    signers: std::collections::BTreeSet<crate::key::PublicKey>,
}

impl Signed {
    fn check_window(&self, known: &Known, index: u64) -> Result<(), Refusal> {
        let environment = &self.statement.desired.environment;
        signatures::check_window(&known.windows, &self.signers, environment, index)
    }
}

fn verify_link<E: AsRef<[u8]>>(
    known: &Known,
    before: Option<Last>,
    link: &Link<E>,
    is_head: bool,
    verifier: &dyn Verify,
) -> Result<Signed, Refusal> {
    let envelope = Envelope::parse(link.envelope.as_ref(), &Limits::entry())?;
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
    let signers = signatures::check(&envelope, root, environment, verifier)?;
    identity::check_for(
        &desired,
        known.roots.newest().fleet(),
        &known.cluster,
        environment,
    )?;
    let generation = before.map_or(0, |last| last.generation);
    identity::check_follows(&desired, generation, before.map(|last| last.envelope))?;
    Ok(Signed {
        statement: VerifiedStatement {
            desired,
            envelope: envelope.digest(),
            leaf: envelope.leaf_hash(),
            index: None,
            outstanding: Outstanding::default(),
            glass: None,
        },
        signers,
    })
}
