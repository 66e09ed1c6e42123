//! An auditor's pass over a month of a fleet, and over a million entries: entries a second on one core, memory, and what the
//! log takes on disk. Beside it what the hashes of the log alone take, and what one core can check of signatures at all: an
//! audit checks one an entry.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _, Verify as _};
use countersign_tests::process::Spec;
use countersign_tests::program;

use super::history::{HOUR, History};
use super::stand::Stand;
use crate::report::{Measured, Report};
use crate::size::Size;
use crate::usage;

/// Hours of a month.
const MONTH: u64 = 720;
/// Entries of one append.
const TOGETHER: usize = 1024;
/// Between two looks at the auditor's memory.
const LOOK: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(600);

/// One pass.
struct Pass {
    entries: u64,
    seconds: f64,
    /// The most anonymous memory, MiB.
    memory: f64,
}

#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark")]
pub(super) async fn measure(size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stand = Stand::open(folder.path(), None).await?;
    let hours = size.entries.div_ceil(size.clusters as u64);
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond())?;
    let mut history = History::new(size.clusters, now.saturating_sub(hours * HOUR))?;
    for blob in history.blobs() {
        stand.store.put_blob(blob.to_vec().into()).await?;
    }
    let trust = folder.path().join("trust.json");
    std::fs::write(&trust, history.root())?;
    let document = history.root().to_vec();
    stand.store.create("trust/1.json", document.into()).await?;

    let mut entries = append(&stand, &mut history, |history| history.begin()).await?;
    let mut hour = 0;
    let mut months = Vec::new();
    while entries < size.entries {
        append(&stand, &mut history, |history| history.commit(hour)).await?;
        entries = append(&stand, &mut history, |history| history.answers(hour)).await?;
        hour += 1;
        if hour == MONTH.min(hours / 4) {
            published(&stand, entries).await?;
            let bytes = usage::on_disk(&folder.path().join("store"))?;
            report.add(Measured::single(
                &format!("log: a month of {} clusters, entries", size.clusters),
                "entries",
                entries as f64,
            ));
            report.add(Measured::single(
                &format!("log: a month of {} clusters, on disk", size.clusters),
                "MiB",
                bytes as f64 / f64::from(1 << 20),
            ));
            months.push(pass(folder.path(), &trust, entries).await?);
        }
    }
    published(&stand, entries).await?;
    let whole = pass(folder.path(), &trust, entries).await?;
    let fsck = fsck(folder.path(), &trust, entries)?;
    report.add(
        Measured::single(
            &format!("log: fsck of {entries} entries, one core"),
            "entries/s",
            fsck,
        )
        .at_least(50_000.0),
    );
    let signatures = Measured::single(
        "log: a core's signatures of 1 KiB checked by ring, alone",
        "signatures/s",
        signatures(size)?,
    );
    let month = months.pop().context("the log is shorter than its month")?;
    let row = |pass: &Pass, what: &str| format!("log: audit of {} entries, {what}", pass.entries);
    let memory = Measured::single(&row(&month, "memory"), "MiB", month.memory);
    report.add(
        Measured::single(
            &row(&whole, "one core"),
            "entries/s",
            whole.entries as f64 / whole.seconds,
        )
        .against(&signatures)
        .at_least(50_000.0),
    );
    report.add(signatures);
    let flat = Measured::single(&row(&whole, "memory"), "MiB", whole.memory).against(&memory);
    report.add(memory);
    report.add(flat.target(1.5, crate::report::Better::Lower));
    Ok(())
}

/// Appends what `say` makes of the history, and shows its clusters the checkpoint; how many entries there are then.
async fn append(
    stand: &Stand,
    history: &mut History,
    say: impl FnOnce(&mut History) -> anyhow::Result<Vec<Vec<u8>>>,
) -> anyhow::Result<u64> {
    let entries = say(history)?;
    let mut size = 0;
    for some in entries.chunks(TOGETHER) {
        let some = some.iter().map(|entry| entry.clone().into()).collect();
        let appended = stand.log.append(some).await?;
        size = appended.checkpoint.size;
        history.saw(size, appended.checkpoint.root);
    }
    Ok(size)
}

async fn published(stand: &Stand, entries: u64) -> anyhow::Result<()> {
    let mut watched = stand.log.published();
    let covers =
        watched.wait_for(|signed| signed.as_ref().is_some_and(|signed| signed.size >= entries));
    tokio::time::timeout(LIMIT, covers)
        .await
        .context("tiles of what was appended are not published")??;
    Ok(())
}

/// `countersign audit verify` over the whole log, on one thread.
async fn pass(folder: &Path, trust: &Path, entries: u64) -> anyhow::Result<Pass> {
    let index = folder.join(format!("index-{entries}.sqlite"));
    let began = Instant::now();
    let mut audit = Spec::new("audit", program::path("countersign")?, folder)
        .args(["audit", "verify", "--quiet", "--threads", "1", "--log"])
        .arg(folder.join("store"))
        .arg("--trust")
        .arg(trust)
        .arg("--index")
        .arg(index)
        .start()?;
    let mut memory = 0.0_f64;
    let status = loop {
        if let Some(status) = audit.ended()? {
            break status;
        }
        if let Ok(used) = usage::memory(audit.pid()) {
            memory = memory.max(used.anonymous);
        }
        tokio::time::sleep(LOOK).await;
    };
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "the audit said no: {}", audit.log());
    Ok(Pass {
        entries,
        seconds,
        memory,
    })
}

/// Entries a second of CPU time: `countersign log fsck` over the whole log.
#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark")]
fn fsck(folder: &Path, trust: &Path, entries: u64) -> anyhow::Result<f64> {
    let before = usage::ended()?;
    let status = std::process::Command::new(program::path("countersign")?)
        .args(["log", "fsck", "--trust"])
        .arg(trust)
        .arg(folder.join("store"))
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "fsck said no");
    Ok(entries as f64 / (usage::ended()? - before).max(0.01))
}

/// Signatures that one core checks in a second, over messages as long as an entry.
#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark")]
fn signatures(size: &Size) -> anyhow::Result<f64> {
    let key = FileKey::from_seed(&[7; 32])?;
    let message = vec![7; 1 << 10];
    let signature = key.sign(&message)?;
    let (began, mut done) = (Instant::now(), 0_u64);
    while began.elapsed() < size.log / 5 {
        ensure!(RingVerifier.verify(&key.public(), &message, &signature));
        done += 1;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}
