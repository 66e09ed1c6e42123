//! A new app of many objects, beside a bare client that applies as many in the same minute.

use std::time::Instant;

use countersign_tests::cluster::Cluster;

use crate::events::ms;
use crate::floor;
use crate::report::{Better, Measured, Report};
use crate::size::Size;
use crate::stand::{FIRST, Stand, app, object};

/// What the fastest of the two measured competitors needs for 1,000 ConfigMaps, from creation to the last, ms.
const COMPETITOR_MS: f64 = 9100.0;

#[allow(clippy::cast_precision_loss, reason = "a few thousand are exact")]
pub(crate) async fn measure(
    cluster: &Cluster,
    size: &Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    let stand = Stand::start(cluster, 1).await?;
    let (mut bare, mut ours, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..size.syncs {
        bare.push(floor::again(cluster, size.objects).await?);
        let name = format!("sync{number}");
        let files: Vec<(String, String)> = app(&name, &stand.namespace, size.objects).collect();
        let mut events = stand.events().await?;
        let commit = stand.commit(&files, "a new app")?;
        stand.push()?;
        let pushed = Instant::now();
        let wanted = (0..size.objects)
            .map(|number| object(&name, number))
            .collect();
        let (first, last) = events.all_show(wanted, FIRST).await?;
        ours.push((size.objects - 1) as f64 * 1000.0 / ms(first, last));
        whole.push(ms(pushed, last));
        stand.settled(&commit).await?;
    }
    let bare = Measured::of("initial sync: a bare client beside it", "objects/s", &bare)?;
    let ours = Measured::of("initial sync: first object to last", "objects/s", &ours)?
        .against(&bare)
        .target(0.8, Better::Higher);
    report.add(bare);
    report.add(ours);
    let name = format!("initial sync: push to the last of {}", size.objects);
    report.add(Measured::of(&name, "ms", &whole)?.at_most(COMPETITOR_MS));
    stand.end().await
}
