//! Git repositories to push to, rewrite and serve.

mod repo;
mod server;
mod signer;

pub use repo::{Bare, GitRepo};
pub use server::{GitServer, Recorded};
pub use signer::SshSigner;
