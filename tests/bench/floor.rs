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

use crate::report::{Measured, Report};

/// Requests at once. More do not make the API server faster.
const IN_FLIGHT: usize = 32;
/// Objects a run.
const OBJECTS: usize = 1000;
/// Runs whose median counts; one before them warms up and does not.
const RUNS: usize = 5;
/// Single applies, one after the other.
const SINGLES: usize = 300;
/// The size of an object's data, bytes.
const DATA: usize = 1024;

/// Names of the results that others are held against.
pub(crate) const NEW: &str = "floor: apply of new objects, 32 in flight";
const EQUAL: &str = "floor: equal re-apply, 32 in flight";
/// The unit by which targets in ms scale with the machine.
pub(crate) const ONE: &str = "floor: one apply";

pub(crate) async fn measure(cluster: &Cluster, report: &mut Report) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &cluster.namespace().await?);
    run(&api, "warm-up").await?;
    let (mut new, mut equal) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let prefix = format!("run-{number}");
        new.push(run(&api, &prefix).await?);
        equal.push(run(&api, &prefix).await?);
    }
    let new = Measured::of(NEW, "objects/s", &new)?;
    let equal = Measured::of(EQUAL, "objects/s", &equal)?.against(&new);
    report.add(new);
    report.add(equal);

    let mut singles = Vec::new();
    for number in 0..SINGLES {
        let object = object(&format!("single-{number}"));
        let began = Instant::now();
        apply(&api, &object).await?;
        singles.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    report.add(Measured::of(ONE, "ms", &singles)?);
    Ok(())
}

/// Applies [`OBJECTS`] objects and returns how many a second.
async fn run(api: &Api<ConfigMap>, prefix: &str) -> anyhow::Result<f64> {
    let objects: Vec<Value> = (0..OBJECTS)
        .map(|number| object(&format!("{prefix}-{number}")))
        .collect();
    let began = Instant::now();
    stream::iter(&objects)
        .map(|object| apply(api, object))
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await?;
    #[allow(clippy::cast_precision_loss, reason = "a thousand is exact")]
    Ok(OBJECTS as f64 / began.elapsed().as_secs_f64())
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
