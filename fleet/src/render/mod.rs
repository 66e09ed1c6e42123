//! Rendering: `(tree, request) → objects`, done by a worker process that sees nothing but the tree.
//!
//! Read first: [`request`] (what goes in and comes out), [`files`] (what a render reads from), [`trace`] (what it did
//! read), [`failure`] (why it gave nothing). Then [`workers`], the pool; under it `process` (one worker, its limits),
//! `answer` (questions about files), `frame` and `wire` (the protocol). [`sandbox`] runs in the worker's own process,
//! before the renderer does.
mod answer;
pub mod config;
pub mod failure;
pub mod files;
pub mod frame;
mod hash;
mod process;
pub mod request;
pub mod sandbox;
pub mod trace;
pub(crate) mod wire;
pub mod workers;

pub use config::{Config, Launcher};
pub use failure::{Code, RenderFailure};
pub use files::{Files, FilesFault, FolderEntry, MemoryFiles, Stat};
pub(crate) use hash::hex_sha256;
pub use request::{Chart, Helm, How, RenderRequest, Rendered, RenderedObject, Values, WorkerId};
pub use trace::{Query, Seen, Trace};
pub use workers::Workers;

#[cfg(test)]
pub(crate) mod tests;
