//! An agent in this process, against the hub.

use countersign_agent::{
    agent::{self, StartError},
    config::{Args, Command},
};
use countersign_tests::cluster::Cluster;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Hub, NAME};

/// A running agent.
pub(crate) struct Agent {
    pub(crate) task: JoinHandle<Result<(), StartError>>,
    stop: CancellationToken,
}

impl Agent {
    pub(crate) fn start(
        hub: &Hub,
        cluster: &Cluster,
        data: &std::path::Path,
        token: &str,
        namespace: &str,
    ) -> Self {
        Self::start_with(hub, cluster, data, token, namespace, &[])
    }

    /// [`Agent::start`] with further options, or others in their place. `namespace` is the agent's own.
    pub(crate) fn start_with(
        hub: &Hub,
        cluster: &Cluster,
        data: &std::path::Path,
        token: &str,
        namespace: &str,
        more: &[(&str, &str)],
    ) -> Self {
        let mut arguments = vec!["countersign-agent".to_owned(), "run".to_owned()];
        for (flag, value) in [
            ("--hub", format!("https://{}", hub.agents)),
            ("--cluster", NAME.to_owned()),
            (
                "--trust",
                hub.folder.path().join("trust.json").display().to_string(),
            ),
            ("--data", data.display().to_string()),
            ("--token", token.to_owned()),
            ("--kubeconfig", cluster.kubeconfig().display().to_string()),
            ("--namespace", namespace.to_owned()),
            ("--listen", "127.0.0.1:0".to_owned()),
        ] {
            if more.iter().all(|(other, _)| *other != flag) {
                arguments.extend([flag.to_owned(), value]);
            }
        }
        for (flag, value) in more {
            arguments.extend([(*flag).to_owned(), (*value).to_owned()]);
        }
        let args = Args::read(arguments.into_iter().map(Into::into).collect(), None).unwrap();
        let Command::Run(options) = args.command;
        let stop = CancellationToken::new();
        let task = tokio::spawn(agent::run(*options, stop.clone()));
        Self { task, stop }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it at once, as a kill would: nothing is given back.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
