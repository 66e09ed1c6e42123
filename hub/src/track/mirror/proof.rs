//! The raw commits and trees by which somebody else can judge, without us, whose word the commits between two are.
//!
//! The ledger's judge runs here on the mirror, and what it reads is the proof: the agent's judge is the same and reads the
//! same. The mirror holds the tree of each commit that was followed and, by [`keep`], those of the commits between, so a
//! proof reaches back as far as the mirror does.

use countersign_ledger::commit::limits::COMMITS_MAX;
use countersign_ledger::commit::{AuthorRefusal, Authored, ObjectKind, Oid, People, frame, prove};
use git2::{ObjectType, OdbLookupFlags, Repository};

use crate::track::id::CommitId;
use crate::track::limits::{FetchLimits, TREE_BYTES_MAX};
use crate::track::mirror::{Mirror, Stores, copy, history};
use crate::track::trouble::Trouble;

/// What was found of the commits between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What the judge said.
    pub judged: Result<Authored, AuthorRefusal>,
    /// The commits and trees that it read, each as the ledger frames it: with them another judge says the same. None of them
    /// where they exceed a limit of the judge's.
    pub objects: Vec<Vec<u8>>,
}

/// Judges the commits from `old` to `new` at a time (seconds since 1970), and collects what an agent that judged up to `old`
/// needs to judge them itself. Blocking; bounded by the limits of [`countersign_ledger::commit::limits`].
///
/// # Errors
/// The mirror could not be read.
pub fn collect(
    mirror: &Repository,
    people: &People,
    old: Option<CommitId>,
    new: CommitId,
    time: u64,
) -> Result<Proof, Trouble> {
    let stores = Stores::of(&[mirror])?;
    let (mut trouble, mut objects) = (None, Vec::new());
    let mut read = |kind, id: Oid| match object(&stores, kind, id) {
        Ok(found) => {
            objects.extend(found.as_deref().map(|raw| frame(kind, raw)));
            found
        }
        Err(met) => {
            trouble = Some(met);
            None
        }
    };
    let oid = |id: CommitId| Oid::Sha1(*id.bytes());
    let judged = prove(people, old.map(oid), oid(new), &mut read, time);
    match (judged, trouble) {
        (Ok((authored, objects)), _) => Ok(Proof {
            judged: Ok(authored),
            objects,
        }),
        // What could not be read only looks as if it were missing.
        (Err(_), Some(trouble)) => Err(trouble),
        (Err(refusal), None) => {
            if matches!(refusal, AuthorRefusal::Limit { .. }) {
                objects.clear();
            }
            Ok(Proof {
                judged: Err(refusal),
                objects,
            })
        }
    }
}

fn object(stores: &Stores<'_>, kind: ObjectKind, id: Oid) -> Result<Option<Vec<u8>>, Trouble> {
    let id = git2::Oid::from_bytes(id.bytes()).map_err(|error| super::fault(&error))?;
    match kind {
        ObjectKind::Commit => stores.commit(id),
        ObjectKind::Tree => Ok(stores
            .read(id, TREE_BYTES_MAX as u64)?
            .filter(|(kind, _)| *kind == ObjectType::Tree)
            .map(|(_, raw)| raw)),
    }
}

/// Commits up to `tip` that neither the mirror has nor the commit that was followed before leads to: these are to be proven
/// one day. To be asked before `tip` is copied.
///
/// # Errors
/// As [`Stores::read`].
pub fn to_keep(
    from: &Stores<'_>,
    mirror: &Mirror,
    accepted: Option<CommitId>,
    tip: CommitId,
) -> Result<Vec<git2::Oid>, Trouble> {
    let Some(accepted) = accepted else {
        return Ok(Vec::new());
    };
    let here = mirror
        .repository()
        .odb()
        .map_err(|error| super::fault(&error))?;
    // A mirror that was filled anew may lack even that one.
    let accepted = accepted.oid().map_err(|error| super::fault(&error))?;
    let known = |commit| commit == accepted || here.exists_ext(commit, OdbLookupFlags::NO_REFRESH);
    let tip = tip.oid().map_err(|error| super::fault(&error))?;
    let (commits, _) = history::new_commits(tip, COMMITS_MAX, known, |commit| {
        copy::parents(from, commit)
    })?;
    Ok(commits)
}

/// Copies the trees of these commits and of their parents; the tracker itself needs the newest one's alone. What is not to
/// be had is left out: an agent that asks for such a proof is told what is missing, and everybody else is served.
pub fn keep(from: &Stores<'_>, mirror: &Mirror, commits: &[git2::Oid], limits: &FetchLimits) {
    let mut wanted: Vec<git2::Oid> = Vec::new();
    for commit in commits {
        wanted.extend(
            copy::parents(from, *commit)
                .ok()
                .flatten()
                .unwrap_or_default(),
        );
        wanted.push(*commit);
    }
    wanted.sort_unstable();
    wanted.dedup();
    if let Err(trouble) = copy::trees_of(from, mirror, &wanted, limits) {
        tracing::warn!(%trouble, "not all trees between two commits are kept; agents at level authored may lack a proof");
    }
}

#[cfg(test)]
mod tests;
