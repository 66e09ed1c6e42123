//! The forger's act: somebody who has stolen the log's own key shows a history in which the first entry was another.

use std::path::PathBuf;

use anyhow::Context as _;
use countersign_ledger::digest::Digest;
use countersign_ledger::tlog::{Checkpoint, Note};
use countersign_ledger::trust::log_name;
use countersign_proto::agent::v1::Head;
use countersign_tests::{
    cli::Cli,
    rogue::{Rogue, StolenLog},
    wait,
    world::FLEET,
};
use countersign_witness::AddCheckpoint;

use super::{scenes::PATIENCE, stage::Stage};

/// The witness does not cosign it, an agent refuses it, and a file proves it to anybody who has the trust root.
///
/// # Errors
/// If the fork is taken by either, or can't be proven.
pub(super) async fn caught(stage: &mut Stage) -> anyhow::Result<((), String)> {
    stage.world.hub.process.kill()?;
    let keys = stage.world.trust.hub_keys();
    let store = stage.world.hub.data().join("store");
    let honest = std::fs::read(store.join("checkpoint")).context("the published checkpoint")?;
    let mut forged = StolenLog::take(FLEET, &store, &keys)?;
    forged.rewrite(0, b"it never was so");

    let size = cosigned(stage).await?;
    let status = ask(stage, &forged.clone().cut(size), size).await?;
    anyhow::ensure!(status == 422, "the witness answered {status} to a fork");

    let shown = forged.size();
    let rogue = Rogue::start(
        stage.world.hub.agents(),
        &keys,
        Head::default(),
        Vec::new(),
        Some(forged.clone()),
    )
    .await?;
    let refused = wait("an agent refuses the fork", PATIENCE, async || {
        let refusals = rogue.refusals();
        let found = refusals.iter().any(|code| code == "LOG_FORKED");
        found
            .then_some(())
            .ok_or_else(|| format!("reported so far: {refusals:?}"))
    })
    .await;
    rogue.leave().await;
    stage.world.hub.restart().await?;
    refused?;

    let proof = proven(stage, &honest, &forged)?;
    let detail = format!(
        "the log's stolen key signed another history of {shown} entries:\n\
         the witness, which has cosigned {size} entries, answered 422; agents: LOG_FORKED\n\
         {proof}"
    );
    Ok(((), detail))
}

/// How many entries the witness has cosigned.
async fn cosigned(stage: &Stage) -> anyhow::Result<usize> {
    let origin = Digest::of(log_name(FLEET).as_bytes());
    let url = format!("{}/{origin}/checkpoint", stage.witness.url());
    size(&reqwest::get(url).await?.bytes().await?)
}

/// The size that a checkpoint says.
fn size(note: &[u8]) -> anyhow::Result<usize> {
    let note = Note::parse(note)?;
    Ok(usize::try_from(Checkpoint::parse(note.text())?.size)?)
}

async fn ask(stage: &Stage, log: &StolenLog, old: usize) -> anyhow::Result<u16> {
    let body = AddCheckpoint {
        old: old as u64,
        proof: log.consistency(old)?,
        note: log.checkpoint()?,
    }
    .body();
    let url = format!("{}/add-checkpoint", stage.witness.url());
    let answer = reqwest::Client::new().post(url).body(body).send().await?;
    Ok(answer.status().as_u16())
}

/// `countersign log prove-fork` makes a file of the two checkpoints, `verify-fork` checks it with the trust root alone.
fn proven(stage: &Stage, honest: &[u8], forged: &StolenLog) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, bytes: &[u8]| -> anyhow::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    };
    let ours = write("ours", honest)?;
    let theirs = write("theirs", &forged.clone().cut(size(honest)?).checkpoint()?)?;
    let (file, trust) = (
        folder.path().join("fork.json"),
        stage.world.trust.document(),
    );
    Cli::new().ok([
        "log".as_ref(),
        "prove-fork".as_ref(),
        ours.as_os_str(),
        theirs.as_os_str(),
        "--trust".as_ref(),
        trust.as_os_str(),
        "--out".as_ref(),
        file.as_os_str(),
    ])?;
    let told = Cli::new().ok([
        "log".as_ref(),
        "verify-fork".as_ref(),
        file.as_os_str(),
        "--trust".as_ref(),
        trust.as_os_str(),
    ])?;
    Ok(format!("countersign log verify-fork: {}", told.trim_end()))
}
