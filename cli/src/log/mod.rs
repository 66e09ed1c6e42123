//! A transparency log, read: from a folder, a copy on a laptop, or a web server. Nothing of it is believed before it was
//! checked against a checkpoint that the log's key signed.
//!
//! [`source`] fetches files by their path; [`known`] says whose signatures count; [`reader`] takes checkpoint, tiles and
//! entries from the one under the keys of the other. Used by `countersign log` and by whatever else reads logs.

pub mod known;
pub mod reader;
pub mod source;

pub use known::{Known, KnownArgs};
pub use reader::{Reader, Signed};
pub use source::{Source, SourceArgs};
