//! Tessera's load generator against our log, and against Tessera's own POSIX driver: the same machine, the same load, one
//! after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::tlog::Checkpoint;
use countersign_ledger::tlog::note::{KeyKind, Note, Vkey};
use countersign_tests::process::{Process, Spec};
use countersign_tests::tool::Tool;
use countersign_tests::{port, program, wait};

use super::stand;
use crate::report::{Measured, Report};
use crate::size::Size;

const ORIGIN: &str = "tessera.example/bench";
const SEED: [u8; 32] = [2; 32];
/// The load: that of the driver's published figures, and of DESIGN.md section 8.
const LOAD: [&str; 6] = [
    "--num_writers=4000",
    "--max_write_ops=20000",
    "--leaf_min_size=1024",
    "--dup_chance=0",
    "--max_read_ops=0",
    "--show_ui=false",
];
const START_LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn measure(size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let hammer = Tool::Hammer.path()?;
    let theirs = {
        let folder = tempfile::tempdir()?;
        let (driver, url, vkey) = tessera(folder.path()).await?;
        load(&hammer, folder.path(), &url, &vkey, driver, size).await?
    };
    let theirs = Measured::single(
        "log: Tessera's POSIX driver under its hammer",
        "entries/s",
        theirs,
    );
    let ours = {
        let folder = tempfile::tempdir()?;
        let (target, url) = target(folder.path()).await?;
        let vkey = stand::vkey()?;
        load(&hammer, folder.path(), &url, &vkey, target, size).await?
    };
    let ours = Measured::single("log: ours under Tessera's hammer", "entries/s", ours)
        .against(&theirs)
        .at_least(5000.0);
    report.add(theirs);
    report.add(ours);
    Ok(())
}

async fn target(folder: &Path) -> anyhow::Result<(Process, String)> {
    let address = port::free()?;
    let mut target = Spec::new("target", program::path("countersign-log-target")?, folder)
        .args(["--listen", &address.to_string(), "--data"])
        .arg(folder.join("log"))
        .start()?;
    target.listening(address, START_LIMIT).await?;
    Ok((target, format!("http://{address}/")))
}

async fn tessera(folder: &Path) -> anyhow::Result<(Process, String, Vkey)> {
    let key = FileKey::from_seed(&SEED).map_err(|error| anyhow::anyhow!("{error}"))?;
    let vkey = Vkey::new(ORIGIN, KeyKind::Ed25519, key.public())?;
    // Go's form of a note's signing key: the algorithm's byte, then the seed.
    let secret = [&[1], SEED.as_slice()].concat();
    let text = vkey.to_string();
    let id = text.split('+').nth(1).context("a vkey has an id")?;
    let secret = format!("PRIVATE+KEY+{ORIGIN}+{id}+{}", STANDARD.encode(secret));
    let file = folder.join("key");
    std::fs::write(&file, secret)?;
    let address = port::free()?;
    let mut driver = Spec::new("tessera", Tool::TesseraPosix.path()?, folder)
        .args(["--listen", &address.to_string(), "--antispam=false"])
        .arg(format!("--private_key={}", file.display()))
        .arg(format!("--storage_dir={}", folder.join("log").display()))
        .start()?;
    driver.listening(address, START_LIMIT).await?;
    Ok((driver, format!("http://{address}/"), vkey))
}

/// Entries a second that checkpoints cover, once the load is on.
async fn load(
    hammer: &Path,
    folder: &Path,
    url: &str,
    vkey: &Vkey,
    mut log: Process,
    size: &Size,
) -> anyhow::Result<f64> {
    let mut hammer = Spec::new("hammer", hammer, folder)
        .arg(format!("--log_url={url}"))
        .arg(format!("--write_log_url={url}"))
        .arg(format!("--log_public_key={vkey}"))
        .args(LOAD)
        .start()?;
    let client = reqwest::Client::new();
    wait("the load's first entries", START_LIMIT, async || {
        ensure!(entries(&client, url).await? > 1, "no entry of the load");
        anyhow::Ok(())
    })
    .await?;
    // What comes first is a burst of all writers at once.
    tokio::time::sleep(size.log / 3).await;
    let (began, before) = (Instant::now(), entries(&client, url).await?);
    tokio::time::sleep(size.log).await;
    let (took, after) = (began.elapsed(), entries(&client, url).await?);
    ensure!(hammer.ended()?.is_none(), "hammer ended: {}", hammer.log());
    ensure!(log.ended()?.is_none(), "the log ended: {}", log.log());
    hammer.kill()?;
    log.kill()?;
    #[allow(clippy::cast_precision_loss, reason = "a few million are exact")]
    let rate = (after - before) as f64 / took.as_secs_f64();
    Ok(rate)
}

/// How many entries the published checkpoint covers; 0 before there is one.
async fn entries(client: &reqwest::Client, url: &str) -> anyhow::Result<u64> {
    let response = client.get(format!("{url}checkpoint")).send().await?;
    if response.status() == http::StatusCode::NOT_FOUND {
        return Ok(0);
    }
    let note = Note::parse(&response.error_for_status()?.bytes().await?)?;
    Ok(Checkpoint::parse(note.text())?.size)
}
