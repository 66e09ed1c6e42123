//! The agent as a process.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::{
    cluster::Cluster,
    install_tls, port,
    process::{Process, Spec},
    program,
};

/// How long it may take to end in order.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Names of the folders of an agent that no network reaches.
const IMPORT: &str = "import";
const EXPORT: &str = "export";

/// How to start an agent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hub's URL for agents; empty for an agent that no network reaches.
    pub hub: String,
    /// The cluster's name in the fleet.
    pub cluster: String,
    /// The trust root: a path, or `sha256:<digest>`.
    pub trust: OsString,
    /// The single-use token of its registration.
    pub token: String,
    /// The cluster that it keeps, by kubeconfig.
    pub kubeconfig: PathBuf,
    /// Further arguments.
    pub args: Vec<OsString>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// An agent for `cluster` under the fleet's `name` for it.
    #[must_use]
    pub fn new(
        hub: String,
        name: &str,
        trust: impl Into<OsString>,
        token: &str,
        cluster: &Cluster,
    ) -> Self {
        Self {
            hub,
            cluster: name.to_owned(),
            trust: trust.into(),
            token: token.to_owned(),
            kubeconfig: cluster.kubeconfig().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// A running agent. Killed and started again it keeps its data; its data goes when this is dropped.
#[derive(Debug)]
pub struct Agent {
    /// The process as it runs now.
    pub process: Process,
    spec: Spec,
    folder: TempDir,
    listen: SocketAddr,
}

impl Agent {
    /// Starts an agent. It is not waited for: what it does shows in the cluster and at the hub.
    ///
    /// # Errors
    /// If the program can't be built or run.
    pub async fn start(options: Options) -> anyhow::Result<Agent> {
        install_tls();
        let program = tokio::task::spawn_blocking(|| program::path("countersign-agent")).await??;
        let folder = tempfile::Builder::new().prefix("cs-agent-").tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data)?;
        let listen = port::free()?;
        let token = folder.path().join("token");
        std::fs::write(&token, &options.token)?;
        let mut spec = Spec::new("agent", program, folder.path()).arg("run");
        if options.hub.is_empty() {
            for (flag, name) in [("--import-dir", IMPORT), ("--export-dir", EXPORT)] {
                std::fs::create_dir_all(folder.path().join(name))?;
                spec = spec.arg(flag).arg(folder.path().join(name));
            }
        } else {
            spec = spec.args(["--hub", &options.hub]);
        }
        for (flag, value) in [
            ("--cluster", OsString::from(&options.cluster)),
            ("--trust", options.trust.clone()),
            ("--token-file", token.into()),
            ("--data", data.into()),
            ("--kubeconfig", options.kubeconfig.clone().into()),
            // Several run on one machine: each takes a free port.
            ("--listen", listen.to_string().into()),
        ] {
            spec = spec.arg(flag).arg(value);
        }
        spec = spec.args(&options.args);
        for (name, value) in &options.env {
            spec = spec.env(name, value);
        }
        Ok(Agent {
            process: spec.start()?,
            spec,
            folder,
            listen,
        })
    }

    /// What it tells Prometheus.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let answer = reqwest::get(format!("http://{}/metrics", self.listen)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Starts it again after it was killed or has ended, with the same data.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process = self.spec.start()?;
        Ok(())
    }

    /// As [`Agent::restart`], with further arguments from now on.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn restart_with(&mut self, args: &[&str]) -> anyhow::Result<()> {
        self.process.kill()?;
        self.spec = self.spec.clone().args(args);
        self.process = self.spec.start()?;
        Ok(())
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// If it takes longer than it may, or ends with an error.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP_LIMIT).await?;
        anyhow::ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where a person puts parcels for it.
    #[must_use]
    pub fn imports(&self) -> PathBuf {
        self.folder.path().join(IMPORT)
    }

    /// Where its report lies.
    #[must_use]
    pub fn exports(&self) -> PathBuf {
        self.folder.path().join(EXPORT)
    }
}
