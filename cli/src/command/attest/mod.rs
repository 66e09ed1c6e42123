//! `countersign attest infrastructure`: CI says in the log what a Terraform plan changes, or changed, below the clusters.
//!
//! In: the output of `terraform show -json`. Out of this machine go the plan's digest and a list of addresses and actions,
//! never a value. [`plan`] reads, [`way`] proves who we are, the hub's door takes it.

mod plan;
mod way;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use countersign_ledger::digest::Digest;
use countersign_ledger::statement::Infrastructure;
use countersign_ledger::statement::infrastructure::Phase;

use crate::entry::{Door, DoorArgs, Entered};
use crate::exit::{CODES, Failure};
use crate::key::KEY_HELP;
use crate::output::{safe, write};

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Example:
  terraform show -json plan.out > plan.json
  countersign attest infrastructure --plan plan.json --environment prod --workspace eks-prod --hub https://hub.example:8443 --key ci.key

{CODES}"))]
pub struct AttestArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put into the log what a Terraform plan changes, or that it was applied.
    #[command(after_help = format!("\
Examples:
  countersign attest infrastructure --plan plan.json --environment prod --workspace eks-prod --hub https://hub.example:8443 --key ci.key
  countersign attest infrastructure --plan plan.json --phase apply --environment prod --workspace eks-prod --hub https://hub.example:8443 --token-file ci.token
  countersign attest infrastructure --plan plan.json --environment prod --workspace eks-prod --hub https://hub.example:8443 --github-oidc

Of the plan the SHA-256 of the file leaves this machine, and addresses with their actions: no values, no variables, no outputs.
Give the same file after the apply, with --phase apply, so that both entries name the same plan. The same words again get the
same place in the log.

Who signs: a key that the trust root lists under \"ci\" (--key), or the hub, for a token that its operator made
(`countersign ci token`) or for the identity token of a GitHub workflow that its operator allowed (--github-oidc).

{KEY_HELP}"))]
    Infrastructure(Box<InfrastructureArgs>),
}

/// Arguments of `infrastructure`.
#[derive(Debug, Args)]
pub struct InfrastructureArgs {
    /// What `terraform show -json PLAN` printed; "-" for standard input.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Planned or applied.
    #[arg(long, value_enum, default_value_t)]
    phase: PhaseName,
    /// The environment below whose clusters it changes something.
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// The Terraform workspace.
    #[arg(long, value_name = "NAME")]
    workspace: String,
    /// The commit that the plan was made of [default: GITHUB_SHA, CI_COMMIT_SHA].
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// CI's run, by URL or number [default: that of GitHub or GitLab].
    #[arg(long, value_name = "TEXT")]
    run: Option<String>,
    /// Write the proof that the entry is in the log to this file [default: PLAN.tlog-proof].
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Whom GitHub's token is for; as the hub's operator configured it.
    #[arg(long, value_name = "TEXT", default_value = way::AUDIENCE)]
    audience: String,
    #[command(flatten)]
    way: way::WayArgs,
    #[command(flatten)]
    door: DoorArgs,
}

/// How far the change is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum PhaseName {
    /// It would change this.
    #[default]
    Plan,
    /// It changed this.
    Apply,
}

/// Runs it.
pub fn run(args: &AttestArgs) -> Result<(), Failure> {
    let What::Infrastructure(args) = &args.what;
    let bytes = bytes_of(&args.plan)?;
    let mistake = |e: plan::PlanMistake| {
        Failure::Mistake(format!(
            "--plan {}: {e}",
            safe(&args.plan.display().to_string())
        ))
    };
    let changes = plan::read(&bytes).map_err(mistake)?;
    let door = Door::open(&args.door)?;
    let said = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let statement = Infrastructure {
        workspace: args.workspace.clone(),
        plan: Digest::of(&bytes),
        fleet: door.root.fleet().to_owned(),
        environment: args.environment.clone(),
        phase: match args.phase {
            PhaseName::Plan => Phase::Plan,
            PhaseName::Apply => Phase::Apply,
        },
        addresses: changes.counts,
        resources: Digest::of(&changes.list),
        commit: args
            .commit
            .clone()
            .or_else(|| commit(said))
            .unwrap_or_default(),
        run: args
            .run
            .clone()
            .or_else(|| run_of(said))
            .unwrap_or_default(),
        by: String::new(),
    };
    let entered = way::enter(&args.way, &args.audience, &door, statement, changes.list)?;
    let proof = match (&args.proof, args.plan == Path::new("-")) {
        (Some(path), _) => path.clone(),
        (None, true) => PathBuf::from("plan.tlog-proof"),
        (None, false) => args.plan.with_extension("tlog-proof"),
    };
    std::fs::write(&proof, entered.proof.bytes()).map_err(|e| Failure::file(&proof, &e))?;
    write(
        &mut std::io::stdout(),
        &told(&changes.counts, &entered, &proof),
    )
}

fn told(
    counts: &countersign_ledger::statement::infrastructure::AddressCounts,
    entered: &Entered,
    proof: &Path,
) -> String {
    format!(
        "In the log as entry {}: {} to create, {} to update, {} to delete, {} to replace.\nProof: {}\n",
        entered.index,
        counts.create,
        counts.update,
        counts.delete,
        counts.replace,
        safe(&proof.display().to_string()),
    )
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .take(plan::PLAN_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).map_err(|e| Failure::file(path, &e))?;
        file.take(plan::PLAN_BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(|e| Failure::file(path, &e))?;
    if bytes.len() as u64 > plan::PLAN_BYTES_MAX {
        return Err(Failure::Mistake(format!(
            "--plan: larger than {} MiB",
            plan::PLAN_BYTES_MAX >> 20
        )));
    }
    Ok(bytes)
}

/// The commit, as GitHub and GitLab say it.
fn commit(said: impl Fn(&str) -> Option<String>) -> Option<String> {
    said("GITHUB_SHA").or_else(|| said("CI_COMMIT_SHA"))
}

/// The run, as GitHub and GitLab say it.
fn run_of(said: impl Fn(&str) -> Option<String>) -> Option<String> {
    let github = || {
        let (server, repository) = (said("GITHUB_SERVER_URL")?, said("GITHUB_REPOSITORY")?);
        let run = said("GITHUB_RUN_ID")?;
        Some(format!("{server}/{repository}/actions/runs/{run}"))
    };
    github().or_else(|| said("CI_JOB_URL"))
}
