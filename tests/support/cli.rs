//! The command line `countersign`, run as a person would, and what its `trust init` makes.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use countersign_ledger::{
    key::{FileKey, Sign as _},
    tlog::note::{KeyKind, Vkey},
    trust::log_name,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::program;

/// A command to run.
#[derive(Clone, Debug, Default)]
pub struct Cli {
    env: Vec<(OsString, OsString)>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What a program or a pipe would read.
    pub stdout: String,
    /// What a person would read.
    pub stderr: String,
}

impl Cli {
    /// With nothing but the test's own environment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// If it can't be built or run.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Output> {
        let output = Command::new(program::path("countersign")?)
            .args(args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .context("run countersign")?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it and returns its stdout.
    ///
    /// # Errors
    /// If it fails; the error holds what it said.
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
        let args: Vec<OsString> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        let output = self.run(&args)?;
        if output.code != Some(0) {
            bail!(
                "countersign {args:?} ended with {:?}:\n{}{}",
                output.code,
                output.stdout,
                output.stderr
            );
        }
        Ok(output.stdout)
    }

    /// Runs it and reads its stdout as JSON.
    ///
    /// # Errors
    /// If it fails or prints anything else.
    pub fn json<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Value> {
        let text = self.ok(args)?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

/// A fleet's first trust root, made by `countersign trust init` in a folder that goes when this is dropped.
#[derive(Debug)]
pub struct Trust {
    folder: TempDir,
}

impl Trust {
    /// Makes it. A cluster is `NAME=ENVIRONMENT` or `NAME=ENVIRONMENT:LEVEL`.
    ///
    /// # Errors
    /// If the command fails.
    pub fn init(fleet: &str, clusters: &[&str]) -> anyhow::Result<Self> {
        Self::init_with(&Cli::new(), fleet, clusters, &[])
    }

    /// [`Trust::init`] in the environment of `cli`, with further arguments.
    ///
    /// # Errors
    /// If the command fails.
    pub fn init_with(
        cli: &Cli,
        fleet: &str,
        clusters: &[&str],
        further: &[&str],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("countersign-trust-")
            .tempdir()?;
        let trust = Self { folder };
        let mut args: Vec<OsString> = ["trust", "init", "--fleet", fleet, "--out"]
            .map(OsString::from)
            .to_vec();
        args.push(trust.path().into());
        for cluster in clusters {
            args.extend(["--cluster".into(), (*cluster).into()]);
        }
        args.extend(further.iter().map(OsString::from));
        cli.ok(args)?;
        Ok(trust)
    }

    /// Makes the next trust root of these changes to the newest, as its owner does (`countersign trust add …`, `trust sign`);
    /// the document that the fleet began with stays where it is.
    ///
    /// # Errors
    /// If a command fails.
    pub fn next(&self, changes: &[&[&str]]) -> anyhow::Result<PathBuf> {
        let (current, draft) = (self.newest(), self.path().join("trust.next.json"));
        let files = |args: &[&str]| {
            let mut all: Vec<OsString> = vec!["trust".into()];
            all.extend(args.iter().map(OsString::from));
            all.extend(["--current".into(), current.clone().into()]);
            all
        };
        for change in changes {
            let mut args = files(change);
            args.extend(["--draft".into(), draft.clone().into()]);
            Cli::new().ok(args)?;
        }
        let mut sign = files(&["sign"]);
        sign.extend([draft.clone().into(), "--key".into(), self.root_key().into()]);
        Cli::new().ok(sign)?;
        Ok(draft)
    }

    /// The log's key, as a reader of the log knows it.
    ///
    /// # Errors
    /// If the hub's key can't be read.
    pub fn log_vkey(&self, fleet: &str) -> anyhow::Result<Vkey> {
        let pem = std::fs::read_to_string(self.hub_keys().join("log.key"))?;
        let key = FileKey::from_pem(&pem)?;
        Ok(Vkey::new(&log_name(fleet), KeyKind::Ed25519, key.public())?)
    }

    /// The folder that the command wrote.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The trust root document.
    #[must_use]
    pub fn document(&self) -> PathBuf {
        self.path().join("trust.json")
    }

    /// The newest trust root that was published.
    #[must_use]
    pub fn newest(&self) -> PathBuf {
        let newest = self.path().join("trust.newest.json");
        if newest.exists() {
            newest
        } else {
            self.document()
        }
    }

    /// What [`Trust::next`] made is the newest from here on.
    ///
    /// # Errors
    /// If the file can't be moved.
    pub fn published(&self, next: &Path) -> anyhow::Result<()> {
        Ok(std::fs::rename(
            next,
            self.path().join("trust.newest.json"),
        )?)
    }

    /// The person's root key, which no hub ever sees.
    #[must_use]
    pub fn root_key(&self) -> PathBuf {
        self.path().join("root.key")
    }

    /// The hub's online keys.
    #[must_use]
    pub fn hub_keys(&self) -> PathBuf {
        self.path().join("hub/keys")
    }
}
