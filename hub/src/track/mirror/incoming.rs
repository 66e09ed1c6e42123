//! Where a fetched pack waits until its commit was accepted: a repository of its own inside the mirror's folder, emptied
//! before each fetch. What is refused never enters the mirror.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use git2::{Indexer, Repository, RepositoryInitOptions};

use crate::track::mirror::fault;
use crate::track::remote::PackSink;
use crate::track::trouble::Trouble;

/// Below the mirror's folder.
pub const FOLDER: &str = "incoming";

/// An empty repository with a pack on its way into it.
pub struct Incoming {
    folder: PathBuf,
    indexer: Indexer<'static>,
}

impl Incoming {
    /// Empties the folder and waits for a pack.
    ///
    /// # Errors
    /// [`Trouble::MirrorFault`]
    pub fn begin(mirror: &Path) -> Result<Self, Trouble> {
        let folder = mirror.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(fault(&error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut options = RepositoryInitOptions::new();
        options
            .bare(true)
            .mkpath(true)
            .no_reinit(true)
            .external_template(false);
        Repository::init_opts(&folder, &options).map_err(|error| fault(&error))?;
        let packs = folder.join("objects/pack");
        let indexer = Indexer::new(None, &packs, 0o444, false).map_err(|error| fault(&error))?;
        Ok(Self { folder, indexer })
    }

    /// Indexes what came; hashes and trailer are checked by libgit2.
    ///
    /// # Errors
    /// [`Trouble::PackBroken`]
    pub fn finish(self) -> Result<Repository, Trouble> {
        self.indexer.commit().map_err(|error| refused(&error))?;
        Repository::open_bare(&self.folder).map_err(|error| fault(&error))
    }
}

impl PackSink for Incoming {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.indexer
            .write_all(bytes)
            .map_err(|error| Trouble::PackBroken {
                reason: error.to_string(),
            })
    }
}

fn refused(error: &git2::Error) -> Trouble {
    Trouble::PackBroken {
        reason: error.message().to_owned(),
    }
}
