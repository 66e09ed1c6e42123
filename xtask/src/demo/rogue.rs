//! The smuggler's act: somebody who has stolen the hub's TLS keys puts a state of their own in its place.

use countersign_ledger::key::FileKey;
use countersign_tests::{
    rogue::{Rogue, StolenLog, forge},
    world::FLEET,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;

use super::{scenes::PATIENCE, stage::Stage};

/// Name of the object that must never appear.
const LOOT: &str = "loot";

/// Kills the hub, takes its place, sends a forged state, sees it refused, and brings the hub back.
///
/// # Errors
/// If an agent doesn't refuse, or applies anything of it.
pub(super) async fn smuggle(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let target = stage.members[0].name;
    let genuine = newest_envelope(stage, target).await?;
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LOOT, "namespace": "lobby", "labels": {"countersign.dev/app": "smuggled"}},
        "data": {"pay": "the smuggler"},
    });
    // Right in everything: cluster, generation, previous digest, manifest, blobs, and even in a log, for its key is stolen
    // too. Only the sealer's key is missing.
    let key = FileKey::generate(&ring::rand::SystemRandom::new())?;
    let forgery = forge(&genuine, &object, &key)?;

    stage.world.hub.process.kill()?;
    let keys = stage.world.trust.hub_keys();
    let store = stage.world.hub.data().join("store");
    let mut log = StolenLog::take(FLEET, &store, &keys)?;
    for envelope in &forgery.head.envelopes {
        log.append(envelope);
    }
    let rogue = Rogue::start(
        stage.world.hub.agents(),
        &keys,
        forgery.head,
        forgery.blobs,
        Some(log),
    )
    .await?;
    let refused =
        countersign_tests::wait("an agent refuses the forged state", PATIENCE, async || {
            let refusals = rogue.refusals();
            match refusals.iter().find(|code| *code == "SIGNATURE_INVALID") {
                Some(code) => Ok(code.clone()),
                None => Err(format!("reported so far: {refusals:?}")),
            }
        })
        .await;
    rogue.leave().await;
    stage.world.hub.restart().await?;
    let refused = refused?;

    for member in &stage.members {
        let loot = Api::<ConfigMap>::namespaced(member.client.clone(), "lobby")
            .get_opt(LOOT)
            .await?;
        anyhow::ensure!(
            loot.is_none(),
            "{}: the forged object was applied",
            member.name
        );
    }
    let detail = format!(
        "a stolen TLS authority, a stolen log and a forged state for {target}, right in everything but the sealer's signature:\n\
         {refused}; both clusters untouched, and the real hub is back"
    );
    Ok(((), detail))
}

/// The newest statement that the hub sealed for a cluster, out of its store.
async fn newest_envelope(stage: &Stage, cluster: &str) -> anyhow::Result<Vec<u8>> {
    let digest = stage.world.operator.cluster(cluster).await?.head;
    let store = stage.world.hub.data().join("store/staging");
    for file in std::fs::read_dir(&store)? {
        let bytes = std::fs::read(file?.path())?;
        if let Some(envelope) = countersign_tests::rogue::entries(&bytes)
            .find(|entry| countersign_ledger::digest::Digest::of(entry).to_string() == digest)
        {
            return Ok(envelope.to_vec());
        }
    }
    anyhow::bail!("no envelope {digest} in {}", store.display())
}
