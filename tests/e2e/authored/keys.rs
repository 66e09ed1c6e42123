//! Keys that end: a person's and a sealer's, each by the next trust root, which the agent takes up by itself, and a next
//! trust root that too few signed.

use std::{os::unix::fs::OpenOptionsExt as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_ledger::{
    dsse,
    key::{FileKey, Sign as _},
    trust::TrustRoot,
};
use countersign_proto::agent::v1::Head;
use countersign_tests::{
    rogue::{Rogue, StolenLog, forge},
    until,
    world::FLEET,
};
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::{Begins, LIMIT, Place, ada, bob, sealed, thief::Loot, thief::sealer};
use crate::{
    attacks::{self, heals},
    log_attacks::the_seen_log,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_key_that_the_next_trust_root_drops_signs_nothing_new() {
    let mut place = Place::new(Begins::Authored, 1).await;
    let good = place.push("2", &bob());
    place.live(&good, "2").await;
    let bobs = bob().public();
    let revoke = ["revoke", &bobs, "--reason", "the laptop was stolen"];
    place.stand.world.succeed(&[&revoke]).await.unwrap();
    place.push("3", &bob());
    place.refused("COMMIT_SIGNER_UNKNOWN", "h0").await;
    place.rewrite(&good);
    let better = place.push_again("4", &ada());
    place.live(&better, "4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_key_counts_up_to_the_place_of_the_trust_root_that_drops_it() {
    let mut place = Place::new(Begins::Authored, 2).await;
    let two = place.push("2", &ada());
    place.live(&two, "2").await;
    // Sealed by the first key, and seen by an agent that was away after that key has ended.
    place.stand.agent.process.kill().unwrap();
    let three = place.push("3", &ada());
    sealed(&place, &three).await;
    let first = replace_sealer(&mut place).await;
    let four = place.push("4", &ada());
    sealed(&place, &four).await;
    place.stand.agent.restart().unwrap();
    place.live(&four, "4").await;
    assert_eq!(versions(&place), [1, 2, 3], "the agent took them up itself");

    // A thief goes on sealing with the first one.
    place.stand.world.hub.process.kill().unwrap();
    let log = seen_log(&place);
    let loot = Loot::of(&place);
    let forged = forge(loot.newest(), &stolen(), &first).unwrap();
    let mut theirs = log.clone();
    theirs.append(&forged.head.envelopes[0]);
    let rogue = loot.rogue(&place, forged.head, forged.blobs, theirs).await;
    untouched(&place, rogue, "SIGNATURE_INVALID", "h0").await;

    // The second ends too, while the agent looks on; nothing new was sealed under the root that dropped it.
    place.stand.world.hub.restart().await.unwrap();
    let second = replace_sealer(&mut place).await;
    until(
        "the agent knows since when the second counts no more",
        LIMIT,
        async || {
            if versions(&place) == [1, 2, 3, 4] {
                Ok(())
            } else {
                Err(place.stand.logs())
            }
        },
    )
    .await;
    place.stand.world.hub.process.kill().unwrap();
    let log = seen_log(&place);
    // Whoever has the third key as well may not pass off as past what the second sealed afterwards.
    let loot = Loot::of(&place);
    let third = sealer(&place.stand.world.trust.hub_keys());
    let late = forge(loot.newest(), &stolen(), &second).unwrap();
    let cover = forge(&late.head.envelopes[0], &stolen(), &third).unwrap();
    let mut theirs = log.clone();
    theirs.append(&late.head.envelopes[0]);
    theirs.append(&cover.head.envelopes[0]);
    let head = Head {
        envelopes: [&late.head.envelopes[..], &cover.head.envelopes[..]].concat(),
        ..cover.head
    };
    let rogue = loot.rogue(&place, head, cover.blobs, theirs).await;
    untouched(&place, rogue, "KEY_REVOKED", "h1").await;

    place.stand.world.hub.restart().await.unwrap();
    let five = place.push("5", &ada());
    place.live(&five, "5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_root_that_too_few_signed_is_refused_and_the_agent_stays_with_its_own() {
    let mut place = Place::new(Begins::Authored, 1).await;
    let two = place.push("2", &ada());
    place.live(&two, "2").await;
    let log = the_seen_log(&place.stand).await;
    place.stand.world.hub.process.kill().unwrap();
    let loot = Loot::of(&place);

    // The thief's own root: it drops the people, and nobody but the thief signed it.
    let newest = std::fs::read(place.stand.world.trust.newest()).unwrap();
    let envelope = dsse::Envelope::parse(&newest, &dsse::Limits::trust_root()).unwrap();
    let mut root = TrustRoot::parse(envelope.payload()).unwrap();
    root.version += 1;
    root.people.truncate(1);
    let stranger = FileKey::generate(&SystemRandom::new()).unwrap();
    let forged = root.sign(&[&stranger]).unwrap();
    let head = attacks::head(&[loot.newest().to_vec()]);
    let rogue = loot.rogue(&place, head, Vec::new(), log).await;
    rogue.serve_roots([forged.bytes().to_vec()]);
    let before = place.mark().await;
    until("the root is refused", LIMIT, async || {
        let log = place.stand.agent.process.log();
        if log.contains("TRUST_ROOT_SIGNATURES") {
            Ok(())
        } else {
            Err(place.stand.logs())
        }
    })
    .await;
    rogue.leave().await;
    assert_eq!(place.mark().await, before);
    heals(&place.stand, "h0").await;
    let kept = place.stand.agent.data().join("trust/3.json");
    assert!(!kept.exists());

    place.stand.world.hub.restart().await.unwrap();
    let three = place.push("3", &ada());
    place.live(&three, "3").await;
    assert_eq!(versions(&place), [1, 2]);
}

/// The log as the agent saw it last. The hub has ended, so that neither moves.
fn seen_log(place: &Place) -> StolenLog {
    let world = &place.stand.world;
    let store = world.hub.data().join("store");
    let log = StolenLog::take(FLEET, &store, &world.trust.hub_keys()).unwrap();
    let seen = place.state()["log"]["seen"]["size"].as_u64().unwrap();
    log.cut(usize::try_from(seen).unwrap())
}

/// The next trust root has another sealer key in the place of the hub's, which is handed out.
async fn replace_sealer(place: &mut Place) -> FileKey {
    let keys = place.stand.world.trust.hub_keys();
    let old = sealer(&keys);
    let next = FileKey::generate(&SystemRandom::new()).unwrap();
    write_key(&keys.join("sealer-test.key"), &next.to_pem());
    let (was, is) = (
        STANDARD.encode(old.public().0),
        STANDARD.encode(next.public().0),
    );
    let rotate = ["rotate", "sealer", &was, &is, "--environment", "test"];
    place.stand.world.succeed(&[&rotate]).await.unwrap();
    old
}

fn write_key(path: &Path, pem: &str) {
    use std::io::Write as _;
    std::fs::remove_file(path).unwrap();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .unwrap()
        .write_all(pem.as_bytes())
        .unwrap();
}

fn stolen() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}})
}

/// Versions of the trust roots of which the agent keeps since when they are in effect.
fn versions(place: &Place) -> Vec<u64> {
    let trust = &place.state()["log"]["trust"];
    let all = trust.as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|effect| effect["version"].as_u64().unwrap())
        .collect()
}

/// The agent refuses by that code, touches nothing and goes on healing.
async fn untouched(place: &Place, rogue: Rogue, code: &str, heal: &str) {
    let before = place.mark().await;
    attacks::refused(&place.stand, &rogue, code, &[code]).await;
    rogue.leave().await;
    assert_eq!(place.stand.value("default", "loot", "v").await, None);
    assert_eq!(place.mark().await, before, "{code}");
    heals(&place.stand, heal).await;
}
