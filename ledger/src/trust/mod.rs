//! The trust root: who may sign what. Written by people, signed by root keys that are never online.
//!
//! [`document`] is the plain content that anybody may write; [`VerifiedRoot`] is one whose signatures were checked;
//! [`Roots`] is a pinned one and those that follow it; [`Windows`] says from which place of the log on each is in effect.

pub mod document;
pub mod draft;
#[cfg(not(target_arch = "wasm32"))]
pub mod init;
mod root;
mod succession;
mod windows;

pub use document::{
    ClusterTrust, Level, LogTrust, NamedKey, Person, PersonKey, RoleKey, RootRole, SealerKey,
    TrustRoot, TrustRootError, WitnessTrust, log_name,
};
pub use root::VerifiedRoot;
pub use succession::Roots;
pub use windows::{Holds, OutOfOrder, Role, Windows};

#[cfg(test)]
mod tests;
