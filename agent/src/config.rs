//! Every option, once: as a flag, as an environment variable, and as a key of a TOML file.
//!
//! A flag wins over the environment, the environment over the file. The file's keys are the flags' names.

mod read;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use countersign_ledger::limits::CHECKPOINT_STALE_SECONDS;
use countersign_ledger::tlog::note::Vkey;

use crate::engine::Settings;
use crate::plan::rails::{self, KindPattern, Rails};

pub use read::reference;

/// Keeps one cluster as its signed desired state says.
#[derive(Debug, Parser)]
#[command(
    name = "countersign-agent",
    version,
    after_help = "Examples:\n  countersign-agent run --hub https://hub.example.org:7443 --cluster metal-fra --trust trust.json --token-file token\n  countersign-agent run --hub https://127.0.0.1:7443 --cluster eks --trust trust.json --kubeconfig ~/.kube/config"
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until stopped.
    Run(Box<Options>),
}

/// The options of `run`.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// TOML file with any of these options, by their names.
    #[arg(long, env = "COUNTERSIGN_AGENT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The hub's address, https://HOST:PORT.
    #[arg(long, env = "COUNTERSIGN_AGENT_HUB", value_name = "URL")]
    pub hub: Option<String>,
    /// Folder that is watched for parcels (`countersign export`), where no network leads to the hub.
    #[arg(long, env = "COUNTERSIGN_AGENT_IMPORT_DIR", value_name = "DIR")]
    pub import_dir: Option<PathBuf>,
    /// Folder where the agent's report lies, for a person to carry to the hub (`countersign import receipts`).
    #[arg(long, env = "COUNTERSIGN_AGENT_EXPORT_DIR", value_name = "DIR")]
    pub export_dir: Option<PathBuf>,
    /// Seconds that a checkpoint may be on its way in a parcel, from level witnessed on; a hub's own may be 900 old.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_IMPORT_MAX_AGE_SECONDS",
        value_name = "SECONDS",
        default_value = "2592000",
        value_parser = clap::value_parser!(u64).range(900..=31_536_000)
    )]
    pub import_max_age_seconds: u64,
    /// Name of the cluster, as in the trust root.
    #[arg(long, env = "COUNTERSIGN_AGENT_CLUSTER", value_name = "NAME")]
    pub cluster: String,
    /// The trust root: a file, or its digest (sha256:HEX); the hub then brings the document.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_TRUST",
        value_name = "FILE|sha256:DIGEST"
    )]
    pub trust: String,
    /// Folder of the agent's state and keys.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_DATA",
        value_name = "DIR",
        default_value = "/var/lib/countersign-agent"
    )]
    pub data: PathBuf,
    /// Secret in the agent's namespace that holds its keys, instead of the folder.
    #[arg(long, env = "COUNTERSIGN_AGENT_KEYS_SECRET", value_name = "NAME")]
    pub keys_secret: Option<String>,
    /// Single-use join token; only needed before the first certificate.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// File that holds the join token.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token"
    )]
    pub token_file: Option<PathBuf>,
    /// File with the token of the agent's service account for the audience countersign-hub:CLUSTER, to join by it instead of a join token.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_JOIN_SERVICE_ACCOUNT_TOKEN",
        value_name = "FILE"
    )]
    pub join_service_account_token: Option<PathBuf>,
    /// Kubeconfig to reach the cluster by; the pod's service account is used without it.
    #[arg(long, env = "COUNTERSIGN_AGENT_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_CONTEXT",
        value_name = "NAME",
        requires = "kubeconfig"
    )]
    pub context: Option<String>,
    /// Namespace of the agent, where its Lease stands.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_NAMESPACE",
        value_name = "NAME",
        default_value = "countersign"
    )]
    pub namespace: String,
    /// Kinds that may be written and deleted: *, *.GROUP, KIND (core group) or KIND.GROUP.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_ALLOW_KINDS",
        value_name = "KIND,…",
        value_delimiter = ',',
        default_value = "*"
    )]
    pub allow_kinds: Vec<KindPattern>,
    /// Kinds that may not, whatever is allowed.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_DENY_KINDS",
        value_name = "KIND,…",
        value_delimiter = ',',
        default_value = rails::DENIED
    )]
    pub deny_kinds: Vec<KindPattern>,
    /// Namespaces that may be written to; all but the agent's own if none is named.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_ALLOW_NAMESPACES",
        value_name = "NAME,…",
        value_delimiter = ','
    )]
    pub allow_namespaces: Vec<String>,
    /// Most objects that one state may delete; of a state that names more none is deleted.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_MAX_DELETES_PER_STATE",
        value_name = "N",
        default_value = rails::DELETES_MAX
    )]
    pub max_deletes_per_state: usize,
    /// Seconds between full compares of all objects, beside what the watch shows at once.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_COMPARE_EVERY",
        value_name = "SECONDS",
        default_value = "3600",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub compare_every: u64,
    /// Seconds after which a cluster on which nothing happened countersigns that nothing did.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_HEARTBEAT_SECONDS",
        value_name = "SECONDS",
        default_value = "3600",
        value_parser = clap::value_parser!(u64).range(1..=31_536_000)
    )]
    pub heartbeat_seconds: u64,
    /// Where to answer /healthz, /readyz and /metrics.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7444"
    )]
    pub listen: SocketAddr,
    /// Address at which this agent also serves as a witness of logs, best those of other fleets; without it, it is none.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_WITNESS_LISTEN",
        value_name = "ADDRESS",
        requires_all = ["witness_name", "witness_log"]
    )]
    pub witness_listen: Option<SocketAddr>,
    /// Name of the witness, a URL without scheme; final, as its key in --data/witness stands for it.
    #[arg(long, env = "COUNTERSIGN_AGENT_WITNESS_NAME", value_name = "NAME")]
    pub witness_name: Option<String>,
    /// A log that the witness follows, by its key NAME+ID+KEY; may be said often.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_WITNESS_LOG",
        value_name = "VKEY",
        value_delimiter = ','
    )]
    pub witness_log: Vec<Vkey>,
    /// Format of the log.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// What is logged, as of tracing's EnvFilter.
    #[arg(
        long,
        env = "COUNTERSIGN_AGENT_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}

impl Options {
    /// Seconds after which a cosigned checkpoint is too old.
    #[must_use]
    pub fn stale_seconds(&self) -> u64 {
        if self.import_dir.is_some() {
            self.import_max_age_seconds
        } else {
            CHECKPOINT_STALE_SECONDS
        }
    }

    /// What they say to the witness; none if this agent is to be none.
    #[must_use]
    pub fn witness(&self) -> Option<countersign_witness::Settings> {
        let (listen, name) = (self.witness_listen?, self.witness_name.clone()?);
        Some(countersign_witness::Settings {
            folder: self.data.join("witness"),
            name,
            logs: self.witness_log.clone(),
            listen,
        })
    }

    /// What they say to the engine.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            rails: Rails {
                allow: self.allow_kinds.clone(),
                deny: self.deny_kinds.clone(),
                namespaces: self.allow_namespaces.clone(),
                deletes_max: self.max_deletes_per_state,
                own_namespace: self.namespace.clone(),
                own_secret: self.keys_secret.clone(),
            },
            compare_every: Duration::from_secs(self.compare_every),
        }
    }
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The options can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{file}: {problem}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        problem: String,
    },
    /// A key that is no option.
    #[error("{file}: {key}: no such option; known: {known}")]
    UnknownKey {
        /// Which file.
        file: String,
        /// Which key.
        key: String,
        /// All options.
        known: String,
    },
    /// Where the hub's words come from is not clear.
    #[error(
        "name the hub by --hub URL, or the folder of its parcels by --import-dir DIR (and --export-dir beside it): one of the two"
    )]
    Hub,
    /// clap's own words: usage, help, version.
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

#[cfg(test)]
mod tests;
