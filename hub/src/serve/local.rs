//! The operators' own ways in: `operator.sock` and `operator.token` in the data folder, both readable by the hub's user
//! alone from the moment that they exist.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::UnixListener;

/// Why a way in can't be made.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The file system refuses.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others could read the token.
    #[error(
        "{path} may be read by others (mode {mode:03o}); take it away from them with chmod 600, or delete it to get a new one"
    )]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The token file holds no token.
    #[error("{path} must hold one line of at least 32 characters; delete it to get a new one")]
    BadToken {
        /// Which file.
        path: PathBuf,
    },
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> LocalError + '_ {
    |source| LocalError::File {
        path: path.to_owned(),
        source,
    }
}

/// The operators' token; made at first start.
pub fn token(data: &Path) -> Result<Arc<str>, LocalError> {
    let path = data.join("operator.token");
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match made {
        Ok(mut file) => {
            let mut bytes = [0u8; 32];
            SystemRandom::new()
                .fill(&mut bytes)
                .map_err(|_| at(&path)(std::io::Error::other("no randomness")))?;
            let token = URL_SAFE_NO_PAD.encode(bytes);
            file.write_all(format!("{token}\n").as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(at(&path))?;
            Ok(token.into())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mode = fs::metadata(&path).map_err(at(&path))?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(LocalError::TooOpen { path, mode });
            }
            let text = fs::read_to_string(&path).map_err(at(&path))?;
            let token = text.trim();
            if token.len() < 32 || token.chars().any(|c| !c.is_ascii_graphic()) {
                return Err(LocalError::BadToken { path });
            }
            Ok(token.into())
        }
        Err(error) => Err(at(&path)(error)),
    }
}

/// The operators' socket. It is bound in a folder that nobody else can enter, closed to others there, and then moved to
/// its place: at no moment can another user open it.
pub fn socket(data: &Path) -> Result<(UnixListener, PathBuf), LocalError> {
    let path = data.join("operator.sock");
    let hidden = tempfile_folder(data)?;
    let bound = hidden.join("s");
    let outcome = UnixListener::bind(&bound)
        .and_then(|listener| {
            fs::set_permissions(&bound, Permissions::from_mode(0o600))?;
            fs::rename(&bound, &path)?;
            Ok(listener)
        })
        .map_err(at(&path));
    let _ = fs::remove_dir_all(&hidden);
    Ok((outcome?, path))
}

fn tempfile_folder(data: &Path) -> Result<PathBuf, LocalError> {
    let path = data.join(format!(".sock-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
        .create(&path)
        .map_err(at(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        let first = token(data.path()).unwrap();
        assert_eq!(token(data.path()).unwrap(), first);
        let path = data.path().join("operator.token");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            token(data.path()),
            Err(LocalError::TooOpen { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short\n").unwrap();
        assert!(matches!(
            token(data.path()),
            Err(LocalError::BadToken { .. })
        ));
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_replaces_one_left_by_a_crash() {
        let data = tempfile::tempdir().unwrap();
        let (first, path) = socket(data.path()).unwrap();
        drop(first);
        let (_second, _) = socket(data.path()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(tokio::net::UnixStream::connect(&path).await.is_ok());
        assert_eq!(
            fs::read_dir(data.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}
