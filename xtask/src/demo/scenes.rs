//! What is shown: each scene does something to the running fleet and sees what became of it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use countersign_fleet::api::Drift;
use countersign_tests::{wait, world::short};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    auditor, fork, rogue,
    stage::{Member, Stage},
    story::Story,
};

/// How long a scene waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The ConfigMap that the first scene changes, by its file.
const CONFIG: &str = "manifests/apps/lobby/config.yaml";

/// Plays all scenes in order.
///
/// # Errors
/// The first that came out wrong.
pub(super) async fn play(story: &mut Story, stage: &mut Stage) -> anyhow::Result<()> {
    story
        .step("a pushed commit is live on both clusters", push(stage))
        .await?;
    story
        .step("a change behind Git's back is undone", tamper(stage))
        .await?;
    story
        .step("a forged deployment is refused", rogue::smuggle(stage))
        .await?;
    story
        .step(
            "a deployment that is not in the log is refused, though the sealer's key signed it",
            rogue::unlogged(stage),
        )
        .await?;
    story
        .step(
            "a fork of the log is caught by witness and agent, and proven",
            fork::caught(stage),
        )
        .await?;
    story
        .step(
            "an auditor learns offline who deployed what",
            auditor::ask(stage),
        )
        .await?;
    story
        .step(
            "a commit that breaks an admission policy is never signed",
            forbid(stage),
        )
        .await?;
    story
        .step(
            "what a commit removes is deleted, by a signed tombstone",
            remove(stage),
        )
        .await?;
    story
        .step("with the hub gone, healing goes on", orphaned(stage))
        .await?;
    Ok(())
}

async fn push(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let commit = greet(stage, "Welcome to the high rollers' table")?;
    let start = Instant::now();
    let mut live = Vec::new();
    for member in &stage.members {
        greeted(member, "Welcome to the high rollers' table").await?;
        live.push(format!(
            "{} after {} ms",
            member.name,
            start.elapsed().as_millis()
        ));
    }
    stage.world.settled(&commit, &stage.names()).await?;
    let detail = format!("commit {}: live on {}", short(&commit), live.join(", "));
    Ok(((), detail))
}

async fn tamper(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let mut details = Vec::new();
    for member in &stage.members {
        let (took, was) = scale_away(member).await?;
        let drift = recorded(stage, member, "wallet").await?;
        details.push(format!(
            "{}: wallet scaled to 17 by {}, back at {was} after {} ms; recorded: {} by {}",
            member.name,
            INTRUDER,
            took.as_millis(),
            drift.paths.join(", "),
            drift.managers.join(", ")
        ));
    }
    Ok(((), details.join("\n")))
}

async fn forbid(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let file = "manifests/apps/lobby/web.yaml";
    let good = std::fs::read_to_string(stage.world.repo.path().join(file))?;
    let bad = good.replace("allowPrivilegeEscalation: false", "privileged: true");
    stage
        .world
        .push_files(&[(file, &bad)], "lobby: run privileged, just this once")?;
    let refused = wait("the hub refuses the commit", PATIENCE, async || {
        let app = stage.world.operator.app("lobby").await?;
        app.on
            .iter()
            .find_map(|on| on.kept.clone())
            .with_context(|| format!("{:?}", app.on))
    })
    .await?;
    for member in &stage.members {
        let deployment = Api::<Deployment>::namespaced(member.client.clone(), "lobby")
            .get("lobby")
            .await?;
        let text = serde_json::to_string(&deployment.spec)?;
        anyhow::ensure!(
            !text.contains("\"privileged\":true"),
            "{}: it was applied",
            member.name
        );
    }
    let commit = stage
        .world
        .push_files(&[(file, &good)], "lobby: unprivileged again")?;
    stage.world.settled(&commit, &stage.names()).await?;
    let detail = format!(
        "{}\nthe last good state kept running; the next commit is live",
        refused.message
    );
    Ok(((), detail))
}

async fn remove(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let name = "high-rollers";
    let file = "manifests/apps/lobby/high-rollers.yaml";
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  table: \"7\"\n"
    );
    let commit = stage
        .world
        .push_files(&[(file, &text)], "lobby: a table for high rollers")?;
    stage.world.settled(&commit, &stage.names()).await?;
    stage.world.repo.remove(file)?;
    let commit = stage.world.push("lobby: the table is closed")?;
    for member in &stage.members {
        let api = Api::<ConfigMap>::namespaced(member.client.clone(), "lobby");
        wait("the ConfigMap is gone", PATIENCE, async || {
            match api.get_opt(name).await? {
                None => Ok(()),
                Some(_) => anyhow::bail!("{}: still there", member.name),
            }
        })
        .await?;
    }
    stage.world.settled(&commit, &stage.names()).await?;
    Ok((
        (),
        format!("ConfigMap {name} came and went; nothing else was touched"),
    ))
}

async fn orphaned(stage: &mut Stage) -> anyhow::Result<((), String)> {
    stage.world.hub.process.kill()?;
    let mut details = Vec::new();
    for member in &stage.members {
        let (took, _) = scale_away(member).await?;
        details.push(format!(
            "{}: healed after {} ms",
            member.name,
            took.as_millis()
        ));
    }
    stage.world.hub.restart().await?;
    let commit = greet(stage, "The hub is back")?;
    stage.world.settled(&commit, &stage.names()).await?;
    details.push("the hub came back and the next commit is live".to_owned());
    Ok(((), details.join("\n")))
}

/// The field manager that plays the intruder.
const INTRUDER: &str = "intruder";

/// Scales the wallet behind Git's back and waits until it is as it was; says how long that took.
async fn scale_away(member: &Member) -> anyhow::Result<(Duration, i32)> {
    let api = Api::<Deployment>::namespaced(member.client.clone(), "wallet");
    let replicas =
        |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let was = replicas(&api.get("wallet").await?).context("no replicas")?;
    let params = PatchParams {
        field_manager: Some(INTRUDER.to_owned()),
        ..PatchParams::default()
    };
    let start = Instant::now();
    api.patch(
        "wallet",
        &params,
        &Patch::Merge(json!({"spec": {"replicas": 17}})),
    )
    .await?;
    wait("the change is undone", PATIENCE, async || {
        let now = replicas(&api.get("wallet").await?);
        anyhow::ensure!(now == Some(was), "{}: {now:?} replicas", member.name);
        Ok(())
    })
    .await?;
    Ok((start.elapsed(), was))
}

/// The hub's record of the drift that the intruder caused.
async fn recorded(stage: &Stage, member: &Member, app: &str) -> anyhow::Result<Drift> {
    let drift = wait("the drift is recorded", PATIENCE, async || {
        let drifts = stage.world.operator.drifts().await?.drifts;
        drifts
            .iter()
            .find(|drift| {
                drift.cluster == member.name
                    && drift.app == app
                    && drift.healed
                    && drift.managers.iter().any(|manager| manager == INTRUDER)
            })
            .cloned()
            .with_context(|| format!("{drifts:?}"))
    })
    .await?;
    Ok(drift)
}

fn greet(stage: &Stage, words: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(stage.world.repo.path().join(CONFIG))?;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("welcome:") {
                format!("  welcome: {words}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    stage.world.push_files(
        &[(CONFIG, &(lines.join("\n") + "\n"))],
        "lobby: another welcome",
    )
}

async fn greeted(member: &Member, words: &str) -> anyhow::Result<()> {
    let api = Api::<ConfigMap>::namespaced(member.client.clone(), "lobby");
    wait("the new welcome is live", PATIENCE, async || {
        let seen = api
            .get("lobby")
            .await?
            .data
            .and_then(|data| data.get("welcome").cloned());
        anyhow::ensure!(seen.as_deref() == Some(words), "{}: {seen:?}", member.name);
        Ok(())
    })
    .await?;
    Ok(())
}
