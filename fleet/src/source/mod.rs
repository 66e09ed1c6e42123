//! Charts and repositories from elsewhere, always by the digest that stands in the lock file.
//!
//! Read first: [`lock`] (what is pinned).
pub mod lock;
