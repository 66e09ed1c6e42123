//! `countersign cluster add`: a single-use token for an agent, and the command that uses it. `countersign cluster revoke`: an agent
//! speaks no more.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use countersign_fleet::api::{JoinToken, JoinTokenRequest, Revocation, RevokeRequest};

use super::wait;
use crate::args::HubArgs;
use crate::exit::{CODES, Failure};
use crate::hub::{Hub, part};
use crate::output::safe;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign cluster add metal-fra
  countersign cluster add metal-fra --replace --join-token-file -
  countersign cluster revoke metal-fra --reason \"its node was stolen\"

{CODES}"))]
pub struct ClusterArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a join token for a cluster of the trust root.
    #[command(after_help = "\
Examples:
  countersign cluster add metal-fra
  countersign cluster add metal-fra --replace
  countersign cluster add metal-fra --join-token-file - | kubectl -n countersign create secret generic countersign-join --from-file=token=/dev/stdin

The token serves one agent, within fifteen minutes.")]
    Add {
        /// The cluster's name, as in the trust root.
        name: String,
        /// Let the new agent take the place of the one that is registered; the old one's key counts no longer.
        #[arg(long)]
        replace: bool,
        /// Where the token is written, readable by you alone [default: NAME.join-token]; "-" prints it, and only it.
        #[arg(long, value_name = "FILE")]
        join_token_file: Option<PathBuf>,
        #[command(flatten)]
        hub: HubArgs,
    },
    /// Take an agent's word away: at once, and in the log.
    #[command(after_help = "\
Examples:
  countersign cluster revoke metal-fra --reason \"its node was stolen\"

The agent's streams end, its certificate counts no more and is not renewed, and it says so where it runs. What the cluster
runs goes on, and is healed. A new agent, with a new key, joins by `countersign cluster add NAME --replace`.")]
    Revoke {
        /// The cluster's name, as in the trust root.
        name: String,
        /// Why; it stands in the log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        hub: HubArgs,
    },
}

/// Runs it.
pub fn run(args: &ClusterArgs) -> Result<(), Failure> {
    match &args.what {
        What::Add {
            name,
            replace,
            join_token_file,
            hub,
        } => add(name, *replace, join_token_file.as_deref(), hub),
        What::Revoke { name, reason, hub } => revoke(name, reason, hub),
    }
}

fn revoke(name: &str, reason: &str, hub: &HubArgs) -> Result<(), Failure> {
    let name = part("cluster", name)?;
    let path = format!("/api/v1/clusters/{name}/revoke");
    let request = RevokeRequest {
        reason: reason.to_owned(),
    };
    let done: Revocation = wait(Hub::from_args(hub)?.post(&path, &request))?;
    print!("{}", revoked(&done));
    Ok(())
}

/// What the person is told. Pure.
fn revoked(done: &Revocation) -> String {
    let at = match (done.index, &done.pending) {
        (Some(index), _) => format!("The log says so at entry {index}."),
        (None, Some(why)) => format!(
            "The log does not say so yet ({}); ask again, or the hub says it at its next start.",
            safe(why)
        ),
        (None, None) => "This fleet has no log that could say so.".to_owned(),
    };
    format!(
        "The agent of {cluster} (key {key}) speaks no more since {since}: {reason}\n{at}\n\
         What the cluster runs goes on. A new agent joins by `countersign cluster add {cluster} --replace`.\n",
        cluster = safe(&done.cluster),
        key = safe(done.key.get(..16).unwrap_or(&done.key)),
        since = done.since,
        reason = safe(&done.reason),
    )
}

fn add(
    name: &str,
    replace: bool,
    join_token_file: Option<&Path>,
    hub: &HubArgs,
) -> Result<(), Failure> {
    let name = part("cluster", name)?;
    let file = join_token_file.map_or_else(
        || PathBuf::from(format!("{name}.join-token")),
        Path::to_owned,
    );
    let path = format!("/api/v1/clusters/{name}/join-token");
    let request = JoinTokenRequest { replace };
    let token: JoinToken = wait(Hub::from_args(hub)?.post(&path, &request))?;
    if file.as_os_str() == "-" {
        println!("{}", token.token);
        return Ok(());
    }
    write_secret(&file, &token.token)?;
    print!("{}", told(&token, &file));
    Ok(())
}

/// What the person is told. Pure.
fn told(token: &JoinToken, file: &Path) -> String {
    let hub = if token.hub.is_empty() {
        "https://HUB:7443"
    } else {
        &token.hub
    };
    format!(
        "The join token for {cluster} is in {file}. It serves one agent, until {expires}.\n\n\
         Outside of the cluster:\n\
         \x20 countersign-agent run --hub {hub} --cluster {cluster} \\\n\
         \x20   --trust {trust} --token-file {file}\n\n\
         In the cluster:\n\
         \x20 kubectl create namespace countersign\n\
         \x20 kubectl -n countersign create secret generic countersign-agent-join --from-file=token={file}\n\
         \x20 helm install countersign-agent manifests/countersign-agent -n countersign \\\n\
         \x20   --set hub={hub} --set cluster={cluster} \\\n\
         \x20   --set trust.configMap= --set trust.digest={trust} --set join.secret=countersign-agent-join\n",
        cluster = safe(&token.cluster),
        file = safe(&file.display().to_string()),
        expires = token.expires,
        hub = safe(hub),
        trust = safe(&token.trust),
    )
}

/// Writes a file that its owner alone can read; an older one is replaced.
fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::file(path, &error)),
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|e| Failure::file(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_person_is_told_the_whole_command_and_never_the_secret() {
        let token = JoinToken {
            cluster: "metal-fra".into(),
            token: "cst_secret".into(),
            expires: jiff::Timestamp::UNIX_EPOCH,
            trust: "sha256:abc".into(),
            hub: "https://hub.example.com:7443".into(),
        };
        let text = told(&token, Path::new("metal-fra.join-token"));
        assert!(text.contains(
            "countersign-agent run --hub https://hub.example.com:7443 --cluster metal-fra"
        ));
        assert!(text.contains("--trust sha256:abc --token-file metal-fra.join-token"));
        assert!(!text.contains("cst_secret"));
    }

    #[test]
    fn whoever_revokes_is_told_since_when_and_where_the_log_says_so() {
        let done = Revocation {
            cluster: "metal-fra".into(),
            key: "ab".repeat(32),
            reason: "stolen\u{1b}[2J".into(),
            by: "uid 0".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
            index: Some(7),
            pending: None,
        };
        let text = revoked(&done);
        assert!(text.contains("entry 7") && text.contains("cluster add metal-fra --replace"));
        assert!(!text.contains('\u{1b}'));
        let pending = Revocation {
            index: None,
            pending: Some("busy".into()),
            ..done
        };
        assert!(revoked(&pending).contains("does not say so yet (busy)"));
    }

    #[test]
    fn a_token_file_is_its_owners_alone_even_over_an_older_open_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write_secret(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
