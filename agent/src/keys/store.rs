//! Where keys are kept.

use std::io;

use futures::future::BoxFuture;
use zeroize::Zeroizing;

/// Keeps small secret texts by name.
pub trait KeyStore: Send + Sync {
    /// The content of `name`; none when it was never kept.
    ///
    /// # Errors
    /// When it may be there but can't be read: a new key must not be made then.
    fn read<'a>(
        &'a self,
        name: &'static str,
    ) -> BoxFuture<'a, io::Result<Option<Zeroizing<Vec<u8>>>>>;

    /// Keeps `name` durably, for the first time.
    ///
    /// # Errors
    /// `AlreadyExists` when somebody else made it meanwhile: what is there is never replaced. Otherwise when it could not
    /// be kept.
    fn make<'a>(&'a self, name: &'static str, content: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;

    /// Keeps `name` durably, in place of what was there.
    ///
    /// # Errors
    /// When it could not be kept.
    fn replace<'a>(
        &'a self,
        name: &'static str,
        content: &'a [u8],
    ) -> BoxFuture<'a, io::Result<()>>;
}
