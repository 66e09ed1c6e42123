//! Follows links inside a tree, name by name, over a store that knows nothing of links' meaning.
//!
//! Pure but for the store. A path is resolved inside the tree object, not on a disk: `..` in a link pops a name of the
//! tree, and popping the root is an escape.
use bytes::Bytes;

use super::{
    Entry, FILE_BYTES_MAX, FOLDER_NAMES_MAX, LINKS_MAX, Listing, ReadError, Stat, Tree, TreeFault,
    TreeRefusal,
};
use crate::path::{RepoPath, is_git_name};

/// What a store has under a name, links not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Names the content.
        oid: String,
        /// Length in bytes.
        size: u64,
    },
    /// A link.
    Link {
        /// Where it leads, as written; `None` if that is not UTF-8 or too long.
        target: Option<String>,
    },
    /// A folder.
    Folder {
        /// Names the content, or empty.
        oid: String,
    },
    /// Another repository.
    Submodule,
    /// Neither file nor folder nor link.
    Special,
}

/// A store of files without following links. Paths are link-free except for the last name.
pub trait Raw: Send + Sync {
    /// What stands at `path`.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn node(&self, path: &RepoPath) -> Result<Node, TreeFault>;

    /// The names in a folder, sorted bytewise; names that are not UTF-8 as `Err` with what can be shown.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn names(&self, path: &RepoPath) -> Result<Vec<Result<String, String>>, TreeFault>;

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn bytes(&self, path: &RepoPath) -> Result<Bytes, TreeFault>;

    /// Whether the file is a Git LFS pointer; `path` is a file below the size of one.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn is_lfs_pointer(&self, path: &RepoPath, oid: &str) -> Result<bool, TreeFault> {
        let _ = oid;
        Ok(is_lfs_pointer(&self.bytes(path)?))
    }

    /// Names the whole tree, or empty.
    fn id(&self) -> &str;
}

/// Pointers are at most this long by their specification.
pub(crate) const LFS_POINTER_MAX: u64 = 1024;

pub(crate) fn is_lfs_pointer(content: &[u8]) -> bool {
    content.len() as u64 <= LFS_POINTER_MAX
        && content.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// Where a path leads.
struct Reached {
    real: RepoPath,
    stat: Stat,
    links: Vec<RepoPath>,
}

fn reach(raw: &dyn Raw, path: &RepoPath) -> Result<Reached, TreeFault> {
    let mut links = Vec::new();
    let mut ahead: Vec<String> = path.names().map(str::to_owned).collect();
    ahead.reverse();
    let mut real = RepoPath::root();
    let mut node = raw.node(&real)?;
    let mut followed = 0usize;
    let refuse = |real: &RepoPath, links: &[RepoPath], why| Reached {
        real: real.clone(),
        stat: Stat::Refused(why),
        links: links.to_vec(),
    };
    while let Some(name) = ahead.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                if real.as_str().is_empty() {
                    return Ok(refuse(&real, &links, TreeRefusal::LinkEscapes));
                }
                real = real.folder();
                node = raw.node(&real)?;
                continue;
            }
            name if forbidden(name) => {
                return Ok(refuse(
                    &real.child(name),
                    &links,
                    TreeRefusal::NameForbidden,
                ));
            }
            _ => {}
        }
        match node {
            Node::Folder { .. } => {}
            Node::Submodule => return Ok(refuse(&real, &links, TreeRefusal::Submodule)),
            Node::Absent | Node::File { .. } | Node::Special | Node::Link { .. } => {
                let stat = if links.is_empty() {
                    Stat::Absent
                } else {
                    Stat::Refused(TreeRefusal::LinkDangling)
                };
                return Ok(Reached { real, stat, links });
            }
        }
        let at = real.child(&name);
        node = raw.node(&at)?;
        if let Node::Link { target } = &node {
            followed += 1;
            links.push(at.clone());
            let Some(target) = target.as_deref() else {
                return Ok(refuse(&at, &links, TreeRefusal::LinkEscapes));
            };
            if followed > LINKS_MAX {
                return Ok(refuse(&at, &links, TreeRefusal::LinkLoop));
            }
            if target.starts_with('/') || target.contains('\\') || target.contains('\0') {
                return Ok(refuse(&at, &links, TreeRefusal::LinkEscapes));
            }
            ahead.extend(target.split('/').rev().map(str::to_owned));
            // What the link leads to is looked up from the folder that the link lies in.
            node = raw.node(&real)?;
        } else {
            real = at;
        }
    }
    let stat = match node {
        Node::Absent if links.is_empty() => Stat::Absent,
        Node::Absent => Stat::Refused(TreeRefusal::LinkDangling),
        Node::Folder { oid } => Stat::Folder { oid },
        Node::Submodule => Stat::Refused(TreeRefusal::Submodule),
        Node::Special | Node::Link { .. } => Stat::Refused(TreeRefusal::Special),
        Node::File { size, .. } if size > FILE_BYTES_MAX => {
            Stat::Refused(TreeRefusal::FileTooLarge { size })
        }
        Node::File { oid, size } => {
            if size <= LFS_POINTER_MAX && raw.is_lfs_pointer(&real, &oid)? {
                Stat::Refused(TreeRefusal::LfsPointer)
            } else {
                Stat::File { oid, size }
            }
        }
    };
    if !links.is_empty() {
        links.push(real.clone());
    }
    Ok(Reached { real, stat, links })
}

fn forbidden(name: &str) -> bool {
    is_git_name(name) || name.contains('\\') || name.chars().any(char::is_control)
}

impl<R: Raw> Tree for R {
    fn stat(&self, path: &RepoPath) -> Result<Stat, TreeFault> {
        Ok(reach(self, path)?.stat)
    }

    fn read(&self, path: &RepoPath) -> Result<Bytes, ReadError> {
        let reached = reach(self, path)?;
        match reached.stat {
            Stat::File { .. } => Ok(self.bytes(&reached.real)?),
            Stat::Refused(refusal) => Err(ReadError::Refused {
                path: path.clone(),
                refusal,
            }),
            Stat::Absent | Stat::Folder { .. } => Err(ReadError::NotAFile { path: path.clone() }),
        }
    }

    fn list(&self, path: &RepoPath) -> Result<Listing, TreeFault> {
        let reached = reach(self, path)?;
        let mut listing = Listing::default();
        if !matches!(reached.stat, Stat::Folder { .. }) {
            return Ok(listing);
        }
        let names = self.names(&reached.real)?;
        if names.len() > FOLDER_NAMES_MAX {
            listing
                .refused
                .push((".".to_owned(), TreeRefusal::FolderTooLarge));
            return Ok(listing);
        }
        for name in names {
            match name {
                Err(shown) => listing.refused.push((shown, TreeRefusal::NameNotUtf8)),
                Ok(name) if forbidden(&name) => listing
                    .refused
                    .push((name.escape_debug().to_string(), TreeRefusal::NameForbidden)),
                Ok(name) => {
                    let Reached { stat, links, .. } = reach(self, &reached.real.child(&name))?;
                    listing.entries.push(Entry { name, stat, links });
                }
            }
        }
        Ok(listing)
    }

    fn links(&self, path: &RepoPath) -> Result<Vec<RepoPath>, TreeFault> {
        Ok(reach(self, path)?.links)
    }

    fn id(&self) -> &str {
        Raw::id(self)
    }
}
