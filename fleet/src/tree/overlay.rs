//! One tree with another mounted in a folder of it that no repository has.
use bytes::Bytes;

use super::{Listing, ReadError, SharedTree, Stat, Tree, TreeFault};
use crate::path::RepoPath;

/// `base`, with `other` mounted at `mount`. Links of each stay in their own tree.
pub struct OverlayTree {
    base: SharedTree,
    mount: RepoPath,
    other: SharedTree,
    id: String,
}

impl OverlayTree {
    /// Mounts `other` over whatever `base` has at `mount`.
    pub fn new(base: SharedTree, mount: RepoPath, other: SharedTree) -> Self {
        let id = match (base.id(), other.id()) {
            ("", _) | (_, "") => String::new(),
            (base, other) => format!("{base}+{other}"),
        };
        Self {
            base,
            mount,
            other,
            id,
        }
    }

    fn side(&self, path: &RepoPath) -> (&SharedTree, RepoPath) {
        if !path.within(&self.mount) {
            return (&self.base, path.clone());
        }
        let below = path
            .names()
            .skip(self.mount.names().count())
            .fold(RepoPath::root(), |path, name| path.child(name));
        (&self.other, below)
    }
}

impl Tree for OverlayTree {
    fn stat(&self, path: &RepoPath) -> Result<Stat, TreeFault> {
        let (tree, path) = self.side(path);
        tree.stat(&path)
    }

    fn read(&self, path: &RepoPath) -> Result<Bytes, ReadError> {
        let (tree, path) = self.side(path);
        tree.read(&path)
    }

    fn list(&self, path: &RepoPath) -> Result<Listing, TreeFault> {
        let (tree, path) = self.side(path);
        tree.list(&path)
    }

    fn links(&self, path: &RepoPath) -> Result<Vec<RepoPath>, TreeFault> {
        let (tree, inner) = self.side(path);
        let links = tree.links(&inner)?;
        if !path.within(&self.mount) {
            return Ok(links);
        }
        Ok(links
            .iter()
            .map(|link| {
                link.names()
                    .fold(self.mount.clone(), |path, name| path.child(name))
            })
            .collect())
    }

    fn id(&self) -> &str {
        &self.id
    }
}
