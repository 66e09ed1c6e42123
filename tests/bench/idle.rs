//! CPU time of hub and agent while nothing happens.

use countersign_tests::cluster::Cluster;

use crate::report::{Measured, Report};
use crate::size::Size;
use crate::stand::Stand;
use crate::usage::cpu;

pub(crate) async fn measure(
    cluster: &Cluster,
    size: &Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    let stand = Stand::start(cluster, size.objects).await?;
    let pids = [
        ("hub and its workers", stand.world.hub.process.pid()),
        ("agent", stand.agent.process.pid()),
    ];
    let mut before = Vec::new();
    for (_, pid) in pids {
        before.push(cpu(pid)?);
    }
    tokio::time::sleep(size.idle).await;
    for ((who, pid), before) in pids.into_iter().zip(before) {
        let name = format!(
            "idle: {who}, {} objects, {} s",
            size.objects,
            size.idle.as_secs()
        );
        report.add(Measured::single(&name, "CPU s", cpu(pid)? - before));
    }
    stand.end().await
}
