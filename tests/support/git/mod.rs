//! Git repositories to push to, rewrite and serve.

mod repo;
mod server;
mod signer;
mod ssh;

pub use repo::{Bare, GitRepo};
pub use server::{GitServer, Recorded};
pub use signer::SshSigner;
pub use ssh::SshServer;
