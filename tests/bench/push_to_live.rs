//! From the return of `git push` to the watch event that shows the new value: one field of one object of an app.

use std::time::Instant;

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
    for (objects, target) in [(10, 100.0), (size.objects, 150.0)] {
        let stand = Stand::start(cluster, objects).await?;
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
        let name = format!("push to live: app of {objects} objects");
        let measured = Measured::of(&name, "ms", &times)?
            .against(&floor.one)
            .at_most(floor.ms(target));
        report.add(measured);
        drop(events);
        stand.end().await?;
    }
    Ok(())
}
