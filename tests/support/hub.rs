//! The hub as a process.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    cli::Trust,
    install_tls, port,
    process::{Process, Spec},
    program,
    tool::Tool,
};

/// How long a hub may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end in order.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How to start a hub.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tracked repository: a path or a URL.
    pub repo: String,
    /// The trust root document.
    pub trust: PathBuf,
    /// The folder of its online keys.
    pub keys: PathBuf,
    /// The render worker; built if absent.
    pub renderer: Option<PathBuf>,
    /// Further arguments, `--webhook-secret-file` for one.
    pub args: Vec<OsString>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// A hub that tracks `repo` with the keys of `trust`.
    #[must_use]
    pub fn new(repo: impl Into<String>, trust: &Trust) -> Self {
        Self {
            repo: repo.into(),
            trust: trust.document(),
            keys: trust.hub_keys(),
            renderer: None,
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

/// A running hub. Killed and started again it keeps its data and its addresses; its data goes when this is dropped.
#[derive(Debug)]
pub struct Hub {
    /// The process as it runs now.
    pub process: Process,
    spec: Spec,
    agents: SocketAddr,
    operators: SocketAddr,
    folder: TempDir,
}

impl Hub {
    /// Starts a hub and waits until it serves agents and operators.
    ///
    /// # Errors
    /// If a program can't be built, or it ends; the error shows the end of its log.
    pub async fn start(options: Options) -> anyhow::Result<Hub> {
        install_tls();
        let (program, renderer) = tokio::task::spawn_blocking({
            let renderer = options.renderer.clone();
            move || -> anyhow::Result<_> {
                let renderer = renderer.map_or_else(|| Tool::Renderer.path(), Ok)?;
                Ok((program::path("countersign-hub")?, renderer))
            }
        })
        .await??;
        // Not under `target`: the path of the operators' socket has to stay below 108 bytes.
        let folder = tempfile::Builder::new().prefix("cs-hub-").tempdir()?;
        let (agents, operators) = (port::free()?, port::free()?);
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data)?;
        let args = arguments(&options, &data, &renderer, agents, operators);
        let mut spec = Spec::new("hub", program, folder.path()).args(args);
        for (name, value) in &options.env {
            spec = spec.env(name, value);
        }
        let process = spec.start()?;
        let mut hub = Hub {
            process,
            spec,
            agents,
            operators,
            folder,
        };
        hub.serving().await?;
        Ok(hub)
    }

    /// Starts it again after it was killed or has ended, with the same data, keys and addresses.
    ///
    /// # Errors
    /// As [`Hub::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process = self.spec.start()?;
        self.serving().await
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// If it takes longer than it may, or ends with an error.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP_LIMIT).await?;
        anyhow::ensure!(status.success(), "the hub ended with {status}");
        Ok(())
    }

    /// Where agents connect.
    #[must_use]
    pub fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Where agents connect, as the agent's `--hub` takes it.
    #[must_use]
    pub fn agents_url(&self) -> String {
        format!("https://{}", self.agents)
    }

    /// Where operators connect.
    #[must_use]
    pub fn operators_url(&self) -> String {
        format!("http://{}", self.operators)
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file of the token that an operator's request over TCP must bear.
    #[must_use]
    pub fn operator_token(&self) -> PathBuf {
        self.data().join("operator.token")
    }

    /// The operators' socket.
    #[must_use]
    pub fn operator_socket(&self) -> PathBuf {
        self.data().join("operator.sock")
    }

    async fn serving(&mut self) -> anyhow::Result<()> {
        self.process.listening(self.agents, START_LIMIT).await?;
        self.process.listening(self.operators, START_LIMIT).await
    }
}

fn arguments(
    options: &Options,
    data: &Path,
    renderer: &Path,
    agents: SocketAddr,
    operators: SocketAddr,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["serve".into()];
    for (flag, value) in [
        ("--repo", OsString::from(&options.repo)),
        ("--data", data.into()),
        ("--trust", options.trust.clone().into()),
        ("--keys", options.keys.clone().into()),
        ("--listen", agents.to_string().into()),
        ("--operator-listen", operators.to_string().into()),
        ("--renderer", renderer.into()),
    ] {
        args.extend([flag.into(), value]);
    }
    args.extend(options.args.iter().cloned());
    args
}
