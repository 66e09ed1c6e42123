//! Watches one Git ref and publishes where it moved, newest only.
//!
//! In: a repository (local path, HTTPS, SSH), a ref, wakes by webhook, file watcher, timer or command. Out: [`Moved`] on
//! a watch channel and [`TrackState`] for people. A ref that moves to anything but a descendant stays where it was until
//! a person permits it. Nothing is ever checked out: objects are copied into a bare mirror and read from there.
//!
//! Read `tracker` for the loop, `follow` for one look, `refmove` for the rule, `mirror` for where objects live. `url`, `refname`, `signer`,
//! `pktline`, `protocol`, `packguard`, `treecheck`, `refmove`, `poll` decide and do no I/O; the others act.

pub mod follow;
pub mod id;
pub mod limits;
pub mod local;
pub mod mirror;
pub mod packguard;
pub mod pktline;
pub mod poll;
pub mod protocol;
pub mod refmove;
pub mod refname;
pub mod remote;
pub mod signer;
pub mod tracker;
pub mod treecheck;
pub mod trouble;
pub mod url;
pub mod webhook;

pub use id::{CommitId, TreeId};
pub use refname::RefName;
pub use tracker::{Moved, TrackConfig, TrackHandle, TrackState, Tracker};
pub use trouble::Trouble;
pub use url::Source;
