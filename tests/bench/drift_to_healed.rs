//! From the answer to a write of somebody else to the watch event that shows the wanted value again.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Context as _;
use countersign_tests::cluster::Cluster;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::events::ms;
use crate::floor::Floor;
use crate::report::{Measured, Report};
use crate::size::Size;
use crate::stand::{FIRST, Stand, object};
use crate::statistics::percentile;

/// Writes at once in a storm.
const WRITERS: usize = 32;

pub(crate) async fn measure(
    cluster: &Cluster,
    size: &Size,
    floor: &Floor,
    report: &mut Report,
) -> anyhow::Result<()> {
    let stand = Stand::start(cluster, size.objects).await?;
    let api = stand.config_maps();
    one_by_one(&stand, &api, size, floor, report).await?;
    storm(&stand, &api, size, floor, report).await?;
    stand.end().await
}

async fn one_by_one(
    stand: &Stand,
    api: &Api<ConfigMap>,
    size: &Size,
    floor: &Floor,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut events = stand.events().await?;
    let mut times = Vec::new();
    for number in 0..size.drifts {
        // Another object each time: who changes the same one again and again is a rival and waits longer.
        let name = object("bench", number % size.objects);
        change(api, &name, number).await?;
        let drifted = Instant::now();
        let healed = events.shows(&name, FIRST).await?;
        times.push(ms(drifted, healed));
    }
    let p99 = percentile(&times, 99).context("nothing drifted")?;
    let measured = Measured::of("drift to healed", "ms", &times)?
        .against(&floor.one)
        .at_most(floor.ms(20.0));
    report.add(measured);
    report.add(
        Measured::single("drift to healed: p99", "ms", p99)
            .runs(times.len())
            .against(&floor.one)
            .at_most(floor.ms(60.0)),
    );
    Ok(())
}

/// Many at once; the time counts from the last write's answer.
async fn storm(
    stand: &Stand,
    api: &Api<ConfigMap>,
    size: &Size,
    floor: &Floor,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut events = stand.events().await?;
    let names: Vec<String> = (0..size.storm)
        .map(|number| object("bench", (size.objects + number - 1) % size.objects))
        .collect();
    stream::iter(&names)
        .map(|name| change(api, name, size.drifts))
        .buffer_unordered(WRITERS)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await?;
    let drifted = Instant::now();
    let wanted: BTreeSet<String> = names.into_iter().collect();
    let count = wanted.len();
    let (_, last) = events.all_show(wanted, FIRST).await?;
    let name = format!("drift to healed: {count} at once, the last");
    let measured = Measured::single(&name, "ms", ms(drifted, last)).at_most(floor.ms(1000.0));
    report.add(measured);
    Ok(())
}

/// Somebody changes a value of an object behind Git's back.
async fn change(api: &Api<ConfigMap>, name: &str, number: usize) -> anyhow::Result<()> {
    let by = PatchParams {
        field_manager: Some("somebody".to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({"data": {"value": format!("drift-{number}")}});
    api.patch_metadata(name, &by, &Patch::Merge(&patch)).await?;
    Ok(())
}
