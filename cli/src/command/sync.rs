//! `countersign sync`: look at the repository now, and wait until the clusters run what was found.

use std::time::{Duration, Instant};

use clap::Args;
use countersign_fleet::api::{Connection, Fleet, HealthState, SourceState, SyncStarted, SyncState};
use jiff::Timestamp;

use super::wait;
use crate::args::HubArgs;
use crate::exit::Failure;
use crate::hub::{Hub, part};
use crate::output::safe;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign sync
  countersign sync --wait
  countersign sync --wait --cluster metal-fra --timeout 120

With --wait the answer is no (exit code 1) if the commit is refused, or a cluster does not get there in time.

{}", crate::exit::CODES))]
pub struct SyncArgs {
    /// Wait until connected clusters run the newest commit and are healthy.
    #[arg(long)]
    wait: bool,
    /// Wait for this cluster only; it counts even if it is away.
    #[arg(long, value_name = "NAME", requires = "wait")]
    cluster: Option<String>,
    /// Seconds to wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "wait", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    hub: HubArgs,
}

/// Between two looks at the hub.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs it.
pub fn run(args: &SyncArgs) -> Result<(), Failure> {
    let hub = Hub::from_args(&args.hub)?;
    let cluster = args
        .cluster
        .as_deref()
        .map(|name| part("cluster", name))
        .transpose()?;
    wait(async {
        let started: SyncStarted = hub.post("/api/v1/sync", &serde_json::json!({})).await?;
        if !args.wait {
            println!("the hub looks at the repository now");
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_secs(args.timeout);
        loop {
            let fleet: Fleet = hub.get("/api/v1/fleet").await?;
            match progress(&fleet, started.requested, cluster.as_deref())? {
                Progress::Done => {
                    let commit = fleet
                        .source
                        .commit
                        .as_ref()
                        .map_or("nothing", |commit| commit.id.as_str());
                    println!("synced to {}", safe(commit));
                    return Ok(());
                }
                Progress::Waiting(what) if Instant::now() >= deadline => {
                    return Err(Failure::Negative(format!(
                        "not synced after {} s: {what}",
                        args.timeout
                    )));
                }
                Progress::Waiting(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    })
}

/// How far a sync has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// All wanted clusters run the newest commit.
    Done,
    /// What is waited for.
    Waiting(String),
}

/// Judges a look at the hub; an error is a final no. Pure.
fn progress(
    fleet: &Fleet,
    requested: Timestamp,
    wanted: Option<&str>,
) -> Result<Progress, Failure> {
    let looked = fleet
        .source
        .checked
        .is_some_and(|checked| checked >= requested);
    if !looked {
        return Ok(Progress::Waiting(
            "the hub has not looked at the repository yet".to_owned(),
        ));
    }
    match fleet.source.state {
        SourceState::Starting | SourceState::Working => {
            return Ok(Progress::Waiting(
                "the newest commit is being rendered, checked and sealed".to_owned(),
            ));
        }
        SourceState::Unreachable | SourceState::Refused => {
            return Err(Failure::Negative(format!(
                "{} ({})",
                safe(&fleet.source.message),
                safe(&fleet.source.code)
            )));
        }
        SourceState::UpToDate => {}
    }
    if let Some(name) = wanted
        && !fleet.clusters.iter().any(|cluster| cluster.name == name)
    {
        return Err(Failure::Mistake(format!(
            "the trust root lists no cluster {}",
            safe(name)
        )));
    }
    let open = fleet
        .clusters
        .iter()
        .filter(|cluster| match wanted {
            Some(name) => cluster.name == name,
            None => cluster.connection == Connection::Connected,
        })
        .find(|cluster| {
            cluster.generation_applied != cluster.generation_sealed
                || cluster.sync != SyncState::Synced
                || cluster.health > HealthState::Suspended
        });
    Ok(match open {
        None => Progress::Done,
        Some(cluster) => Progress::Waiting(format!(
            "{} is {} and {}{}{}",
            safe(&cluster.name),
            cluster.sync,
            cluster.health,
            if cluster.message.is_empty() { "" } else { ": " },
            safe(&cluster.message)
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::status::tests::fleet;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_sync_is_done_when_connected_clusters_run_the_newest_commit() {
        let mut now = fleet();
        now.source.checked = Some(at(10));
        assert!(
            matches!(progress(&now, at(11), None), Ok(Progress::Waiting(_))),
            "not looked yet"
        );
        now.clusters[0].generation_applied = now.clusters[0].generation_sealed;
        now.clusters[0].sync = SyncState::Synced;
        now.clusters[0].health = HealthState::Healthy;
        assert_eq!(progress(&now, at(10), None).unwrap(), Progress::Done);
        now.clusters[0].health = HealthState::Degraded;
        assert!(matches!(
            progress(&now, at(10), None),
            Ok(Progress::Waiting(_))
        ));
        now.clusters[0].connection = Connection::Away;
        assert_eq!(
            progress(&now, at(10), None).unwrap(),
            Progress::Done,
            "who is away is not waited for"
        );
        let name = now.clusters[0].name.clone();
        assert!(
            matches!(
                progress(&now, at(10), Some(&name)),
                Ok(Progress::Waiting(_))
            ),
            "unless named"
        );
        assert!(matches!(
            progress(&now, at(10), Some("nowhere")),
            Err(Failure::Mistake(_))
        ));
        now.source.state = SourceState::Refused;
        assert!(matches!(
            progress(&now, at(10), None),
            Err(Failure::Negative(_))
        ));
    }
}
