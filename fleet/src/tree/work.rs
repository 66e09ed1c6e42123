//! A working directory as a tree: what `lint`, `render` and `diff` read before anything is committed.
//!
//! Every name is looked at without following links; links are followed inside the tree only, by `resolve.rs`.
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::resolve::{Node, Raw};
use super::{FILE_BYTES_MAX, TreeFault};
use crate::path::{RepoPath, is_git_name};

/// The files of a folder on disk. Ids are SHA-256 of the bytes.
#[derive(Debug, Clone)]
pub struct WorkTree {
    root: PathBuf,
}

impl WorkTree {
    /// The files below `root`.
    ///
    /// # Errors
    /// [`TreeFault`] if there is no such folder.
    pub fn open(root: &Path) -> Result<Self, TreeFault> {
        let root = fs::canonicalize(root).map_err(|error| TreeFault {
            path: root.display().to_string(),
            why: error.to_string(),
        })?;
        if !root.is_dir() {
            return Err(TreeFault {
                path: root.display().to_string(),
                why: "is not a folder".to_owned(),
            });
        }
        Ok(Self { root })
    }

    fn disk(&self, path: &RepoPath) -> PathBuf {
        self.root.join(path.as_str())
    }
}

fn fault(path: &RepoPath, error: &std::io::Error) -> TreeFault {
    TreeFault {
        path: path.to_string(),
        why: error.to_string(),
    }
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Raw for WorkTree {
    fn node(&self, path: &RepoPath) -> Result<Node, TreeFault> {
        let disk = self.disk(path);
        let meta = match fs::symlink_metadata(&disk) {
            Ok(meta) => meta,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Node::Absent);
            }
            Err(error) => return Err(fault(path, &error)),
        };
        let kind = meta.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&disk).map_err(|error| fault(path, &error))?;
            return Ok(Node::Link {
                target: target.into_os_string().into_string().ok(),
            });
        }
        if kind.is_dir() {
            // A repository inside the repository is what Git would call a submodule.
            let nested = !path.as_str().is_empty() && disk.join(".git").exists();
            return Ok(if nested {
                Node::Submodule
            } else {
                Node::Folder { oid: String::new() }
            });
        }
        if !kind.is_file() {
            return Ok(Node::Special);
        }
        if meta.len() > FILE_BYTES_MAX {
            return Ok(Node::File {
                oid: String::new(),
                size: meta.len(),
            });
        }
        let content = self.bytes(path)?;
        Ok(Node::File {
            oid: hex(&content),
            size: content.len() as u64,
        })
    }

    fn names(&self, path: &RepoPath) -> Result<Vec<Result<String, String>>, TreeFault> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.disk(path)).map_err(|error| fault(path, &error))? {
            let name = entry.map_err(|error| fault(path, &error))?.file_name();
            match name.into_string() {
                Ok(name) if is_git_name(&name) => {}
                Ok(name) => names.push(Ok(name)),
                Err(name) => names.push(Err(shown(&name))),
            }
        }
        names.sort();
        Ok(names)
    }

    fn bytes(&self, path: &RepoPath) -> Result<Bytes, TreeFault> {
        let file = fs::File::open(self.disk(path)).map_err(|error| fault(path, &error))?;
        let mut content = Vec::new();
        // One byte more than allowed: a file that grows while it is read is seen as too large.
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut content)
            .map_err(|error| fault(path, &error))?;
        Ok(content.into())
    }

    fn id(&self) -> &str {
        ""
    }
}

fn shown(name: &OsStr) -> String {
    name.as_encoded_bytes().escape_ascii().to_string()
}
