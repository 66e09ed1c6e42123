//! Durable appends of 1 KiB by tasks that each wait for their acknowledgement: alone, and many at once.

use std::time::{Duration, Instant};

use countersign_hub::log::{Log, LogError};

use super::stand::Stand;
use crate::report::{Measured, Report};
use crate::size::Size;
use crate::statistics::percentile;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 1024;
/// Tasks that append at once.
const MANY: usize = 128;

pub(super) async fn measure(size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stand = Stand::open(folder.path(), None).await?;
    let (times, _) = run(&stand.log, 1, size.log).await?;
    report.add(Measured::of(
        "log: a lone append, to its acknowledgement",
        "ms",
        &times,
    )?);
    let (times, rate) = run(&stand.log, MANY, size.log).await?;
    report.add(
        Measured::single("log: durable appends, 128 waiting", "entries/s", rate).runs(times.len()),
    );
    let p99 = percentile(&times, 99).unwrap_or_default();
    report.add(
        Measured::single("log: acknowledged, 128 waiting, p99", "ms", p99)
            .runs(times.len())
            .at_most(50.0),
    );
    stand.end().await;
    Ok(())
}

/// What each append took, ms, and how many there were a second.
async fn run(log: &Log, writers: usize, time: Duration) -> anyhow::Result<(Vec<f64>, f64)> {
    let began = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                let sent = Instant::now();
                log.append(vec![entry(writers, writer, times.len())])
                    .await?;
                times.push(sent.elapsed().as_secs_f64() * 1000.0);
            }
            Ok::<_, LogError>(times)
        })
    });
    let mut times = Vec::new();
    for task in futures::future::join_all(tasks).await {
        times.extend(task??);
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    Ok((times, rate))
}

/// An entry that is like no other of one log.
pub(super) fn entry(run: usize, writer: usize, number: usize) -> bytes::Bytes {
    let mut entry = format!("{run} {writer} {number} ").into_bytes();
    entry.resize(ENTRY, b'.');
    entry.into()
}
