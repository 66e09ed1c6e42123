//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::exit::CODES;
use crate::output::ColorChoice;

/// Signed deployments for Kubernetes: what shall run, what does run, and who said so.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    max_term_width = 110,
    after_help = format!("\
Examples:
  countersign trust init --fleet acme --out keys --cluster metal-fra=production
  countersign cluster add metal-fra
  countersign status --watch
  countersign status --app cart
  countersign sync --wait

The hub is found by --data (its folder), --socket, or --hub with a token; each also by environment variable.

{CODES}")
)]
pub struct Cli {
    /// When to colour the output.
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN")]
    pub color: ColorChoice,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the fleet, a cluster or an app: sync, health, drift.
    Status(command::status::StatusArgs),
    /// Find every mistake in a fleet's files.
    Lint(command::lint::LintArgs),
    /// Render what a cluster shall run, to standard output.
    Render(command::render::RenderArgs),
    /// Show what a revision or the working directory would change on each cluster.
    Diff(command::diff::DiffArgs),
    /// Pin every chart and repository that Apps name elsewhere, in countersign.lock.
    Lock(command::lock::LockArgs),
    /// Make the hub look at the repository now.
    Sync(command::sync::SyncArgs),
    /// Ask clusters for their signed word now.
    Verify(command::verify::VerifyArgs),
    /// Allow a change that needs a person's word.
    Permit(command::permit::PermitArgs),
    /// Let nothing new be applied, for a time.
    Pause(command::overrides::PauseArgs),
    /// End pauses before their time.
    Resume(command::overrides::ResumeArgs),
    /// Let one state of a cluster be applied while witnesses are away.
    BreakGlass(command::overrides::GlassArgs),
    /// Show what override keys signed, and what became of it.
    Override(command::overrides::OverrideArgs),
    /// Answer an auditor's questions from the signed log, offline too.
    Audit(command::audit::AuditArgs),
    /// Say in the log what CI changes below the clusters.
    Attest(command::attest::AttestArgs),
    /// Give CI its tokens.
    Ci(command::ci::CiArgs),
    /// Make and read trust roots.
    Trust(command::trust::TrustArgs),
    /// Let clusters join.
    Cluster(command::cluster::ClusterArgs),
    /// Read and check transparency logs: every hash, a proof, a fork.
    Log(command::log::LogArgs),
    /// Render what was sealed once more, elsewhere, and say whether the same comes out.
    Reproduce(command::reproduce::ReproduceArgs),
    /// Make and run a witness, which cosigns what a log may not take back.
    Witness(command::witness::WitnessArgs),
    /// Write a cluster's newest state to a file, where no network leads to it.
    Export(command::export::ExportArgs),
    /// Bring in the files of such a cluster.
    Import(command::import::ImportArgs),
    /// Judge objects offline, by the agent's rules.
    Health(command::health::HealthArgs),
    /// Print completions for a shell.
    Completions(command::completions::CompletionsArgs),
    /// Print or write manual pages.
    Man(command::completions::ManArgs),
}

/// How the hub is reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the hub is")]
pub struct HubArgs {
    /// The hub's data folder; its operator.sock is used [default: /var/lib/countersign-hub].
    #[arg(long, env = "COUNTERSIGN_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The hub's socket.
    #[arg(
        long,
        env = "COUNTERSIGN_SOCKET",
        value_name = "FILE",
        conflicts_with = "hub"
    )]
    pub socket: Option<PathBuf>,
    /// The hub's address for operators, on this machine: http://127.0.0.1:PORT.
    #[arg(long, env = "COUNTERSIGN_HUB", value_name = "URL")]
    pub hub: Option<String>,
    /// File with the operators' token, for --hub; else operator.token in --data, else COUNTERSIGN_TOKEN.
    #[arg(long, env = "COUNTERSIGN_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}
