//! Copies an accepted commit into the mirror, object by object, children first.
//!
//! What exists already is not read again, so a push costs what it changed. Each object is hashed as it is written (with
//! libgit2's collision detection) and must have the id that it was asked for. Local repositories are copied by the same
//! way: nothing is linked, so nobody who may write there can change what was accepted.

use git2::{ObjectType, Odb, OdbLookupFlags, Oid};

use crate::track::id::{CommitId, OID_BYTES};
use crate::track::limits::{COMMITS_WALKED_MAX, FetchLimits, TREE_BYTES_MAX, TREE_DEPTH_MAX};
use crate::track::mirror::{Mirror, Stores, fault, history};
use crate::track::signer;
use crate::track::treecheck::{self, Kind};
use crate::track::trouble::Trouble;

/// Copies commits up to `tip` that the mirror lacks, and everything below the tree of `tip`.
///
/// # Errors
/// [`Trouble::FetchLimit`], [`Trouble::PackBroken`], [`Trouble::MirrorFault`], [`Trouble::CommitMalformed`]
pub fn commit(
    from: &Stores<'_>,
    mirror: &mut Mirror,
    tip: CommitId,
    limits: &FetchLimits,
) -> Result<(), Trouble> {
    let tip = tip.oid().map_err(|error| fault(&error))?;
    let cut = {
        let to = mirror.repository().odb().map_err(|error| fault(&error))?;
        let known = |commit: Oid| to.exists_ext(commit, OdbLookupFlags::NO_REFRESH);
        let (commits, cut) = history::new_commits(tip, COMMITS_WALKED_MAX, known, |commit| {
            parents(from, commit)
        })?;
        let raw = from.commit(tip)?.ok_or_else(|| missing(tip))?;
        let root = signer::read(CommitId::from(tip), &raw)?.tree;
        let mut budget = Budget {
            limits: *limits,
            objects: 0,
            bytes: 0,
        };
        tree(
            from,
            &to,
            root.oid().map_err(|error| fault(&error))?,
            0,
            &mut budget,
        )?;
        for commit in commits {
            let raw = from.commit(commit)?.ok_or_else(|| missing(commit))?;
            write(&to, ObjectType::Commit, &raw, commit, &mut budget)?;
        }
        cut
    };
    mirror.add_shallow(&cut.into_iter().map(CommitId::from).collect::<Vec<_>>())
}

/// Copies everything below the trees of commits that are to be had; all together they cost what one commit may.
///
/// # Errors
/// As [`commit`].
pub fn trees_of(
    from: &Stores<'_>,
    mirror: &Mirror,
    commits: &[Oid],
    limits: &FetchLimits,
) -> Result<(), Trouble> {
    let to = mirror.repository().odb().map_err(|error| fault(&error))?;
    let mut budget = Budget {
        limits: *limits,
        objects: 0,
        bytes: 0,
    };
    for id in commits {
        let Some(raw) = from.commit(*id)? else {
            continue;
        };
        let root = signer::read(CommitId::from(*id), &raw)?.tree;
        let root = root.oid().map_err(|error| fault(&error))?;
        match tree(from, &to, root, 0, &mut budget) {
            // Beyond the beginning of a shallow history there are commits without trees.
            Ok(()) | Err(Trouble::PackBroken { .. }) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}

/// Parents by the commit's raw text; `None` if it is not there.
///
/// # Errors
/// As [`Stores::read`].
pub fn parents(from: &Stores<'_>, commit: Oid) -> Result<Option<Vec<Oid>>, Trouble> {
    let Some(raw) = from.commit(commit)? else {
        return Ok(None);
    };
    let lines = raw.split(|byte| *byte == b'\n').skip(1);
    let ids = lines
        .map_while(|line| line.strip_prefix(b"parent "))
        .filter_map(crate::track::id::parse_hex);
    ids.map(|id| Oid::from_bytes(&id).map_err(|error| fault(&error)))
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

struct Budget {
    limits: FetchLimits,
    objects: u64,
    bytes: u64,
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.objects += 1;
        self.bytes += bytes as u64;
        if self.objects > self.limits.objects {
            return Err(Trouble::FetchLimit {
                what: "objects of one commit",
                limit: self.limits.objects.to_string(),
            });
        }
        if self.bytes > self.limits.unpacked_bytes {
            return Err(Trouble::FetchLimit {
                what: "unpacked bytes",
                limit: self.limits.unpacked_bytes.to_string(),
            });
        }
        Ok(())
    }
}

fn tree(
    from: &Stores<'_>,
    to: &Odb<'_>,
    id: Oid,
    depth: usize,
    budget: &mut Budget,
) -> Result<(), Trouble> {
    if to.exists_ext(id, OdbLookupFlags::NO_REFRESH) {
        return Ok(());
    }
    if depth > TREE_DEPTH_MAX {
        return Err(Trouble::FetchLimit {
            what: "nested folders",
            limit: TREE_DEPTH_MAX.to_string(),
        });
    }
    let raw = match from.read(id, TREE_BYTES_MAX as u64)? {
        Some((ObjectType::Tree, raw)) => raw,
        Some(_) | None => return Err(missing(id)),
    };
    let entries = treecheck::entries(&raw).map_err(|defect| Trouble::PackBroken {
        reason: format!("tree {id} holds {defect}"),
    })?;
    for entry in entries {
        let below = oid(&entry.id)?;
        match entry.kind {
            Kind::Folder => tree(from, to, below, depth + 1, budget)?,
            Kind::File | Kind::Link => blob(from, to, below, budget)?,
            Kind::Submodule => {}
        }
    }
    write(to, ObjectType::Tree, &raw, id, budget)
}

/// A file above the limit is left out: it is reported, and whoever reads it fails, but the commit is followed.
fn blob(from: &Stores<'_>, to: &Odb<'_>, id: Oid, budget: &mut Budget) -> Result<(), Trouble> {
    if to.exists_ext(id, OdbLookupFlags::NO_REFRESH) {
        return Ok(());
    }
    match from.read(id, budget.limits.object_bytes) {
        Ok(Some((ObjectType::Blob, raw))) => write(to, ObjectType::Blob, &raw, id, budget),
        Ok(Some(_) | None) => Err(missing(id)),
        Err(Trouble::FetchLimit { .. }) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

fn write(
    to: &Odb<'_>,
    kind: ObjectType,
    raw: &[u8],
    id: Oid,
    budget: &mut Budget,
) -> Result<(), Trouble> {
    budget.spend(raw.len())?;
    let written = to.write(kind, raw).map_err(|error| fault(&error))?;
    if written == id {
        Ok(())
    } else {
        Err(Trouble::PackBroken {
            reason: format!("object {id} has the content of {written}"),
        })
    }
}

fn oid(id: &[u8; OID_BYTES]) -> Result<Oid, Trouble> {
    Oid::from_bytes(id).map_err(|error| fault(&error))
}

fn missing(id: Oid) -> Trouble {
    Trouble::PackBroken {
        reason: format!("object {id} is missing"),
    }
}
