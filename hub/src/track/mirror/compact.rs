//! Packs the mirror's loose objects, so that a year of pushes is a file or two. Nothing is dropped: what a comparison of
//! two tips needs is still there afterwards.
//!
//! Each push writes its new objects one by one. When there are many, one pack takes them all, and only what is read back
//! from that pack is removed as a file of its own. A crash in between leaves an object twice, which harms nobody; a mirror
//! that is damaged all the same is filled anew, like any other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};

use crate::track::limits::{LOOSE_OBJECTS_MAX, PACKS_MAX};
use crate::track::mirror::fault;
use crate::track::trouble::Trouble;

/// How a mirror's objects lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Objects with a file of their own, estimated from one folder of 256.
    pub loose: usize,
    /// Packs.
    pub packs: usize,
}

/// What to do about it. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// Nothing yet.
    None,
    /// Pack what is loose.
    Loose,
    /// Make one pack of everything.
    All,
}

impl Shape {
    /// Looks at a mirror's folder.
    #[must_use]
    pub fn of(mirror: &Path) -> Self {
        let count = |folder: PathBuf, end: &str| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let ends = |name: std::ffi::OsString| name.to_string_lossy().ends_with(end);
            entries.filter(|entry| ends(entry.file_name())).count()
        };
        let objects = mirror.join("objects");
        Self {
            // Ids are evenly spread, so that one folder stands for all.
            loose: count(objects.join("17"), "") * 256,
            packs: count(objects.join("pack"), ".pack"),
        }
    }

    /// Whether it is time.
    #[must_use]
    pub const fn needs(self) -> Compaction {
        if self.loose <= LOOSE_OBJECTS_MAX {
            Compaction::None
        } else if self.packs < PACKS_MAX {
            Compaction::Loose
        } else {
            Compaction::All
        }
    }
}

/// Packs. Who holds the repository open must open it anew to see it at once. Blocking.
///
/// # Errors
/// [`Trouble::MirrorFault`]; every object is still there.
pub fn compact(mirror: &Path, what: Compaction) -> Result<(), Trouble> {
    let objects = mirror.join("objects");
    let loose = loose(&objects);
    let old: Vec<PathBuf> = match what {
        Compaction::None => return Ok(()),
        Compaction::Loose => Vec::new(),
        Compaction::All => packs(&objects),
    };
    let repository = Repository::open_bare(mirror).map_err(|error| fault(&error))?;
    let ids: BTreeSet<Oid> = match what {
        Compaction::All => all(&repository)?,
        Compaction::None | Compaction::Loose => loose.iter().map(|(id, _)| *id).collect(),
    };
    if ids.is_empty() {
        return Ok(());
    }
    write(&repository, &ids).map_err(|error| fault(&error))?;
    drop(repository);
    // Only what the new pack really holds may lose its other copy.
    let new: Vec<PathBuf> = packs(&objects)
        .into_iter()
        .filter(|pack| !old.contains(pack))
        .collect();
    let packed = held(&new).map_err(|error| fault(&error))?;
    for (id, file) in loose.iter().filter(|(id, _)| packed.contains(id)) {
        if let Err(error) = std::fs::remove_file(file) {
            tracing::debug!(%id, %error, "a packed object is kept as a file too");
        }
    }
    if !old.is_empty() && ids.iter().all(|id| packed.contains(id)) {
        for pack in old {
            // The index first: without it nobody looks into the pack.
            for file in [pack.with_extension("idx"), pack] {
                if let Err(error) = std::fs::remove_file(&file) {
                    tracing::debug!(file = %file.display(), %error, "an old pack is kept");
                }
            }
        }
    }
    Ok(())
}

fn all(repository: &Repository) -> Result<BTreeSet<Oid>, Trouble> {
    let mut ids = BTreeSet::new();
    let odb = repository.odb().map_err(|error| fault(&error))?;
    odb.foreach(|id| ids.insert(*id) || true)
        .map_err(|error| fault(&error))?;
    Ok(ids)
}

fn write(repository: &Repository, ids: &BTreeSet<Oid>) -> Result<(), git2::Error> {
    use std::io::Write as _;
    let mut builder = repository.packbuilder()?;
    // One of two cores is enough for what nobody waits for.
    builder.set_threads(1);
    for id in ids {
        builder.insert_object(*id, None)?;
    }
    let odb = repository.odb()?;
    let mut writer = odb.packwriter()?;
    let mut failed = None;
    builder.foreach(|chunk| match writer.write_all(chunk) {
        Ok(()) => true,
        Err(error) => {
            failed = Some(error);
            false
        }
    })?;
    if let Some(error) = failed {
        return Err(git2::Error::from_str(&error.to_string()));
    }
    writer.commit()?;
    Ok(())
}

/// The objects in these packs, by a store that sees nothing else.
fn held(packs: &[PathBuf]) -> Result<BTreeSet<Oid>, git2::Error> {
    let mut ids = BTreeSet::new();
    for pack in packs {
        let index = pack.with_extension("idx");
        let Ok(bytes) = std::fs::read(&index) else {
            continue;
        };
        ids.extend(index_ids(&bytes).unwrap_or_default());
    }
    Ok(ids)
}

/// The ids in a pack's index, version 2: magic, version, 256 counts, then the ids in order.
fn index_ids(bytes: &[u8]) -> Option<Vec<Oid>> {
    const HEAD: usize = 8;
    const FANOUT: usize = 256 * 4;
    if bytes.get(..HEAD)? != b"\xfftOc\0\0\0\x02" {
        return None;
    }
    let count = bytes.get(HEAD + FANOUT - 4..HEAD + FANOUT)?;
    let count = u32::from_be_bytes(count.try_into().ok()?) as usize;
    let ids = bytes.get(HEAD + FANOUT..)?.get(..count.checked_mul(20)?)?;
    ids.chunks_exact(20)
        .map(|id| Oid::from_bytes(id).ok())
        .collect()
}

fn packs(objects: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(objects.join("pack"));
    let mut packs: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .collect();
    packs.sort();
    packs
}

fn loose(objects: &Path) -> Vec<(Oid, PathBuf)> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(objects).into_iter().flatten().flatten() {
        let start = folder.file_name().to_string_lossy().into_owned();
        if start.len() != 2 {
            continue;
        }
        for file in std::fs::read_dir(folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = format!("{start}{}", file.file_name().to_string_lossy());
            if let Ok(id) = Oid::from_str(&name)
                && name.len() == 40
            {
                found.push((id, file.path()));
            }
        }
    }
    found
}

/// Whether an object is there without looking at the disk again.
#[cfg(test)]
fn reads(odb: &git2::Odb<'_>, id: Oid) -> bool {
    odb.read(id).is_ok()
}

#[cfg(test)]
mod tests {
    use git2::ObjectType;

    use super::*;

    fn fill(repository: &Repository, from: usize, to: usize) -> Vec<Oid> {
        let odb = repository.odb().unwrap();
        (from..to)
            .map(|n| {
                odb.write(ObjectType::Blob, format!("object {n}").as_bytes())
                    .unwrap()
            })
            .collect()
    }

    #[test]
    fn it_is_time_when_many_are_loose_and_for_one_pack_when_there_are_many() {
        let shape = |loose, packs| Shape { loose, packs }.needs();
        assert_eq!(shape(0, 0), Compaction::None);
        assert_eq!(shape(LOOSE_OBJECTS_MAX, 100), Compaction::None);
        assert_eq!(shape(LOOSE_OBJECTS_MAX + 1, 0), Compaction::Loose);
        assert_eq!(shape(LOOSE_OBJECTS_MAX + 1, PACKS_MAX), Compaction::All);
    }

    #[test]
    fn every_object_is_there_afterwards_and_no_file_of_its_own_is() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let objects = folder.path().join("objects");
        let mut ids = fill(&repository, 0, 300);
        let reader = Repository::open_bare(folder.path()).unwrap();
        let reader = reader.odb().unwrap();
        assert!(reads(&reader, ids[0]));
        compact(folder.path(), Compaction::Loose).unwrap();
        assert_eq!((loose(&objects).len(), packs(&objects).len()), (0, 1));
        ids.extend(fill(&repository, 300, 400));
        compact(folder.path(), Compaction::Loose).unwrap();
        assert_eq!((loose(&objects).len(), packs(&objects).len()), (0, 2));
        ids.extend(fill(&repository, 400, 410));
        compact(folder.path(), Compaction::All).unwrap();
        assert_eq!((loose(&objects).len(), packs(&objects).len()), (0, 1));
        // Who had it open before finds all as well.
        for odb in [
            &reader,
            &Repository::open_bare(folder.path()).unwrap().odb().unwrap(),
        ] {
            assert!(ids.iter().all(|id| reads(odb, *id)));
        }
        compact(folder.path(), Compaction::All).unwrap();
        assert_eq!(packs(&objects).len(), 1, "packing again changes nothing");
    }

    #[test]
    fn a_shape_is_seen_without_counting_everything() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        fill(&repository, 0, 2_000);
        let shape = Shape::of(folder.path());
        assert_eq!(shape.packs, 0);
        assert!((256..8_000).contains(&shape.loose), "{shape:?}");
    }

    #[test]
    fn an_index_that_is_none_names_no_object() {
        for bytes in [
            &b""[..],
            b"\xfftOc\0\0\0\x02",
            b"\xfftOc\0\0\0\x01",
            &[0xff; 2000],
        ] {
            assert_eq!(index_ids(bytes), None);
        }
    }
}
