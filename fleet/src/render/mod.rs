//! Rendering: `(tree, request) → objects`, done by a worker process that sees nothing but the tree.
//!
//! Read first: [`request`] (what goes in and comes out), [`files`] (what a render reads from), [`trace`] (what it did
//! read), [`failure`] (why it gave nothing). Then [`workers`], the pool of processes.
pub mod failure;
pub mod files;
mod hash;
pub mod request;
pub mod trace;

pub use failure::{Code, RenderFailure};
pub use files::{Files, FilesFault, FolderEntry, MemoryFiles, Stat};
pub use request::{Chart, Helm, How, RenderRequest, Rendered, RenderedObject, Values, WorkerId};
pub use trace::{Query, Seen, Trace};
