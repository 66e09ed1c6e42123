//! Keys as files of mode 0600 in a folder.

use std::io::{self, Write as _};
use std::path::PathBuf;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use zeroize::Zeroizing;

use super::KeyStore;

/// A folder; files are 0600. They are small and few: reading and writing them holds up nobody.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Writes the content whole beside its place; the path that it has there.
    fn beside(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let scratch = self.0.join(format!(".{name}.new"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = crate::saved::private(options.write(true).create(true).truncate(true))
            .open(&scratch)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(scratch)
    }

    fn sync(&self) -> io::Result<()> {
        std::fs::File::open(&self.0)?.sync_all()
    }
}

impl KeyStore for Folder {
    fn read<'a>(
        &'a self,
        name: &'static str,
    ) -> BoxFuture<'a, io::Result<Option<Zeroizing<Vec<u8>>>>> {
        let read = match std::fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        async { read }.boxed()
    }

    fn make<'a>(&'a self, name: &'static str, content: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        let made = self.beside(name, content).and_then(|scratch| {
            // A link, unlike a rename, fails where something is.
            std::fs::hard_link(&scratch, self.0.join(name))?;
            std::fs::remove_file(&scratch)?;
            self.sync()
        });
        async { made }.boxed()
    }

    fn replace<'a>(
        &'a self,
        name: &'static str,
        content: &'a [u8],
    ) -> BoxFuture<'a, io::Result<()>> {
        let replaced = self.beside(name, content).and_then(|scratch| {
            std::fs::rename(&scratch, self.0.join(name))?;
            self.sync()
        });
        async { replaced }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_replaced_by_name_and_never_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder(dir.path().to_owned());
        let now = |future: BoxFuture<'_, io::Result<()>>| future.now_or_never().unwrap();
        now(folder.make("a", b"1")).unwrap();
        let again = now(folder.make("a", b"2")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"1");
        now(folder.replace("a", b"3")).unwrap();
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"3");
    }
}
