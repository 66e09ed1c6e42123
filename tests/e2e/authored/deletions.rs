//! Whoever holds the hub's keys deletes no more than anybody may: beyond the limits an agent asks for a person's word.

use countersign_ledger::identity::ObjectId;
use countersign_proto::agent::v1::Head;
use countersign_tests::{
    rogue::{Forgery, forge_with},
    until,
};
use serde_json::json;

use super::{
    Begins, LIMIT, Place, ada, file,
    thief::{Loot, objects, sealer},
};
use crate::{
    attacks::{self, heals},
    fixture::ONE,
    log_attacks::the_seen_log,
    overrides::said,
};

/// More than one state deletes without a word.
const MANY: usize = 60;

fn id(n: usize) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: format!("h{n}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_the_hubs_keys_deletes_nothing_beyond_the_limits_and_an_override_key_does() {
    let mut place = Place::new(Begins::Authored, MANY).await;
    let key = place.stand.world.trust.path().join("ada.key");
    let made = key.to_string_lossy().into_owned();
    let add: &[&str] = &["add", "overrider", "--name", "ada", "--generate", &made];
    place.stand.world.succeed(&[add]).await.unwrap();
    let good = place.push("2", &ada());
    place.live(&good, "2").await;
    let mut log = the_seen_log(&place.stand).await;
    place.stand.world.hub.process.kill().unwrap();

    let loot = Loot::of(&place);
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}});
    let buried: Vec<(String, ObjectId)> = (0..MANY).map(|n| (ONE.to_owned(), id(n))).collect();
    let stolen = sealer(&place.stand.world.trust.hub_keys());
    let Forgery { head, blobs } = forge_with(loot.newest(), &object, &buried, &stolen).unwrap();
    log.append(&head.envelopes[0]);
    let head = Head {
        git_objects: objects(place.stand.world.repo.path(), &good),
        ..head
    };
    let before = place.mark().await;
    let uid = place.stand.uid("default", "h1").await;
    let rogue = loot.rogue(&place, head, blobs, log).await;
    let code = "DELETION_NOT_PERMITTED";
    attacks::refused(&place.stand, &rogue, "a mass deletion", &[code]).await;
    // Nor when it is asked again, and has lost what it kept.
    place.stand.agent.restart().unwrap();
    attacks::refused(&place.stand, &rogue, "a mass deletion again", &[code]).await;
    rogue.leave().await;
    assert_eq!(place.stand.value("default", "loot", "v").await, None);
    assert_eq!(place.mark().await, before);
    assert_eq!(place.stand.uid("default", "h1").await, uid);
    heals(&place.stand, "h0").await;

    // The hub is its owner's again. What people commit waits for a word, and goes live with it.
    place.stand.world.hub.restart().await.unwrap();
    let repo = &place.stand.world.repo;
    for n in 0..MANY {
        repo.remove(&file(&format!("h{n}"))).unwrap();
    }
    let fewer = place.pushed(repo.commit_signed("fewer", &ada()).unwrap());
    let digest = until("the deletion waits for a permit", LIMIT, async || {
        let fleet = place.stand.world.operator.fleet().await;
        let fleet = fleet.map_err(|error| error.to_string())?;
        let needed = fleet.permits_needed.first().map(|needed| &needed.permit);
        match needed {
            Some(countersign_fleet::api::PermitKind::Deletion { manifest, .. }) => {
                Ok(manifest.clone())
            }
            other => Err(format!("{other:?} {:?}", fleet.source)),
        }
    })
    .await;
    assert_eq!(place.stand.uid("default", "h1").await, uid);
    let words = ["permit", "deletion", ONE, "--cluster", ONE, "--manifest"];
    let words = [&words[..], &[&digest, "--reason", "they are not needed"]].concat();
    said(&place.stand, &key, &words).await;
    until("what was permitted is gone", LIMIT, async || {
        let left = place.stand.value("default", "h1", "v").await;
        if left.is_none() {
            Ok(())
        } else {
            Err(place.stand.logs())
        }
    })
    .await;
    place.live(&fewer, "2").await;
    assert_eq!(place.stand.value("default", "h1", "v").await, None);
}
