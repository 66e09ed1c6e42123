//! `countersign lock`: pins what Apps name elsewhere, so that a render reads the same bytes for ever. No hub is asked.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use countersign_fleet::source::lock::LOCK_FILE;
use countersign_fleet::source::resolve::{Request, Resolved, changes, resolve};

use super::wait;
use crate::exit::Failure;
use crate::local::{FleetArgs, Local};
use crate::output::{safe, write};
use crate::sources::SourceArgs;

/// Pin every chart and repository that Apps name elsewhere, in countersign.lock.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  countersign lock                    pins what is new, keeps what is pinned
  countersign lock --update wallet    looks the sources of one App up anew
  countersign lock --check            for CI: changes nothing

A chart of a Helm repository or registry is pinned by the SHA-256 of its archive or
manifest, another repository by its commit, and the charts that a chart needs like
itself. What no App names any more is dropped. Commit the file: the hub fetches by it.

Exit codes:
  0  the file is whole
  1  --check: it is not
  2  a source can't be pinned; file, line and field are named, and nothing was written
  3  a fault: a host can't be reached; asking again may help")]
pub struct LockArgs {
    /// Look the sources of this App up anew; may be given more than once.
    #[arg(long, value_name = "APP", conflicts_with = "check")]
    update: Vec<String>,
    /// Only say what is not pinned, or pinned in vain.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    sources: SourceArgs,
}

/// Runs the command.
pub fn run(args: &LockArgs) -> Result<(), Failure> {
    let local = Local::open(&args.fleet.repo, None)?;
    usable(&local)?;
    let update: BTreeSet<String> = args.update.iter().cloned().collect();
    if let Some(name) = update
        .iter()
        .find(|name| !local.fleet.apps.contains_key(*name))
    {
        let known: Vec<&str> = local.fleet.apps.keys().map(String::as_str).collect();
        return Err(Failure::Mistake(format!(
            "there is no app {}; there are: {}",
            safe(name),
            known.join(", ")
        )));
    }
    let resolved = wait(async {
        let fetcher = args.sources.fetcher()?;
        let request = Request {
            tree: &local.tree,
            fleet: &local.fleet,
            update: &update,
            check: args.check,
        };
        resolve(&fetcher, request)
            .await
            .map_err(|fault| Failure::Fault(fault.to_string()))
    })?;
    let changes = changes(&local.fleet.lock, &resolved.lock);
    if args.check {
        return checked(&resolved, &changes);
    }
    unresolved(&resolved)?;
    let out = &mut std::io::stdout();
    if changes.is_empty() {
        return write(out, &format!("{LOCK_FILE} is whole\n"));
    }
    let text = resolved
        .lock
        .text()
        .map_err(|error| Failure::Fault(error.to_string()))?;
    replace(&args.fleet.repo, &text)?;
    write(out, &lines(&changes))
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| safe(line) + "\n").collect()
}

/// An App that can't be read names nothing: its pins would be dropped.
fn usable(local: &Local) -> Result<(), Failure> {
    let broken: Vec<String> = local
        .mistakes
        .iter()
        .filter(|mistake| mistake.problem.breaks())
        .map(|mistake| safe(&mistake.to_string()))
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::Mistake(format!(
        "the fleet's files have mistakes; the lock was left as it is\n{}",
        broken.join("\n")
    )))
}

fn checked(resolved: &Resolved, changes: &[String]) -> Result<(), Failure> {
    let mut said: Vec<String> = resolved.problems.iter().map(ToString::to_string).collect();
    said.extend(
        changes
            .iter()
            .map(|change| format!("{LOCK_FILE}: {change}")),
    );
    if said.is_empty() {
        return write(&mut std::io::stdout(), &format!("{LOCK_FILE} is whole\n"));
    }
    write(&mut std::io::stdout(), &lines(&said))?;
    Err(Failure::Negative(format!(
        "{LOCK_FILE} is not whole; run `countersign lock`"
    )))
}

fn unresolved(resolved: &Resolved) -> Result<(), Failure> {
    if resolved.problems.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = resolved
        .problems
        .iter()
        .map(|problem| safe(&problem.to_string()))
        .collect();
    let text = format!("nothing was written\n{}", all.join("\n"));
    // Only if nothing but faults is in the way does asking again help.
    if resolved.problems.iter().all(|problem| problem.fault) {
        Err(Failure::Fault(text))
    } else {
        Err(Failure::Mistake(text))
    }
}

/// The file is there whole or as it was.
fn replace(repo: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = repo.join(LOCK_FILE);
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(repo)?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|error| Failure::file(&path, &error))
}
