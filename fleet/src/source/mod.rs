//! Charts and repositories from elsewhere, always by the digest that stands in the lock file.
//!
//! In: a pin of `countersign.lock`. Out: bytes whose SHA-256 is the pin's, or a commit's tree. An index or a tag is read
//! only while the lock file is written ([`resolve`]), never for a render. A credential belongs to one host and never
//! reaches another one ([`credentials`], [`http`]).
//!
//! Read first: [`lock`] (what is pinned), [`fetch`] (a pin → bytes), [`resolve`] (an App → a pin). `web`, `credentials`,
//! `index`, `range`, `dependency`, `archive` decide and do no I/O; `http`, `cache`, `helm`, `oci` act.
pub mod archive;
pub mod cache;
pub mod credentials;
pub mod dependency;
pub mod error;
pub mod fetch;
pub mod helm;
pub mod http;
pub mod index;
pub mod lock;
pub mod oci;
pub mod range;
pub mod resolve;
pub mod unpinned;
pub mod web;

#[cfg(test)]
mod tests;

pub use credentials::Access;
pub use error::SourceError;
pub use fetch::{Fetcher, GitRefs, GitSources};
pub use http::Http;
