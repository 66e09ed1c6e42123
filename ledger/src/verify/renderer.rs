//! Check 7: a second renderer, run by somebody else, got the same objects for the same commit.

use crate::digest::Digest;
use crate::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use crate::key::Verify;
use crate::refusal::Refusal;
use crate::statement::{Reproduction, Statement};
use crate::trust::Role;

use super::Known;
use super::checkpoint::{Tree, VerifiedCheckpoint};
use super::inclusion::Link;
use super::manifest::VerifiedManifest;

/// Checks what second renderers said of this state. One that agrees is enough; one that disagrees is too much: agents do not
/// move until people have looked.
///
/// `entries` are the `reproduction/v1` entries that came; those for another generation are left out.
pub fn reproduced<E: AsRef<[u8]>>(
    known: &Known,
    manifest: VerifiedManifest,
    entries: &[Link<E>],
    checkpoint: &VerifiedCheckpoint,
    verifier: &dyn Verify,
) -> Result<VerifiedManifest, Refusal> {
    super::root::check_log(known, checkpoint)?;
    under(known, manifest, entries, checkpoint.tree(), verifier)
}

pub(super) fn under<E: AsRef<[u8]>>(
    known: &Known,
    manifest: VerifiedManifest,
    entries: &[Link<E>],
    tree: &Tree,
    verifier: &dyn Verify,
) -> Result<VerifiedManifest, Refusal> {
    let statement = manifest.statement();
    let generation = statement.generation();
    let want = crate::manifest::render_digest(manifest.lines());
    let mut agrees = false;
    for link in entries {
        let reproduction = read(known, link, tree, verifier)?;
        if reproduction.generation != generation {
            continue;
        }
        check_same(&reproduction, &manifest)?;
        if !reproduction.agrees || reproduction.digest != want {
            return Err(Refusal::ReproductionDisagrees {
                generation,
                want,
                got: reproduction.digest,
            });
        }
        agrees = true;
    }
    if agrees {
        Ok(manifest.mark_reproduced())
    } else {
        Err(Refusal::ReproductionMissing { generation })
    }
}

fn read<E: AsRef<[u8]>>(
    known: &Known,
    link: &Link<E>,
    tree: &Tree,
    verifier: &dyn Verify,
) -> Result<Reproduction, Refusal> {
    let wrong = |problem| Refusal::ReproductionMismatch { problem };
    let envelope = Envelope::parse(link.envelope.as_ref(), &Limits::entry())?;
    link.check(tree)?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(wrong("is no statement"));
    }
    let Statement::Reproduction(reproduction) = Statement::parse(envelope.payload())? else {
        return Err(wrong("is another statement"));
    };
    let keys = known.roots.newest().holders(Role::Reproducer);
    if envelope.signed_by(&keys, verifier).is_empty() {
        return Err(wrong("bears no signature of a second renderer"));
    }
    Ok(reproduction)
}

/// It is about this very state.
fn check_same(reproduction: &Reproduction, manifest: &VerifiedManifest) -> Result<(), Refusal> {
    let wrong = |problem| Refusal::ReproductionMismatch { problem };
    let (statement, desired) = (manifest.statement(), manifest.statement().desired());
    if reproduction.fleet != desired.fleet {
        return Err(wrong("is of another fleet"));
    }
    if reproduction.cluster != desired.cluster {
        return Err(wrong("is of another cluster"));
    }
    if reproduction.commit != desired.commit {
        return Err(wrong("is of another commit"));
    }
    let leaf: Digest = statement.leaf();
    if reproduction.desired != leaf {
        return Err(wrong("is of another statement"));
    }
    Ok(())
}
