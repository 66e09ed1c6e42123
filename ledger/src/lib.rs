//! The signed formats and their verification: data in, data out; no file, socket, clock or randomness of its own.
//!
//! Read [`verify`] first: it is what an agent trusts. What it reads is made by [`statement`], [`manifest`] and
//! [`trust`], wrapped by [`dsse`], and written as bytes by [`json`].
#![forbid(unsafe_code)]

pub mod bundle;
pub mod claim;
pub mod commit;
pub mod deletion;
pub mod digest;
pub mod dsse;
pub mod fork;
pub mod identity;
pub mod json;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod nonce;
pub mod receipt;
pub mod refusal;
pub mod secret;
pub mod statement;
pub mod time;
pub mod tlog;
pub mod trust;
pub mod verify;

pub use digest::Digest;
pub use identity::ObjectId;
pub use refusal::Refusal;
