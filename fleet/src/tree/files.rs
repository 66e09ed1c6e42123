//! A [`Tree`] as the renderer reads it.
use bytes::Bytes;

use super::{SharedTree, Stat, TreeFault, TreeRefusal};
use crate::path::RepoPath;
use crate::render::{self, Files, FilesFault, FolderEntry};

/// Answers a render's questions from a tree.
#[derive(Clone)]
pub struct TreeFiles(pub SharedTree);

impl std::fmt::Debug for TreeFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TreeFiles").field(&self.0.id()).finish()
    }
}

impl From<TreeFault> for FilesFault {
    fn from(fault: TreeFault) -> Self {
        Self {
            path: fault.path,
            why: fault.why,
        }
    }
}

impl Files for TreeFiles {
    fn stat(&self, path: &str) -> Result<render::Stat, FilesFault> {
        let path = match RepoPath::parse(path) {
            Ok(path) => path,
            Err(problem) => {
                return Ok(render::Stat::Refused {
                    code: render::Code::PathEscape,
                    reason: problem.to_string(),
                });
            }
        };
        Ok(match self.0.stat(&path)? {
            Stat::Absent => render::Stat::Absent,
            Stat::File { oid, size } => render::Stat::File { oid, bytes: size },
            Stat::Folder { oid } => render::Stat::Folder { oid },
            Stat::Refused(refusal) => render::Stat::Refused {
                code: match refusal {
                    TreeRefusal::FileTooLarge { .. } | TreeRefusal::FolderTooLarge => {
                        render::Code::SizeLimit
                    }
                    _ => render::Code::PathEscape,
                },
                reason: refusal.to_string(),
            },
        })
    }

    fn read(&self, path: &str) -> Result<Bytes, FilesFault> {
        let fault = |why: String| FilesFault {
            path: path.to_owned(),
            why,
        };
        let parsed = RepoPath::parse(path).map_err(|problem| fault(problem.to_string()))?;
        self.0
            .read(&parsed)
            .map_err(|error| fault(error.to_string()))
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, FilesFault> {
        let parsed = RepoPath::parse(path).map_err(|problem| FilesFault {
            path: path.to_owned(),
            why: problem.to_string(),
        })?;
        let listing = self.0.list(&parsed)?;
        let mut entries: Vec<FolderEntry> = listing
            .entries
            .into_iter()
            .map(|entry| FolderEntry {
                name: entry.name,
                folder: matches!(entry.stat, Stat::Folder { .. }),
            })
            .collect();
        // A refused name stays visible, so that reading it is refused by name instead of the file being left out.
        entries.extend(listing.refused.into_iter().map(|(name, _)| FolderEntry {
            name,
            folder: false,
        }));
        entries.sort();
        Ok(entries)
    }

    fn links(&self, path: &str) -> Result<Vec<String>, FilesFault> {
        let Ok(path) = RepoPath::parse(path) else {
            return Ok(Vec::new());
        };
        Ok(self
            .0
            .links(&path)?
            .into_iter()
            .map(|link| link.as_str().to_owned())
            .collect())
    }
}
