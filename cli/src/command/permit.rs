//! `countersign permit`: a person's word for what is not done without one.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_fleet::api::{Permit, PermitKind, PermitRequest, Permits};
use countersign_ledger::statement::override_::OverrideKind;
use jiff::{SignedDuration, Timestamp};

use super::overrides::{self, WordArgs};
use super::wait;
use crate::args::HubArgs;
use crate::entry::DoorArgs;
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
  countersign permit deletion cart --manifest sha256:9f86d08… --cluster metal-fra --reason 'shop closes' \\
    --key ada.pem --hub https://hub.example:8443 --trust trust.json
  countersign permit list

`countersign status` names what waits for a permit, and the digest or commit to give.

Where the trust root lists people for overrides, one of them signs the permit (--key): it goes into the log, ends by itself,
and is used once. --hub is then the hub's address for agents, and the other options for operators are not used.

{CODES}"))]
pub struct PermitArgs {
    #[command(subcommand)]
    what: What,
}

/// How a permit is given: by an operator of this hub, or signed.
#[derive(Debug, Args)]
struct Given {
    /// Why; stands in the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Sign it with this key, which the trust root lists under "overriders": a file, vault:<mount>/<key> or awskms:<arn>.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// With --key, how long it may be used: 30m, 2h, 3d; at most 30d.
    #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = overrides::long)]
    long: SignedDuration,
    /// With --key, certificates (PEM) to trust for the hub, such as hub-ca.crt, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "key")]
    ca: Option<PathBuf>,
    /// With --key, the fleet's trust root.
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    trust: PathBuf,
    #[command(flatten)]
    hub: HubArgs,
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
        /// Digest that `countersign status` names: the permit counts for exactly those objects.
        #[arg(long, value_name = "DIGEST")]
        manifest: String,
        /// The cluster on which they are; needed with --key.
        #[arg(long, value_name = "CLUSTER")]
        cluster: Option<String>,
        #[command(flatten)]
        given: Given,
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
        #[command(flatten)]
        given: Given,
    },
    /// Allow to judge by a set of admission policies that lacks or changes one that was in force.
    #[command(after_help = "\
Example:
  countersign permit policies --set sha256:2c26b46… --reason 'jobs need no limits any more'")]
    Policies {
        /// Digest of the whole set: the permit counts for it alone.
        #[arg(long, value_name = "DIGEST")]
        set: String,
        #[command(flatten)]
        given: Given,
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
            cluster,
            given,
        } => {
            let permit = PermitKind::Deletion {
                app: app.clone(),
                manifest: digest(manifest),
            };
            give(given, permit, cluster.as_deref())
        }
        What::Rewrite {
            reference,
            commit,
            given,
        } => {
            let permit = PermitKind::Rewrite {
                reference: reference.clone(),
                commit: commit.to_ascii_lowercase(),
            };
            give(given, permit, None)
        }
        What::Policies { set, given } => {
            let set = digest(set);
            give(given, PermitKind::Policies { set }, None)
        }
        What::List { output, hub } => {
            let permits: Permits = wait(Hub::from_args(hub)?.get("/api/v1/permits"))?;
            let mut out = std::io::stdout();
            match output {
                Form::Table => write(&mut out, &table(&permits, Timestamp::now()).text(color)),
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

fn give(given: &Given, permit: PermitKind, cluster: Option<&str>) -> Result<(), Failure> {
    if let Some(key) = &given.key {
        return sign(given, key, &permit, cluster);
    }
    let request = PermitRequest {
        permit,
        reason: given.reason.clone(),
    };
    let hub = Hub::from_args(&given.hub)?;
    let given: Permit = wait(hub.post("/api/v1/permits", &request))?;
    println!("permit {} given by {}", safe(&given.id), safe(&given.by));
    Ok(())
}

/// The same as a person's signed word, into the log.
fn sign(
    given: &Given,
    key: &str,
    permit: &PermitKind,
    cluster: Option<&str>,
) -> Result<(), Failure> {
    let mistake = |text: &str| Failure::Mistake(text.to_owned());
    let url = given.hub.hub.as_deref();
    let url = url.ok_or_else(|| mistake("--hub: is needed with --key: https://HOST:PORT"))?;
    let word = WordArgs {
        long: given.long,
        reason: given.reason.clone(),
        key: key.to_owned(),
        door: DoorArgs {
            hub: url
                .parse()
                .map_err(|error| Failure::Mistake(format!("--hub: {error}")))?,
            ca: given.ca.clone(),
            trust: given.trust.clone(),
        },
    };
    let (kind, app, what) = act(permit);
    if kind == OverrideKind::Deletion && cluster.is_none() {
        return Err(mistake(
            "--cluster: is needed with --key: `countersign status` names the cluster that waits",
        ));
    }
    overrides::say(&word, kind, cluster.map(str::to_owned), app, what)
}

/// What a person signs for it.
fn act(permit: &PermitKind) -> (OverrideKind, Option<String>, String) {
    match permit {
        PermitKind::Deletion { app, manifest } => {
            (OverrideKind::Deletion, Some(app.clone()), manifest.clone())
        }
        PermitKind::Rewrite { reference, commit } => {
            (OverrideKind::Rewrite, None, format!("{reference} {commit}"))
        }
        PermitKind::Policies { set } => (OverrideKind::Policies, None, set.clone()),
    }
}

fn table(permits: &Permits, now: Timestamp) -> Table {
    let mut table = Table::new(&["TIME", "BY", "WHAT", "REASON", "ID"]);
    for permit in &permits.permits {
        let plain = |text: String| (text, Style::Plain);
        let state = match permit.until {
            _ if permit.used => " (used)".to_owned(),
            None if permits.signed_only => " (unsigned: does not count)".to_owned(),
            None => String::new(),
            Some(until) if permit.holds(now) => format!(" (until {until})"),
            Some(_) => " (ended)".to_owned(),
        };
        table.row([
            plain(permit.time.to_string()),
            plain(permit.by.clone()),
            plain(words(&permit.permit) + &state),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_was_asked_for() {
        let (digest, commit) = ("ab".repeat(32), "1".repeat(40));
        let deletion = PermitKind::Deletion {
            app: "cart".into(),
            manifest: digest.clone(),
        };
        let signed = (OverrideKind::Deletion, Some("cart".into()), digest.clone());
        assert_eq!(act(&deletion), signed);
        let rewrite = PermitKind::Rewrite {
            reference: "refs/heads/main".into(),
            commit: commit.clone(),
        };
        let signed = (
            OverrideKind::Rewrite,
            None,
            format!("refs/heads/main {commit}"),
        );
        assert_eq!(act(&rewrite), signed);
        let policies = PermitKind::Policies {
            set: digest.clone(),
        };
        assert_eq!(act(&policies), (OverrideKind::Policies, None, digest));
    }

    #[test]
    fn the_list_says_which_permits_still_allow_something() {
        let permit = |used, until: Option<i64>| Permit {
            id: "0123456789abcdef".into(),
            permit: PermitKind::Policies { set: "s".into() },
            reason: "r".into(),
            by: "ada".into(),
            time: Timestamp::UNIX_EPOCH,
            used,
            until: until.and_then(|second| Timestamp::from_second(second).ok()),
            entry: until.map(|_| 7),
        };
        let permits = Permits {
            permits: vec![
                permit(false, None),
                permit(false, Some(5)),
                permit(false, Some(4)),
                permit(true, Some(5)),
            ],
            signed_only: true,
        };
        let now = Timestamp::from_second(4).unwrap();
        let text = table(&permits, now).text(false);
        for state in [
            "(unsigned: does not count)",
            "(until 1970",
            "(ended)",
            "(used)",
        ] {
            assert_eq!(text.matches(state).count(), 1, "{state}\n{text}");
        }
    }
}
