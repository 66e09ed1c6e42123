//! From the return of `git push` to the watch event that shows the new value: one field of one object of an app.

use std::time::Instant;

use anyhow::Context as _;
use countersign_tests::agent::Agent;
use countersign_tests::cluster::Cluster;

use crate::events::ms;
use crate::floor::Floor;
use crate::report::{Measured, Report};
use crate::size::Size;
use crate::stand::{Stand, file, object};

/// Pushes whose time does not count: connections, caches and pages of a program that was just started.
const WARM_UP: usize = 3;

pub(crate) async fn measure(
    cluster: &Cluster,
    size: &Size,
    floor: &Floor,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (objects, witnessed, target) in [
        (10, false, 100.0),
        (size.objects, false, 150.0),
        (10, true, 100.0),
        (size.objects, true, 150.0),
    ] {
        let stand = if witnessed {
            Stand::start_witnessed(cluster, objects).await?
        } else {
            Stand::start(cluster, objects).await?
        };
        let mut events = stand.events().await?;
        let mut times = Vec::new();
        for number in 0..WARM_UP + size.pushes {
            let value = format!("push-{number}");
            let which = number * 7 % objects;
            let commit = stand.commit(&[file("bench", which, &value)], "one field")?;
            stand.push()?;
            let pushed = Instant::now();
            let live = events.shows(&object("bench", which), &value).await?;
            if number >= WARM_UP {
                times.push(ms(pushed, live));
            }
            stand.settled(&commit).await?;
        }
        let under = if witnessed { ", three witnesses" } else { "" };
        let name = format!("push to live: app of {objects} objects{under}");
        let measured = Measured::of(&name, "ms", &times)?
            .against(&floor.one)
            .at_most(floor.ms(target));
        report.add(measured);
        let name = format!("agent: all checks on a head, app of {objects} objects{under}, mean");
        let (checked, mean) = checks(&stand.agent).await?;
        report.add(
            Measured::single(&name, "ms", mean)
                .runs(checked)
                .at_most(5.0),
        );
        drop(events);
        stand.end().await?;
    }
    Ok(())
}

/// How many heads the agent checked, and how long that took it on average, ms: without waiting for blobs from the hub and for
/// its disk.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of a few dozen"
)]
async fn checks(agent: &Agent) -> anyhow::Result<(usize, f64)> {
    let text = agent.metrics().await?;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().last()?.parse::<f64>().ok()
    };
    let sum = value("countersign_agent_check_seconds_sum").context("no such metric")?;
    let count = value("countersign_agent_check_seconds_count").context("no such metric")?;
    Ok((count as usize, sum / count * 1000.0))
}
