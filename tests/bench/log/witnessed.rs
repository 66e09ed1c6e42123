//! From an append to the published checkpoint that covers it, which two of three local witnesses have cosigned.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use countersign_hub::log::Log;
use countersign_ledger::tlog::policy::Policy;
use countersign_tests::witness::Witness;

use super::appends::entry;
use super::stand::{Stand, vkey};
use crate::report::{Measured, Report};
use crate::size::Size;
use crate::statistics::percentile;

const WITNESSES: [&str; 3] = ["w1.example", "w2.example", "w3.example"];
/// Tasks that append at once.
const WRITERS: usize = 16;
/// When a checkpoint that still isn't published has failed.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn measure(size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let (mut witnesses, mut policy) = (Vec::new(), String::new());
    for name in WITNESSES {
        let witness = Witness::start(name, &[vkey()?]).await?;
        policy += &format!("witness {name} {} {}\n", witness.vkey(), witness.url());
        witnesses.push(witness);
    }
    policy += &format!("group all 2 {}\nquorum all\n", WITNESSES.join(" "));
    let policy = Policy::parse(policy.as_bytes()).context(policy)?;
    let folder = tempfile::tempdir()?;
    let stand = Stand::open(folder.path(), Some(policy)).await?;
    for (writers, name) in [
        (1, "log: a lone append, to its witnessed checkpoint"),
        (WRITERS, "log: witnessed by 2 of 3, 16 waiting"),
    ] {
        let times = run(&stand.log, writers, size.log).await?;
        report.add(Measured::of(name, "ms", &times)?);
        let p99 = percentile(&times, 99).unwrap_or_default();
        report.add(
            Measured::single(&format!("{name}, p99"), "ms", p99)
                .runs(times.len())
                .at_most(2000.0),
        );
    }
    Ok(())
}

async fn run(log: &Log, writers: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let began = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            let (mut times, mut published) = (Vec::new(), log.published());
            while began.elapsed() < time {
                let sent = Instant::now();
                let appended = log
                    .append(vec![entry(writers, writer, times.len())])
                    .await?;
                let index = appended.indexes.first().copied().unwrap_or_default();
                let covers = published
                    .wait_for(|signed| signed.as_ref().is_some_and(|signed| signed.size > index));
                tokio::time::timeout(LIMIT, covers)
                    .await
                    .context("no quorum within a minute")??;
                times.push(sent.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for task in futures::future::join_all(tasks).await {
        times.extend(task??);
    }
    Ok(times)
}
