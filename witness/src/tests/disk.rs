//! A disk in memory that keeps what was synced and nothing else, and fails when told to. For tests alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::state::disk::Disk;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Nothing happened, and the caller is told so.
    NotDone,
    /// It happened, and the caller is told that it didn't.
    DoneButFailed,
    /// The process dies before it: no later call does anything.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
}

impl Flavour {
    pub(crate) const ALL: [Self; 4] = [
        Self::NotDone,
        Self::DoneButFailed,
        Self::DiesBefore,
        Self::DiesAfter,
    ];
}

/// Content as written and as the disk would have it after a power cut.
#[derive(Debug, Clone, Default)]
struct File {
    written: Vec<u8>,
    synced: Option<Vec<u8>>,
}

type Names = BTreeMap<PathBuf, Arc<Mutex<File>>>;

#[derive(Debug, Default)]
struct Inner {
    /// What a running process sees.
    names: Names,
    /// What is there after a power cut.
    synced_names: Names,
    fail_at: Option<(usize, Flavour)>,
    failed: bool,
    dead: bool,
}

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct SimulatedDisk(Mutex<Inner>);

impl SimulatedDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The `n`-th change from now on fails, once; 0 is the next.
    pub(crate) fn fail_at(&self, n: usize, flavour: Flavour) {
        let mut inner = self.inner();
        inner.fail_at = Some((n, flavour));
        inner.failed = false;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.inner().failed
    }

    /// A power cut and a new start. Of each thing that was not synced, `keep` says whether it is there all the same.
    pub(crate) fn crash(&self, mut keep: impl FnMut() -> bool) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let mut survived = Names::new();
        let paths: Vec<PathBuf> = inner
            .names
            .keys()
            .chain(inner.synced_names.keys())
            .cloned()
            .collect();
        for path in paths {
            let (now, synced) = (inner.names.get(&path), inner.synced_names.get(&path));
            let same = match (now, synced) {
                (Some(now), Some(synced)) => Arc::ptr_eq(now, synced),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let chosen = if same || keep() { now } else { synced };
            if let Some(file) = chosen {
                survived.insert(path, Arc::clone(file));
            }
        }
        for file in survived.values() {
            let mut file = file.lock().unwrap();
            if file.synced.as_ref() != Some(&file.written) && !keep() {
                // Half of it, or what was synced before.
                let half = file.written.len() / 2;
                file.written = file
                    .synced
                    .clone()
                    .unwrap_or_else(|| file.written[..half].to_vec());
            }
            file.synced = Some(file.written.clone());
        }
        inner.names = survived.clone();
        inner.synced_names = survived;
        inner.fail_at = None;
        inner.dead = false;
    }

    /// Does a change, or fails it.
    fn change(&self, done: impl FnOnce(&mut Inner) -> io::Result<()>) -> io::Result<()> {
        let mut inner = self.inner();
        let error = || io::Error::other("simulated");
        if inner.dead {
            return Err(error());
        }
        let flavour = match &mut inner.fail_at {
            Some((0, flavour)) => Some(*flavour),
            Some((n, _)) => {
                *n -= 1;
                None
            }
            None => None,
        };
        let Some(flavour) = flavour else {
            return done(&mut inner);
        };
        inner.fail_at = None;
        inner.failed = true;
        match flavour {
            Flavour::NotDone => {}
            Flavour::DoneButFailed => done(&mut inner)?,
            Flavour::DiesBefore => inner.dead = true,
            Flavour::DiesAfter => {
                done(&mut inner)?;
                inner.dead = true;
            }
        }
        Err(error())
    }
}

impl Disk for SimulatedDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let inner = self.inner();
        Ok(inner
            .names
            .get(path)
            .map(|file| file.lock().unwrap().written.clone()))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let inner = self.inner();
        Ok(inner
            .names
            .keys()
            .filter(|path| path.parent() == Some(folder))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.change(|inner| {
            let file = inner.names.entry(path.to_owned()).or_default();
            file.lock().unwrap().written = bytes.to_vec();
            Ok(())
        })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.change(|inner| {
            let file = inner.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            let mut file = file.lock().unwrap();
            file.synced = Some(file.written.clone());
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|inner| {
            let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            inner.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(|inner| {
            let inside = |path: &Path| path.parent() == Some(folder);
            inner.synced_names.retain(|path, _| !inside(path));
            let names = inner.names.iter().filter(|(path, _)| inside(path));
            let names: Vec<_> = names
                .map(|(path, file)| (path.clone(), Arc::clone(file)))
                .collect();
            inner.synced_names.extend(names);
            Ok(())
        })
    }
}
