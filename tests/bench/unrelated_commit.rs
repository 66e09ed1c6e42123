//! A commit that touches nothing that a cluster reads: CPU time of the hub, requests that reach the API server.

use std::path::Path;

use anyhow::Context as _;
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::wait;
use countersign_tests::world::SETTLE_LIMIT;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;

use crate::report::{Measured, Report};
use crate::size::Size;
use crate::stand::Stand;
use crate::usage::cpu;

#[allow(clippy::cast_precision_loss, reason = "a few thousand are exact")]
pub(crate) async fn measure(size: &Size, report: &mut Report) -> anyhow::Result<()> {
    // Its own control plane: an audit log would slow the others' down.
    let cluster = Cluster::start(Options {
        audit: true,
        ..Options::default()
    })
    .await?;
    let stand = Stand::start(&cluster, size.objects).await?;
    let audit = cluster.audit().context("no audit log was asked for")?;
    let user = user(&stand).await?;
    let hub = stand.world.hub.process.pid();
    let generation = generation(&stand).await?;

    let (mut times, mut requests) = (Vec::new(), 0);
    for number in 0..size.commits + 1 {
        let files = [("docs/notes.md".to_owned(), format!("note {number}\n"))];
        let commit = stand.commit(&files, "notes")?;
        let (cpu_before, requests_before) = (cpu(hub)?, requests_of(audit, &user)?);
        stand.push()?;
        processed(&stand, &commit).await?;
        // The first such commit of a process fills caches.
        if number > 0 {
            times.push((cpu(hub)? - cpu_before) * 1000.0);
            requests += requests_of(audit, &user)? - requests_before;
        }
    }
    // Ticks are 10 ms: only the mean of many commits says something.
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let name = format!("commit that touches nothing: hub, {} objects", size.objects);
    report.add(
        Measured::single(&name, "CPU ms", mean)
            .runs(times.len())
            .at_most(20.0),
    );
    let name = "commit that touches nothing: requests to the API server";
    report.add(
        Measured::single(name, "requests", requests as f64)
            .runs(times.len())
            .at_most(0.0),
    );
    let states = self::generation(&stand).await? - generation;
    let name = "commit that touches nothing: new states";
    report.add(
        Measured::single(name, "states", states as f64)
            .runs(times.len())
            .at_most(0.0),
    );
    stand.end().await
}

/// Waits for the hub alone: asking the API server would be counted.
async fn processed(stand: &Stand, commit: &str) -> anyhow::Result<()> {
    wait("the commit is processed", SETTLE_LIMIT, async || {
        let source = stand.world.operator.fleet().await?.source;
        let state = format!("{:?}", source.state);
        let seen = source.commit.map(|commit| commit.id);
        anyhow::ensure!(
            seen.as_deref() == Some(commit) && state == "UpToDate",
            "the hub is at {seen:?}, {state}"
        );
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

async fn generation(stand: &Stand) -> anyhow::Result<u64> {
    let fleet = stand.world.operator.fleet().await?;
    let cluster = fleet.clusters.first().context("no cluster")?;
    Ok(cluster.generation_sealed)
}

/// Whom the API server takes the agent for; it uses the same kubeconfig as we do, who ask nothing meanwhile.
async fn user(stand: &Stand) -> anyhow::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(stand.client.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let info = review.status.and_then(|status| status.user_info);
    info.and_then(|info| info.username)
        .context("the API server does not know us")
}

/// Requests of a user that the audit log shows so far.
fn requests_of(audit: &Path, user: &str) -> anyhow::Result<usize> {
    let name = format!("\"username\":\"{user}\"");
    let log = std::fs::read_to_string(audit)?;
    Ok(log.lines().filter(|line| line.contains(&name)).count())
}
