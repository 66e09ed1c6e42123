//! `countersign ci token`: a token with which one workspace's CI has the hub sign for it.

use clap::{Args, Subcommand};
use countersign_fleet::api::ci::{CiToken, CiTokenRequest};

use super::wait;
use crate::args::HubArgs;
use crate::exit::{CODES, Failure};
use crate::hub::Hub;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Example:
  countersign ci token --workspace eks-prod --environment prod --name nightly --for 1h > ci.token

{CODES}"))]
pub struct CiArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token for one workspace and environment; it is printed, and only it.
    #[command(after_help = "\
Example:
  countersign ci token --workspace eks-prod --environment prod --name nightly --for 1h > ci.token

With it `countersign attest infrastructure --token-file ci.token` says what CI did; the hub signs for it and names the token.
The hub keeps nothing of it: it counts until it ends, a day at most. A key of CI's own in the trust root is worth more.")]
    Token {
        /// The one workspace.
        #[arg(long, value_name = "NAME")]
        workspace: String,
        /// The one environment.
        #[arg(long, value_name = "ENV")]
        environment: String,
        /// Whose it is; stands in the log.
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// How long it counts: 90s, 30m, 1h; a minute to a day.
        #[arg(long = "for", value_name = "TIME", value_parser = seconds, default_value = "1h")]
        seconds: u64,
        #[command(flatten)]
        hub: HubArgs,
    },
}

/// Runs it.
pub fn run(args: &CiArgs) -> Result<(), Failure> {
    let What::Token {
        workspace,
        environment,
        name,
        seconds,
        hub,
    } = &args.what;
    let request = CiTokenRequest {
        workspace: workspace.clone(),
        environment: environment.clone(),
        name: name.clone(),
        seconds: *seconds,
    };
    let made: CiToken = wait(Hub::from_args(hub)?.post("/api/v1/ci-tokens", &request))?;
    println!("{}", made.token);
    Ok(())
}

/// Reads a time with its unit.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "must be a number and s, m or h".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok())
        .ok_or_else(wrong)?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("24h"), Ok(86_400));
        for wrong in ["", "1", "h", "1d", "-1h", "99999999999999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
