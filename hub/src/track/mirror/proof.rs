//! The raw commits and trees by which somebody else can judge, without us, whose word the commits between two are.
//!
//! The ledger's judge runs here on the mirror, and what it reads is the proof: the agent's judge is the same and reads the
//! same. The mirror holds the tree of each commit that was followed and, by [`keep`], those of the commits between, so a
//! proof reaches back as far as the mirror does.

use countersign_ledger::commit::limits::COMMITS_MAX;
use countersign_ledger::commit::{AuthorRefusal, Authored, ObjectKind, Oid, People, prove};
use git2::{ObjectType, OdbLookupFlags};

use crate::track::id::CommitId;
use crate::track::limits::{FetchLimits, TREE_BYTES_MAX};
use crate::track::mirror::{Mirror, Stores, copy, history};
use crate::track::trouble::Trouble;

/// Commits and trees, each as the ledger frames it, with what they prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What the judge found.
    pub authored: Authored,
    /// What it read.
    pub objects: Vec<Vec<u8>>,
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The commits are not people's word: nobody could prove that they are.
    #[error("{0}")]
    Refused(#[from] AuthorRefusal),
    /// The mirror could not be read.
    #[error("{0}")]
    Trouble(#[from] Trouble),
}

/// Judges the commits from `old` to `new` at a time (seconds since 1970), and collects what an agent whose last commit is
/// `old` needs to judge them itself. Blocking; bounded by the limits of [`countersign_ledger::commit::limits`].
///
/// # Errors
/// [`NoProof`]
pub fn collect(
    mirror: &Mirror,
    people: &People,
    old: Option<CommitId>,
    new: CommitId,
    time: u64,
) -> Result<Proof, NoProof> {
    let stores = Stores::of(&[mirror.repository()])?;
    let mut trouble = None;
    let mut read = |kind, id: Oid| match object(&stores, kind, id) {
        Ok(found) => found,
        Err(met) => {
            trouble = Some(met);
            None
        }
    };
    let oid = |id: CommitId| Oid::Sha1(*id.bytes());
    let judged = prove(people, old.map(oid), oid(new), &mut read, time);
    match (judged, trouble) {
        (Ok((authored, objects)), _) => Ok(Proof { authored, objects }),
        // What could not be read only looks as if it were missing.
        (Err(_), Some(trouble)) => Err(trouble.into()),
        (Err(refusal), None) => Err(refusal.into()),
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

/// Commits up to `tip` that the mirror lacks, if it holds the commit that was followed before: these are to be proven one
/// day. To be asked before `tip` is copied.
///
/// # Errors
/// As [`Stores::read`].
pub fn to_keep(
    from: &Stores<'_>,
    mirror: &Mirror,
    accepted: Option<CommitId>,
    tip: CommitId,
) -> Result<Vec<git2::Oid>, Trouble> {
    if !accepted.is_some_and(|had| mirror.has(had)) {
        return Ok(Vec::new());
    }
    let here = mirror
        .repository()
        .odb()
        .map_err(|error| super::fault(&error))?;
    let known = |commit| here.exists_ext(commit, OdbLookupFlags::NO_REFRESH);
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
