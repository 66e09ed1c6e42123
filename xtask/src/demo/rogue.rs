//! The smuggler's act: somebody who has stolen the hub's TLS keys puts a state of their own in its place.

use countersign_ledger::{dsse, key::FileKey, statement::Statement};
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

/// A forged state, right in everything, and even in a log whose key is stolen too: only the sealer's key is missing.
///
/// # Errors
/// If an agent doesn't refuse, or applies anything of it.
pub(super) async fn smuggle(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let key = FileKey::generate(&ring::rand::SystemRandom::new())?;
    let (target, refused) = act(stage, &key, Logged::Yes, "SIGNATURE_INVALID").await?;
    let detail = format!(
        "a stolen TLS authority, a stolen log and a forged state for {target}, right in everything but the sealer's signature:\n\
         {refused}; both clusters untouched, and the real hub is back"
    );
    Ok(((), detail))
}

/// A state that the sealer's own key signed, and that nobody put into the log.
///
/// # Errors
/// If an agent doesn't refuse, or applies anything of it.
pub(super) async fn unlogged(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let genuine = newest_envelope(stage, stage.members[0].name).await?;
    let Statement::Desired(desired) =
        Statement::parse(dsse::Envelope::parse(&genuine, &dsse::Limits::entry())?.payload())?
    else {
        anyhow::bail!("not a desired state");
    };
    let file = format!("sealer-{}.key", desired.environment);
    let stolen = std::fs::read_to_string(stage.world.trust.hub_keys().join(file))?;
    let key = FileKey::from_pem(&stolen)?;
    let (target, refused) = act(stage, &key, Logged::No, "NOT_IN_LOG").await?;
    let detail = format!(
        "a state for {target} under the stolen sealer key, shown beside the genuine log, which does not hold it:\n\
         {refused}; both clusters untouched, and the real hub is back"
    );
    Ok(((), detail))
}

/// Whether the attacker's log holds the forged state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Logged {
    Yes,
    No,
}

/// Kills the hub, takes its place, sends a state signed with `key`, sees it refused with `code`, and brings the hub back.
async fn act(
    stage: &mut Stage,
    key: &FileKey,
    logged: Logged,
    code: &str,
) -> anyhow::Result<(&'static str, String)> {
    let target = stage.members[0].name;
    let genuine = newest_envelope(stage, target).await?;
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LOOT, "namespace": "lobby", "labels": {"countersign.dev/app": "smuggled"}},
        "data": {"pay": "the smuggler"},
    });
    let forgery = forge(&genuine, &object, key)?;

    stage.world.hub.process.kill()?;
    let keys = stage.world.trust.hub_keys();
    let store = stage.world.hub.data().join("store");
    let mut log = StolenLog::take(FLEET, &store, &keys)?;
    if logged == Logged::Yes {
        for envelope in &forgery.head.envelopes {
            log.append(envelope);
        }
    }
    let rogue = Rogue::start(
        stage.world.hub.agents(),
        &keys,
        forgery.head,
        forgery.blobs,
        Some(log),
    )
    .await?;
    let refused = countersign_tests::wait("an agent refuses the state", PATIENCE, async || {
        let refusals = rogue.refusals();
        match refusals.iter().find(|refusal| *refusal == code) {
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
    Ok((target, refused))
}

/// The newest statement that the hub sealed for a cluster, out of its store.
async fn newest_envelope(stage: &Stage, cluster: &str) -> anyhow::Result<Vec<u8>> {
    let digest = stage.world.operator.cluster(cluster).await?.head;
    let store = stage.world.hub.data().join("store/staging");
    for file in std::fs::read_dir(&store)? {
        let bytes = match std::fs::read(file?.path()) {
            Ok(bytes) => bytes,
            // The hub goes on: what it was writing has its own name by now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(envelope) = countersign_tests::rogue::entries(&bytes)
            .find(|entry| countersign_ledger::digest::Digest::of(entry).to_string() == digest)
        {
            return Ok(envelope.to_vec());
        }
    }
    anyhow::bail!("no envelope {digest} in {}", store.display())
}
