//! `countersign reproduce`: a second renderer, run by somebody else on a clone of their own. It renders each sealed state
//! again and says, signed and in the log, whether the same came out.
//!
//! `feed` follows the log, `clone` has the commits, `second` renders and judges (the judgement itself stands in
//! `countersign_fleet::reproduce`), `permits` knows what people allowed to delete, `word` signs and hands in, `memory` remembers, `round` puts them together.

mod clone;
mod feed;
mod identity;
mod memory;
mod numbers;
mod permits;
mod round;
mod salts;
mod second;
mod word;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::exit::{CODES, Failure};
use crate::local::RendererArgs;
use crate::output::safe;
use feed::Feed;
use memory::Kept;
use round::Work;
use second::Second;
use word::Mouth;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign reproduce --repo https://git.example/fleet.git --log https://hub.example:7443/log --ca hub-ca.crt \\
    --trust trust.json --key second.key --hub https://hub.example:7443 --data second
  countersign reproduce --once --repo fleet --log backup/store --trust trust.json

A second renderer is worth what its distance to the hub is worth: another machine, other hands, a clone that the hub can't
write. At level reproduced agents apply a state only once it agreed. Without --key it signs nothing and only looks: so a
forged state is found on any level, from a copy of the log, with no network.

An app counts as reproduced if all of it is what the commit renders to, or all of it stands as in the last state that was
reproduced (it failed, or was held back; that is printed). What is deleted must follow from the two.

Secrets that SOPS encrypted are rendered with --age-identity; without one a state that has any stays open.

{CODES}"))]
pub struct ReproduceArgs {
    /// The fleet's repository: a folder that you keep current, or a URL that is fetched with your git into --data.
    #[arg(long, value_name = "URL|DIR")]
    repo: String,
    /// The log: a folder, s3://BUCKET/PREFIX, or a URL such as https://hub.example:7443/log.
    #[arg(long, env = "COUNTERSIGN_LOG", value_name = "PLACE")]
    log: String,
    /// The trust root that you were given.
    #[arg(long, env = "COUNTERSIGN_TRUST", value_name = "FILE")]
    trust: PathBuf,
    /// Certificates (PEM) that count for https instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your key, which the trust root lists for second renderers: a file, vault:<mount>/<key> or awskms:<arn>.
    #[arg(long, env = "COUNTERSIGN_REPRODUCE_KEY", value_name = "KEY")]
    key: Option<String>,
    /// The hub's address for agents, where signed findings are handed in.
    #[arg(
        long,
        env = "COUNTERSIGN_HUB_URL",
        value_name = "URL",
        requires = "key"
    )]
    hub: Option<reqwest::Url>,
    /// Write signed findings into this folder instead, or besides.
    #[arg(long, value_name = "DIR", requires = "key")]
    out: Option<PathBuf>,
    /// Only these clusters.
    #[arg(long, value_name = "NAME")]
    cluster: Vec<String>,
    /// Folder that remembers how far it came. Without it all is done again, with --once alone.
    #[arg(
        long,
        env = "COUNTERSIGN_REPRODUCE_DATA",
        value_name = "DIR",
        required_unless_present = "once"
    )]
    data: Option<PathBuf>,
    /// Look at what is in the log now, and end.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks at the log.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Address for /metrics; without it there are none.
    #[arg(long, value_name = "ADDR", conflicts_with = "once")]
    metrics: Option<std::net::SocketAddr>,
    /// Age identities that decrypt Secrets which stand in Git encrypted by SOPS. Let SOPS encrypt for one of your own beside
    /// the hub's.
    #[arg(long, env = "COUNTERSIGN_REPRODUCE_AGE_IDENTITY", value_name = "FILE")]
    age_identity: Option<PathBuf>,
    #[command(flatten)]
    renderer: RendererArgs,
}

/// Runs it.
pub fn run(args: &ReproduceArgs) -> Result<(), Failure> {
    let feed = Feed::open(&args.log, args.ca.as_deref(), &args.trust)?;
    let trust = feed.trust()?;
    let (kept, memory) = Kept::open(args.data.as_deref(), &trust.vkey()?.to_string())?;
    let scratch = tempfile::tempdir().map_err(|error| Failure::Fault(error.to_string()))?;
    let folder = args.data.as_deref().unwrap_or(scratch.path());
    let mouth = Mouth::open(args, &trust)?;
    let secrets = identity::read(args.age_identity.as_deref())?;
    let second = Second::start(&args.renderer, secrets, &args.repo, folder)?;
    let mut work = Work {
        kept,
        memory,
        second,
        mouth,
        clusters: args.cluster.clone(),
        counts: round::Counts::default(),
        last: None,
    };
    if args.once {
        work.round(&feed)?;
        return ended(&work.counts);
    }
    let told = match args.metrics {
        None => None,
        Some(address) => Some(numbers::Numbers::serve(address, work.second.runtime())?),
    };
    let mut failed = false;
    loop {
        match work.round(&feed) {
            Ok(()) => failed = false,
            // Only an answer of the log itself is a reason to stop: it contradicts what was seen.
            Err(Failure::Negative(why)) => return Err(Failure::Negative(why)),
            Err(failure) => {
                // Once for each time that it is away.
                if !failed {
                    eprintln!("countersign: {}; trying again", safe(&failure.to_string()));
                }
                failed = true;
            }
        }
        if let Some(told) = &told {
            told.set(&work.counts, work.memory.size, work.memory.next, failed);
        }
        std::thread::sleep(Duration::from_secs(args.every));
    }
}

fn ended(counts: &round::Counts) -> Result<(), Failure> {
    eprintln!("{counts}");
    if counts.differs() > 0 {
        let what = counts.differs();
        return Err(Failure::Negative(format!(
            "{what} of the sealed states are not what their commits render to"
        )));
    }
    if counts.open > 0 {
        let open = counts.open;
        return Err(Failure::Fault(format!(
            "of {open} states nothing could be said"
        )));
    }
    Ok(())
}
