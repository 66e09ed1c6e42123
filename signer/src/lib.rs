//! Who signs. [`Signer`] has the shape of a KMS: asynchronous, one message of at most 4,096 bytes, the key never seen.
//!
//! The hub signs with its online keys through it, `countersign` with a person's or CI's. What is signed, and whether it
//! may be, is decided elsewhere.
#![forbid(unsafe_code)]

mod file;

use countersign_ledger::key::{PublicKey, SignFault};
use futures::future::BoxFuture;

pub use file::{FileSigner, KeyFileError, Missing, is_open_to_others, write_key_file};

/// Signs with one key.
pub trait Signer: Send + Sync + 'static {
    /// The key's public half.
    fn public(&self) -> PublicKey;
    /// Signs `message`, at most 4,096 bytes.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; 64], SignFault>>;
}
