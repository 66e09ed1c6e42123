//! Break-glass: while witnesses are away, a person with an override key lets one state of one cluster through.
//!
//! All checks of a head are made but two: that a quorum cosigned the checkpoint, and when. The log signed it, it follows the
//! last one that was seen here, and the person's word stands in it beside the state. What comes out is a [`BrokenGlass`]: it is
//! no [`super::VerifiedCheckpoint`] and never becomes one, so that nothing else is believed for its sake. It counts once, since
//! generations grow; the next state needs witnesses, or another word.
//!
//! The log can't go back behind it: its checkpoint is kept like any other that was seen.

use crate::digest::Digest;
use crate::dsse::{Envelope, Limits};
use crate::key::Verify;
use crate::refusal::Refusal;
use crate::statement::override_::OverrideKind;
use crate::statement::{Override, Statement};
use crate::time::Time;

use super::checkpoint::{Seen, Tree};
use super::inclusion::Link;
use super::manifest::VerifiedManifest;
use super::overrides::VerifiedOverride;
use super::{Known, VerifiedStatement};
use super::{chain, checkpoint, overrides, renderer, trust_entries};

/// What came in one message whose checkpoint too few witnesses cosigned.
#[derive(Debug)]
pub struct Came<'a, E> {
    /// The checkpoint.
    pub note: &'a [u8],
    /// From the last one that was seen.
    pub consistency: &'a [Digest],
    /// Entries that say since when trust roots are in effect, those that are known left out.
    pub trust_entries: &'a [Link<E>],
    /// What people with override keys said.
    pub words: &'a [Link<E>],
    /// The chain, to its end.
    pub links: &'a [Link<E>],
    /// The source entries that it names.
    pub sources: &'a [Link<E>],
}

/// A state that a person let through, and the checkpoint that counts for it alone. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenGlass {
    tree: Tree,
    word: VerifiedOverride,
    statement: VerifiedStatement,
    known: Known,
}

impl BrokenGlass {
    /// The state's statement; it bears the place of the person's word.
    #[must_use]
    pub fn statement(&self) -> &VerifiedStatement {
        &self.statement
    }

    /// What the person said.
    #[must_use]
    pub fn word(&self) -> &VerifiedOverride {
        &self.word
    }

    /// The checkpoint that comes next must follow this one.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.tree.seen
    }

    /// What is known once the state is taken.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Whether the word still holds: what waited for anything else meanwhile may come too late.
    pub fn check_time(&self, now: Time) -> Result<(), Refusal> {
        check_time(self.tree.seen.clock(), self.word.says(), now)
    }

    /// [`super::reproduced`] for this one state.
    pub fn reproduced<E: AsRef<[u8]>>(
        &self,
        manifest: VerifiedManifest,
        entries: &[Link<E>],
        verifier: &dyn Verify,
    ) -> Result<VerifiedManifest, Refusal> {
        if manifest.statement().envelope() != self.statement.envelope() {
            return Err(wrong("is of another state"));
        }
        renderer::under(&self.known, manifest, entries, &self.tree, verifier)
    }
}

/// Checks a chain whose last link a person let through. `now` is the clock here; one that was set back is not believed.
///
/// Without such a word it is refused as any checkpoint that too few witnesses cosigned.
pub fn verify<E: AsRef<[u8]>>(
    known: &Known,
    came: &Came<'_, E>,
    now: Time,
    verifier: &dyn Verify,
) -> Result<BrokenGlass, Refusal> {
    let end = came.links.last().ok_or(Refusal::WitnessQuorumMissing)?;
    let end = Digest::of(end.envelope.as_ref());
    let tree = checkpoint::signed(known, came.note, came.consistency, verifier)?;
    let mut known = known.clone();
    known.windows = trust_entries::under(&known, came.trust_entries, &tree, verifier)?;
    let word = word(&known, came.words, &tree, &end, now, verifier)?;
    let level = known.roots.newest().cluster(&known.cluster)?.level;
    let under = (level, Some(&tree));
    let statement =
        chain::head(&known, came.links, came.sources, under, verifier)?.mark_glass(word.index());
    let mut known = known.after(&statement);
    known.seen = Some(tree.seen.clone());
    Ok(BrokenGlass {
        tree,
        word,
        statement,
        known,
    })
}

/// The word that lets the state of `end` through; if there is none, why the last one that might have does not.
fn word<E: AsRef<[u8]>>(
    known: &Known,
    words: &[Link<E>],
    tree: &Tree,
    end: &Digest,
    now: Time,
    verifier: &dyn Verify,
) -> Result<VerifiedOverride, Refusal> {
    let mut refusal = Refusal::WitnessQuorumMissing;
    for link in words.iter().filter(|link| breaks_glass(link)) {
        match judge(known, link, tree, end, now, verifier) {
            Ok(word) => return Ok(word),
            Err(why) => refusal = why,
        }
    }
    Err(refusal)
}

fn breaks_glass<E: AsRef<[u8]>>(link: &Link<E>) -> bool {
    let Ok(envelope) = Envelope::parse(link.envelope.as_ref(), &Limits::entry()) else {
        return false;
    };
    let said = Statement::parse(envelope.payload());
    matches!(said, Ok(Statement::Override(says)) if says.kind == OverrideKind::BreakGlass)
}

fn judge<E: AsRef<[u8]>>(
    known: &Known,
    link: &Link<E>,
    tree: &Tree,
    end: &Digest,
    now: Time,
    verifier: &dyn Verify,
) -> Result<VerifiedOverride, Refusal> {
    let word = overrides::under(known, link, tree, verifier)?;
    let says = word.says();
    if says.what.parse::<Digest>().ok() != Some(*end) {
        return Err(wrong("is of another state"));
    }
    check_time(tree.seen.clock(), says, now)?;
    check_listed(known, link.envelope.as_ref(), says, verifier)?;
    Ok(word)
}

/// By the clock here, or by that of witnesses if it is ahead.
fn check_time(clock: Option<u64>, says: &Override, now: Time) -> Result<(), Refusal> {
    let seen = clock.unwrap_or_default().saturating_mul(1_000);
    if now.ms().max(seen) < says.until.ms() {
        Ok(())
    } else {
        Err(wrong("has ended"))
    }
}

/// The key is one of the newest trust root: whoever dropped it did not have to wait until the log says so, which nobody
/// witnesses now.
fn check_listed(
    known: &Known,
    bytes: &[u8],
    says: &Override,
    verifier: &dyn Verify,
) -> Result<(), Refusal> {
    let envelope = Envelope::parse(bytes, &Limits::entry())?;
    let overriders = &known.roots.newest().document().overriders;
    let own = overriders.iter().filter(|named| named.name == says.by);
    if envelope
        .signed_by(own.map(|named| &named.key), verifier)
        .is_empty()
    {
        return Err(wrong(
            "bears a key that the newest trust root does not list",
        ));
    }
    Ok(())
}

fn wrong(problem: &'static str) -> Refusal {
    Refusal::OverrideInvalid { problem }
}
