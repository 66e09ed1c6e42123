//! Witnesses of transparency logs as handles: ours, and the `omniwitness` of another project.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::tlog::note::{KeyKind, Vkey};
use ring::rand::{SecureRandom as _, SystemRandom};
use tempfile::TempDir;

use crate::cli::Cli;
use crate::process::{Process, Spec};
use crate::tool::Tool;
use crate::{install_tls, port, program};

const START_LIMIT: Duration = Duration::from_secs(60);

/// `countersign witness` as a process; it ends, and forgets, when this is dropped.
#[derive(Debug)]
pub struct Witness {
    /// The process, for a crash in the middle of something.
    pub process: Process,
    spec: Spec,
    vkey: Vkey,
    address: SocketAddr,
    folder: TempDir,
}

impl Witness {
    /// Makes a witness of that name with `countersign witness init`, and runs it for these logs.
    ///
    /// # Errors
    /// If it can't be made or does not start.
    pub async fn start(name: &str, logs: &[Vkey]) -> anyhow::Result<Self> {
        install_tls();
        let folder = tempfile::Builder::new()
            .prefix("countersign-witness-")
            .tempdir()?;
        let data = folder.path().join("data");
        let address = port::free()?;
        Cli::new().ok([
            "witness",
            "init",
            "--name",
            name,
            "--data",
            &data.to_string_lossy(),
        ])?;
        let vkey = std::fs::read_to_string(data.join("witness.vkey"))?;
        let vkey = vkey.trim_end().parse().context("witness.vkey")?;
        let mut spec = Spec::new("witness", program::path("countersign")?, folder.path())
            .args(["witness", "run", "--listen", &address.to_string(), "--data"])
            .arg(&data);
        for log in logs {
            spec = spec.args(["--log", &log.to_string()]);
        }
        let mut process = spec.start()?;
        process.listening(address, START_LIMIT).await?;
        Ok(Self {
            process,
            spec,
            vkey,
            address,
            folder,
        })
    }

    /// Starts it again, after it was ended.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = self.spec.start()?;
        self.process.listening(self.address, START_LIMIT).await
    }

    /// Starts it again without waiting for more than its process.
    ///
    /// # Errors
    /// If it can't be run.
    pub fn try_restart(&mut self) -> anyhow::Result<()> {
        self.process = self.spec.start()?;
        Ok(())
    }

    /// Its key.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// Its private key, in a thief's hands.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn key(&self) -> anyhow::Result<FileKey> {
        let pem = std::fs::read_to_string(self.data().join("witness.key"))?;
        Ok(FileKey::from_pem(&pem)?)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// A witness policy for one log: `quorum` of these witnesses, each with the address where it is asked.
#[must_use]
pub fn policy(log: &Vkey, witnesses: &[(&Vkey, String)], quorum: usize) -> String {
    let mut text = format!("log {log}\n");
    let mut names = String::new();
    for (n, (vkey, url)) in witnesses.iter().enumerate() {
        text.push_str(&format!("witness w{n} {vkey} {url}\n"));
        names.push_str(&format!(" w{n}"));
    }
    text.push_str(&format!(
        "group all-of-them {quorum}{names}\nquorum all-of-them\n"
    ));
    text
}

/// The real omniwitness, listening on loopback alone and calling nobody.
#[derive(Debug)]
pub struct Omniwitness {
    /// The process.
    pub process: Process,
    vkey: Vkey,
    address: SocketAddr,
    _folder: TempDir,
}

impl Omniwitness {
    /// Starts one of that name, with a fresh key, for these logs.
    ///
    /// # Errors
    /// If it can't be built or does not start.
    pub async fn start(name: &str, logs: &[Vkey]) -> anyhow::Result<Self> {
        install_tls();
        let program = tokio::task::spawn_blocking(|| Tool::Omniwitness.path()).await??;
        let folder = tempfile::Builder::new()
            .prefix("countersign-omniwitness-")
            .tempdir()?;
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .ok()
            .context("no randomness")?;
        let key = FileKey::from_seed(&seed)?;
        std::fs::write(
            folder.path().join("key"),
            go_private_key(name, &seed, &key)?,
        )?;
        std::fs::write(folder.path().join("logs.yaml"), yaml(logs))?;
        let address = port::free()?;
        let mut process = Spec::new("omniwitness", program, folder.path())
            .args(["--listen", &address.to_string()])
            .args(["--metrics_listen", ""])
            .args(["--db_file", "witness.db", "--private_key_path", "key"])
            .args(["--additional_logs", "logs.yaml"])
            .start()?;
        process.listening(address, START_LIMIT).await?;
        Ok(Self {
            process,
            vkey: Vkey::new(name, KeyKind::Cosignature, key.public())?,
            address,
            _folder: folder,
        })
    }

    /// Its key.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A private key in the text form of Go's signed notes.
fn go_private_key(name: &str, seed: &[u8; 32], key: &FileKey) -> anyhow::Result<String> {
    let id = Vkey::new(name, KeyKind::Ed25519, key.public())?.id();
    let mut bytes = vec![1];
    bytes.extend_from_slice(seed);
    Ok(format!(
        "PRIVATE+KEY+{name}+{id:08x}+{}",
        STANDARD.encode(bytes)
    ))
}

fn yaml(logs: &[Vkey]) -> String {
    let mut text = "Logs:\n".to_owned();
    for log in logs {
        let origin = log.name();
        text.push_str(&format!(
            "  - Origin: {origin}\n    URL: http://127.0.0.1:1/\n    PublicKey: {log}\n"
        ));
    }
    text
}
