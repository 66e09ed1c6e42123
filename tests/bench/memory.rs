//! Memory of hub and agent with no object, many and most; anonymous memory counts, resident memory stands beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_tests::cluster::Cluster;

use crate::report::{Measured, Report};
use crate::size::Size;
use crate::stand::{Stand, app};
use crate::usage::{self, Memory};

/// At start, and while a new state is taken in, it may be so many times as much.
const AT_START: f64 = 1.2;
/// Between two looks while a state is taken in.
const LOOK: Duration = Duration::from_millis(20);
/// After a sync, until the allocator has given back what it will.
const REST: Duration = Duration::from_secs(5);

pub(crate) async fn measure(
    cluster: &Cluster,
    size: &Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    let stand = Stand::start(cluster, 0).await?;
    let rest = REST.min(size.idle);
    tokio::time::sleep(rest).await;
    show(&stand, 0, None, report)?;
    for (objects, target) in [(size.objects, 25.0), (size.most, 64.0)] {
        // Apps of a thousand: what an operator of so many objects would have.
        let apps = objects.div_ceil(size.objects);
        let files: Vec<(String, String)> = (0..apps)
            .flat_map(|number| app(&format!("app{number}"), &stand.namespace, size.objects))
            .collect();
        let commit = stand.commit(&files, "more")?;
        let peak = Peak::of(stand.agent.process.pid());
        stand.push()?;
        stand.settled(&commit).await?;
        let peak = peak.end().await?;
        tokio::time::sleep(rest).await;
        show(&stand, objects, Some((target, peak)), report)?;
    }
    stand.end().await
}

fn show(
    stand: &Stand,
    objects: usize,
    agent: Option<(f64, f64)>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let row = |who: &str, kind: &str, value: f64| {
        Measured::single(
            &format!("memory: {who}, {objects} objects, {kind}"),
            "MiB",
            value,
        )
    };
    let used = usage::memory(stand.agent.process.pid())?;
    let mut anonymous = row("agent", "anonymous", used.anonymous);
    if let Some((target, peak)) = agent {
        anonymous = anonymous.at_most(target);
        report.add(row("agent", "most during the sync", peak).at_most(target * AT_START));
    }
    report.add(anonymous);
    report.add(row("agent", "resident", used.resident));

    let hub = stand.world.hub.process.pid();
    let used = usage::memory(hub)?;
    report.add(row("hub", "anonymous", used.anonymous));
    report.add(row("hub", "resident", used.resident));
    let workers = usage::children(hub)?
        .into_iter()
        .filter_map(|worker| usage::memory(worker).ok())
        .fold(Memory::default(), |sum, one| Memory {
            anonymous: sum.anonymous + one.anonymous,
            resident: sum.resident + one.resident,
        });
    report.add(row("hub's render workers", "anonymous", workers.anonymous));
    Ok(())
}

/// The most anonymous memory that a process has while it is watched.
struct Peak {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<f64>,
}

impl Peak {
    fn of(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut most = 0.0_f64;
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(memory) = usage::memory(pid) {
                    most = most.max(memory.anonymous);
                }
                tokio::time::sleep(LOOK).await;
            }
            most
        });
        Self { stop, task }
    }

    async fn end(self) -> anyhow::Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}
