//! `countersign permit`: a person's word for what is not done without one.

use clap::{Args, Subcommand};
use countersign_fleet::api::{Permit, PermitKind, PermitRequest, Permits};

use super::wait;
use crate::args::HubArgs;
use crate::exit::{CODES, Failure};
use crate::hub::Hub;
use crate::output::{Form, Style, Table, safe, write, write_value};

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign permit deletion cart --manifest sha256:9f86d08… --reason 'shop closes'
  countersign permit rewrite refs/heads/main 4b825dc642cb6eb9a060e54bf8d69288fbee4904 --reason 'history cleaned'
  countersign permit policies --set sha256:2c26b46… --reason 'jobs need no limits any more'
  countersign permit list

`countersign status` names what waits for a permit, and the digest or commit to give.

{CODES}"))]
pub struct PermitArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Allow to delete what one manifest's tombstones of an app name.
    #[command(after_help = "\
Example:
  countersign permit deletion cart --manifest sha256:9f86d08… --reason 'shop closes'")]
    Deletion {
        /// The app whose objects are deleted.
        app: String,
        /// Digest of the manifest with those tombstones: the permit counts for it alone.
        #[arg(long, value_name = "DIGEST")]
        manifest: String,
        /// Why; stands in the record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// Allow to take a commit to which the branch or tag did not move forward.
    #[command(after_help = "\
Example:
  countersign permit rewrite refs/heads/main 4b825dc642cb6eb9a060e54bf8d69288fbee4904 --reason 'history cleaned'")]
    Rewrite {
        /// The branch or tag, in full: refs/heads/main.
        reference: String,
        /// The commit, in full: the permit counts for it alone.
        commit: String,
        /// Why; stands in the record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// Allow to judge by a set of admission policies that lacks or changes one that was in force.
    #[command(after_help = "\
Example:
  countersign permit policies --set sha256:2c26b46… --reason 'jobs need no limits any more'")]
    Policies {
        /// Digest of the whole set: the permit counts for it alone.
        #[arg(long, value_name = "DIGEST")]
        set: String,
        /// Why; stands in the record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// List the permits that were given.
    #[command(after_help = "\
Example:
  countersign permit list -o json")]
    List {
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Form,
        #[command(flatten)]
        hub: HubArgs,
    },
}

/// Runs it.
pub fn run(args: &PermitArgs, color: bool) -> Result<(), Failure> {
    match &args.what {
        What::Deletion {
            app,
            manifest,
            reason,
            hub,
        } => {
            let permit = PermitKind::Deletion {
                app: app.clone(),
                manifest: digest(manifest),
            };
            give(hub, permit, reason)
        }
        What::Rewrite {
            reference,
            commit,
            reason,
            hub,
        } => {
            let permit = PermitKind::Rewrite {
                reference: reference.clone(),
                commit: commit.to_ascii_lowercase(),
            };
            give(hub, permit, reason)
        }
        What::Policies { set, reason, hub } => {
            give(hub, PermitKind::Policies { set: digest(set) }, reason)
        }
        What::List { output, hub } => {
            let permits: Permits = wait(Hub::from_args(hub)?.get("/api/v1/permits"))?;
            let mut out = std::io::stdout();
            match output {
                Form::Table => write(&mut out, &table(&permits).text(color)),
                Form::Json | Form::Yaml => write_value(*output, &permits, &mut out),
            }
        }
    }
}

/// As the hub names it, however a person wrote it.
fn digest(text: &str) -> String {
    text.strip_prefix("sha256:")
        .unwrap_or(text)
        .to_ascii_lowercase()
}

fn give(hub: &HubArgs, permit: PermitKind, reason: &str) -> Result<(), Failure> {
    let request = PermitRequest {
        permit,
        reason: reason.to_owned(),
    };
    let given: Permit = wait(Hub::from_args(hub)?.post("/api/v1/permits", &request))?;
    println!("permit {} given by {}", safe(&given.id), safe(&given.by));
    Ok(())
}

fn table(permits: &Permits) -> Table {
    let mut table = Table::new(&["TIME", "BY", "WHAT", "REASON", "ID"]);
    for permit in &permits.permits {
        let plain = |text: String| (text, Style::Plain);
        table.row([
            plain(permit.time.to_string()),
            plain(permit.by.clone()),
            plain(match permit.used {
                true => format!("{} (used)", words(&permit.permit)),
                false => words(&permit.permit),
            }),
            plain(permit.reason.clone()),
            (permit.id.chars().take(12).collect(), Style::Dim),
        ]);
    }
    table
}

/// A permit as the arguments that give it.
pub fn words(permit: &PermitKind) -> String {
    match permit {
        PermitKind::Deletion { app, manifest } => {
            format!("deletion {app} --manifest sha256:{manifest}")
        }
        PermitKind::Rewrite { reference, commit } => format!("rewrite {reference} {commit}"),
        PermitKind::Policies { set } => format!("policies --set sha256:{set}"),
    }
}
