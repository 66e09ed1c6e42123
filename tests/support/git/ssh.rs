//! Repositories behind a real SSH server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    port,
    process::{Process, Spec},
    tool::Tool,
};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct SshServer {
    /// The process, to end it in the middle of something.
    pub process: Process,
    address: SocketAddr,
    keys: TempDir,
}

impl SshServer {
    /// Serves the repositories directly in `root` to one key.
    ///
    /// # Errors
    /// If the program can't be built or does not start.
    pub async fn start(root: &Path) -> anyhow::Result<SshServer> {
        let program = tokio::task::spawn_blocking(|| Tool::SshGit.path()).await??;
        let keys = tempfile::Builder::new()
            .prefix("countersign-ssh-")
            .tempdir()?;
        let made = Command::new(&program)
            .arg("keys")
            .arg(keys.path())
            .status()?;
        anyhow::ensure!(made.success(), "no keys were made: {made}");
        let address = port::free()?;
        let host =
            std::fs::read_to_string(keys.path().join("host.pub")).context("read the host key")?;
        std::fs::write(
            keys.path().join("known_hosts"),
            format!("[{}]:{} {host}", address.ip(), address.port()),
        )?;
        let mut process = Spec::new("sshgit", program, keys.path())
            .arg("serve")
            .arg(keys.path())
            .arg(root)
            .arg(address.to_string())
            .start()?;
        process.listening(address, START_LIMIT).await?;
        Ok(SshServer {
            process,
            address,
            keys,
        })
    }

    /// URL of the repository `name`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("ssh://git@{}/{name}", self.address)
    }

    /// The private key that may read.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.keys.path().join("id")
    }

    /// A key that the server does not know.
    #[must_use]
    pub fn other_key(&self) -> PathBuf {
        self.keys.path().join("host")
    }

    /// The file that names the host's key.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.keys.path().join("known_hosts")
    }
}
