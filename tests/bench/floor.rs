//! What the API server gives a bare client: server-side apply of ConfigMaps, with nothing around it.

use std::time::Instant;

use countersign_tests::cluster::Cluster;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::events::Events;
use crate::report::{Measured, Report};
use crate::size::Size;

/// Requests at once. More do not make the API server faster.
const IN_FLIGHT: usize = 32;
/// The size of an object's data, bytes.
pub(crate) const DATA: usize = 1024;
/// What one apply takes on the machine that the targets were set on, ms.
const REFERENCE_MS: f64 = 3.6;

const NEW: &str = "floor: apply of new objects, 32 in flight";
const EQUAL: &str = "floor: equal re-apply, 32 in flight";
const ONE: &str = "floor: one apply";

/// What others are held against.
pub(crate) struct Floor {
    /// One apply, ms.
    pub(crate) one: Measured,
}

impl Floor {
    /// A target in ms, as this machine allows it: one that is slower than the reference has as much longer.
    pub(crate) fn ms(&self, target: f64) -> f64 {
        target * (self.one.value / REFERENCE_MS).max(1.0)
    }
}

pub(crate) async fn measure(
    cluster: &Cluster,
    size: &Size,
    report: &mut Report,
) -> anyhow::Result<Floor> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &cluster.namespace().await?);
    run(&api, "warm-up", size.objects).await?;
    let (mut new, mut equal) = (Vec::new(), Vec::new());
    for number in 0..size.floor_runs {
        let prefix = format!("run-{number}");
        new.push(run(&api, &prefix, size.objects).await?);
        equal.push(run(&api, &prefix, size.objects).await?);
    }
    let new = Measured::of(NEW, "objects/s", &new)?;
    let equal = Measured::of(EQUAL, "objects/s", &equal)?.against(&new);
    report.add(new);
    report.add(equal);

    let mut singles = Vec::new();
    for number in 0..size.singles {
        let object = object(&format!("single-{number}"));
        let began = Instant::now();
        apply(&api, &object).await?;
        singles.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let one = Measured::of(ONE, "ms", &singles)?;
    report.add(one.clone());
    Ok(Floor { one })
}

/// The bare client once more, beside what is measured: objects a second in a namespace of its own. It is watched as
/// what it is compared with is watched, since whoever watches takes from the API server too.
pub(crate) async fn again(cluster: &Cluster, objects: usize) -> anyhow::Result<f64> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &cluster.namespace().await?);
    let _watched = Events::open(api.clone()).await?;
    run(&api, "again", objects).await
}

/// Applies objects and returns how many a second.
async fn run(api: &Api<ConfigMap>, prefix: &str, count: usize) -> anyhow::Result<f64> {
    let objects: Vec<Value> = (0..count)
        .map(|number| object(&format!("{prefix}-{number}")))
        .collect();
    let began = Instant::now();
    stream::iter(&objects)
        .map(|object| apply(api, object))
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await?;
    #[allow(clippy::cast_precision_loss, reason = "a few thousand are exact")]
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

async fn apply(api: &Api<ConfigMap>, object: &Value) -> anyhow::Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    api.patch(
        name,
        &PatchParams::apply("bench").force(),
        &Patch::Apply(object),
    )
    .await?;
    Ok(())
}

fn object(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"bench": "floor"}},
        "data": {"content": "x".repeat(DATA)},
    })
}
