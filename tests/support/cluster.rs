//! A real Kubernetes control plane, as a handle.
//!
//! The supervisor ([`Tool::TestCluster`]) ends everything when its stdin closes. Our end of that pipe closes when the handle
//! is dropped and when this process ends, whatever ends it; the folder goes with it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;

use crate::{install_tls, port, tool::Tool};

/// Names an existing cluster to use in place of one of our own: the path of its kubeconfig.
pub const EXISTING: &str = "COUNTERSIGN_TEST_KUBECONFIG";

/// The label of every namespace that a test makes: `kubectl delete namespace -l countersign.dev/test` cleans up.
const TEST_LABEL: &str = "countersign.dev/test";

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Simulated nodes and their labels; Pods become ready on them. Empty: no node, and Pods stay pending.
    pub nodes: Vec<(String, Vec<(String, String)>)>,
    /// Keep it, its keys and its data in this folder, which is used again and never deleted.
    pub folder: Option<PathBuf>,
    /// The API server's port; a free one if absent. With `folder`, the same cluster comes back where it was.
    pub port: Option<u16>,
    /// Whether etcd syncs each write to disk.
    pub fsync: bool,
    /// Write the API server's audit log, one JSON line a request; see [`Cluster::audit`].
    pub audit: bool,
    /// Further arguments of the API server.
    pub apiserver_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: vec![("node-1".to_owned(), Vec::new())],
            folder: None,
            port: None,
            fsync: false,
            audit: false,
            apiserver_args: Vec::new(),
        }
    }
}

/// A running control plane; it ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    server: String,
    pids: BTreeMap<String, u32>,
    audit: Option<PathBuf>,
    supervisor: Option<Supervisor>,
}

#[derive(Debug)]
struct Supervisor {
    process: Child,
    /// Open as long as the cluster shall run.
    input: Option<ChildStdin>,
}

/// The supervisor's one line.
#[derive(Deserialize)]
struct Ready {
    kubeconfig: PathBuf,
    server: String,
    pids: BTreeMap<String, u32>,
}

impl Cluster {
    /// The cluster that all tests of this process share, started by the first. Take a [`Cluster::namespace`] in it.
    ///
    /// # Errors
    /// If it could not be started; every caller gets the same answer.
    pub async fn shared() -> anyhow::Result<&'static Cluster> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let started = tokio::task::spawn_blocking(|| {
            SHARED.get_or_init(|| Self::existing_or_new().map_err(|error| format!("{error:#}")))
        });
        started
            .await?
            .as_ref()
            .map_err(|error| anyhow::anyhow!("the shared test cluster: {error}"))
    }

    /// A cluster of its own, ready for use.
    ///
    /// # Errors
    /// If a tool can't be built or a part of the control plane ends; the error shows the end of its log.
    pub async fn start(options: Options) -> anyhow::Result<Cluster> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    fn existing_or_new() -> anyhow::Result<Cluster> {
        match std::env::var_os(EXISTING) {
            Some(path) => Self::existing(Path::new(&path)),
            None => Self::start_blocking(&Options::default()),
        }
    }

    /// A cluster that is there already, by its kubeconfig; nothing of it is ended.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn existing(path: &Path) -> anyhow::Result<Cluster> {
        install_tls();
        let kubeconfig = Kubeconfig::read_from(path)
            .with_context(|| format!("{EXISTING}={}", path.display()))?;
        let server = kubeconfig
            .clusters
            .iter()
            .find_map(|named| named.cluster.as_ref()?.server.clone());
        Ok(Cluster {
            kubeconfig: path.to_owned(),
            server: server.unwrap_or_default(),
            pids: BTreeMap::new(),
            audit: None,
            supervisor: None,
        })
    }

    fn start_blocking(options: &Options) -> anyhow::Result<Cluster> {
        install_tls();
        let program = Tool::TestCluster.path()?;
        let kwok = if options.nodes.is_empty() {
            None
        } else {
            Some(Tool::Kwok.path()?)
        };
        let folder = match &options.folder {
            Some(folder) => folder.clone(),
            None => {
                std::env::temp_dir().join(format!("countersign-cluster-{:016x}", port::random()))
            }
        };
        let audit = options.audit.then(|| folder.join("audit.jsonl"));
        let mut supervisor = Command::new(program)
            .args(arguments(
                options,
                &folder,
                kwok.as_deref(),
                audit.as_deref(),
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the test cluster")?;
        let input = supervisor.stdin.take();
        let output = supervisor
            .stdout
            .take()
            .context("the supervisor has no output")?;
        let mut errors = supervisor
            .stderr
            .take()
            .context("the supervisor has no error output")?;
        // Dropped, and so ended, if anything below fails.
        let mut handle = Supervisor {
            process: supervisor,
            input,
        };

        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() {
            let mut text = String::new();
            errors.read_to_string(&mut text)?;
            handle.end();
            bail!("the test cluster did not start:\n{}", text.trim());
        }
        // From here on it writes to stderr only when a part dies, which the test then wants to show.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::stderr()));
        let ready: Ready =
            serde_json::from_str(&line).with_context(|| format!("the supervisor says {line:?}"))?;
        Ok(Cluster {
            kubeconfig: ready.kubeconfig,
            server: ready.server,
            pids: ready.pids,
            audit,
            supervisor: Some(handle),
        })
    }

    /// The path of an administrator's kubeconfig, which pins the API server's authority.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's URL.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The process id of a part, `kube-apiserver` for one; `None` in a cluster that isn't ours.
    #[must_use]
    pub fn pid(&self, part: &str) -> Option<u32> {
        self.pids.get(part).copied()
    }

    /// The process id of the supervisor, whose children all parts are; `None` in a cluster that isn't ours.
    #[must_use]
    pub fn supervisor(&self) -> Option<u32> {
        self.supervisor
            .as_ref()
            .map(|supervisor| supervisor.process.id())
    }

    /// The API server's audit log, if [`Options::audit`] asked for one.
    #[must_use]
    pub fn audit(&self) -> Option<&Path> {
        self.audit.as_deref()
    }

    /// A client with all rights. It belongs to the runtime that it is made in: each test makes its own.
    ///
    /// # Errors
    /// If the kubeconfig can't be read.
    pub async fn client(&self) -> anyhow::Result<Client> {
        install_tls();
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // The default retries a refused request up to 15 times, unseen; a test wants to see.
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// Makes a namespace that no other test uses and returns its name.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn namespace(&self) -> anyhow::Result<String> {
        let name = format!("test-{:012x}", port::random() & 0xffff_ffff_ffff);
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(TEST_LABEL.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::<Namespace>::all(self.client().await?)
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(name)
    }
}

fn arguments(
    options: &Options,
    folder: &Path,
    kwok: Option<&Path>,
    audit: Option<&Path>,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["up".into(), "--dir".into(), folder.into()];
    if options.folder.is_none() {
        args.push("--remove".into());
    }
    if let Some(kwok) = kwok {
        args.extend(["--kwok".into(), kwok.into()]);
    }
    for (name, labels) in &options.nodes {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        args.extend([
            "--nodes".into(),
            format!("{name}={}", labels.join(",")).into(),
        ]);
    }
    if let Some(port) = options.port {
        args.extend(["--port".into(), port.to_string().into()]);
    }
    if options.fsync {
        args.push("--fsync".into());
    }
    if let Some(audit) = audit {
        args.extend(["--audit".into(), audit.into()]);
    }
    for arg in &options.apiserver_args {
        args.push(format!("--apiserver-arg={arg}").into());
    }
    args
}

impl Supervisor {
    /// Closes its input and waits until every part has ended.
    fn end(&mut self) {
        drop(self.input.take());
        // It ends by itself now; an error means that it has already.
        let _ = self.process.wait();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_supervisors_arguments() {
        let options = Options {
            nodes: vec![(
                "eks-1".to_owned(),
                vec![
                    ("runtime".to_owned(), "eks".to_owned()),
                    ("a".to_owned(), "b".to_owned()),
                ],
            )],
            port: Some(17),
            fsync: true,
            apiserver_args: vec!["--v=2".to_owned()],
            ..Options::default()
        };
        let args = arguments(
            &options,
            Path::new("/d"),
            Some(Path::new("/k")),
            Some(Path::new("/d/a")),
        );
        let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(
            args.join(" "),
            "up --dir /d --remove --kwok /k --nodes eks-1=runtime=eks,a=b --port 17 --fsync --audit /d/a --apiserver-arg=--v=2"
        );
    }

    #[test]
    fn a_folder_of_the_callers_is_never_deleted() {
        let options = Options {
            folder: Some("/mine".into()),
            nodes: Vec::new(),
            ..Options::default()
        };
        let args = arguments(&options, Path::new("/mine"), None, None);
        assert_eq!(args, ["up", "--dir", "/mine"]);
    }
}
