//! Where files come from: one tree of one commit, or a working directory, read and never written.
//!
//! Links are resolved here, inside the tree only, so that nobody else needs to know them. Whatever a fleet must not be
//! made of (a link out of the tree, a submodule, an LFS pointer, a huge file, a name that is not UTF-8) is a typed
//! [`TreeRefusal`]; a store that cannot answer is a [`TreeFault`], never an absence.
//!
//! Read first: [`Tree`]; then `resolve.rs` (links), [`git`] (commits), [`work`] (working directories), [`changes`].
use std::sync::Arc;

use bytes::Bytes;

use crate::path::RepoPath;

pub mod changes;
pub mod files;
pub mod git;
pub mod memory;
pub mod overlay;
pub mod resolve;
pub mod work;

pub use files::TreeFiles;
pub use git::{GitStore, GitTree};
pub use memory::MemoryTree;
pub use work::WorkTree;

/// Largest file that is read: far above any manifest, below what would hurt the hub.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most names in one folder.
pub const FOLDER_NAMES_MAX: usize = 20_000;
/// Most links followed to reach one path, as Linux does.
pub const LINKS_MAX: usize = 40;

/// A tree, shared.
pub type SharedTree = Arc<dyn Tree>;

/// What stands at a path, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stat {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Names the content: equal ids mean equal bytes.
        oid: String,
        /// Length of the content in bytes.
        size: u64,
    },
    /// A folder.
    Folder {
        /// Names the content of all that is below it, where the store knows; else empty.
        oid: String,
    },
    /// Something that must not be read.
    Refused(TreeRefusal),
}

/// Why a thing in the tree is not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TreeRefusal {
    /// The file is too large.
    #[error("is {size} bytes, at most {FILE_BYTES_MAX} are read")]
    FileTooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// The folder has too many names.
    #[error("has more than {FOLDER_NAMES_MAX} names")]
    FolderTooLarge,
    /// The file is a pointer to Git LFS, whose contents no commit covers.
    #[error("is a Git LFS pointer, whose content is not part of the commit")]
    LfsPointer,
    /// The folder is another repository.
    #[error("is a submodule; use a source with its own locked commit instead")]
    Submodule,
    /// A link leads out of the tree.
    #[error("is a link that leads out of the repository")]
    LinkEscapes,
    /// Links lead to each other, or too many follow one another.
    #[error("is a link that leads through more than {LINKS_MAX} links")]
    LinkLoop,
    /// A link leads to nothing.
    #[error("is a link to nothing")]
    LinkDangling,
    /// The name of the thing, or of one in the folder, is not UTF-8.
    #[error("has a name that is not UTF-8")]
    NameNotUtf8,
    /// The name is one that Git uses itself, or has characters that no path may have.
    #[error("has a name that is not allowed")]
    NameForbidden,
    /// A socket, a device, a pipe.
    #[error("is neither a file nor a folder")]
    Special,
}

impl TreeRefusal {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FileTooLarge { .. } => "FILE_TOO_LARGE",
            Self::FolderTooLarge => "FOLDER_TOO_LARGE",
            Self::LfsPointer => "LFS_POINTER",
            Self::Submodule => "SUBMODULE",
            Self::LinkEscapes => "PATH_ESCAPE",
            Self::LinkLoop => "LINK_LOOP",
            Self::LinkDangling => "LINK_DANGLING",
            Self::NameNotUtf8 => "NAME_NOT_UTF8",
            Self::NameForbidden => "NAME_FORBIDDEN",
            Self::Special => "NOT_A_FILE",
        }
    }
}

/// The store behind the tree could not answer: try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: the tree can't be read: {why}")]
pub struct TreeFault {
    /// What was asked for.
    pub path: String,
    /// What the store said.
    pub why: String,
}

/// Why there are no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Try again.
    #[error(transparent)]
    Fault(#[from] TreeFault),
    /// Must not be read.
    #[error("{path} {refusal}")]
    Refused {
        /// What was asked for.
        path: RepoPath,
        /// Why not.
        refusal: TreeRefusal,
    },
    /// No file there.
    #[error("{path} is not a file")]
    NotAFile {
        /// What was asked for.
        path: RepoPath,
    },
}

/// A name in a folder, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One path component.
    pub name: String,
    /// What stands there.
    pub stat: Stat,
    /// Links that were followed to it, and where each led to; mostly none.
    pub links: Vec<RepoPath>,
}

/// The names in a folder, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those that have a proper name.
    pub entries: Vec<Entry>,
    /// Names that are not listed, as well as they can be shown, and why.
    pub refused: Vec<(String, TreeRefusal)>,
}

/// A tree of files. All calls may block and may come from any thread.
pub trait Tree: Send + Sync {
    /// What stands at `path`.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn stat(&self, path: &RepoPath) -> Result<Stat, TreeFault>;

    /// The bytes of the file at `path`.
    ///
    /// # Errors
    /// [`ReadError`] if there is no file that may be read, or the store can't answer.
    fn read(&self, path: &RepoPath) -> Result<Bytes, ReadError>;

    /// The names in the folder at `path`; nothing if there is no folder.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn list(&self, path: &RepoPath) -> Result<Listing, TreeFault>;

    /// Paths of the links that were followed to reach `path`, and where each led to.
    ///
    /// # Errors
    /// [`TreeFault`] if the store can't answer.
    fn links(&self, path: &RepoPath) -> Result<Vec<RepoPath>, TreeFault>;

    /// Names the whole tree: equal ids mean equal trees. Empty where the store doesn't know.
    fn id(&self) -> &str;
}
