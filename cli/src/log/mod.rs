//! A transparency log, read: from a folder, a copy on a laptop, a bucket or a web server. Nothing of it is believed before it was
//! checked against a checkpoint that the log's key signed.
//!
//! [`source`] fetches files by their path; [`known`] says whose signatures count, out of a file or out of the chain of trust
//! roots ([`trust`]) that lies beside the log; [`reader`] takes checkpoint, tiles, entries and blobs from the one under the keys of
//! the other. The one reader of `countersign log`, `audit`, `reproduce` and whatever else reads logs.

pub mod known;
pub mod reader;
pub mod source;
pub mod trust;

pub use known::{Known, KnownArgs, Signed};
pub use reader::{Log, LogError};
pub use source::{Fault, Files, SourceArgs};
pub use trust::Trust;
